//! What is recorded of one call: the allow-list with the user's changes.

use std::borrow::Cow;

use aws_smithy_runtime_api::client::{
    interceptors::context::{Input, Output},
    orchestrator::Metadata,
};
use aws_smithy_types::{
    config_bag::ConfigBag,
    telemetry::{CapturedTelemetryAttributes, RequestedTelemetryAttributes},
};
use serde_json::Value;
use tracestitch_wire::document::{Document, Text};

use super::{
    members,
    parameters::{self, Operations, Parameter, SERVICES, Service},
};

/// Which operation a call is, and what the allow-list says of it.
pub(super) struct Target<'a> {
    service: &'a str,
    pub(super) operation: &'a str,
    known: Option<&'static Service>,
    operations: Option<&'static Operations>,
}

impl<'a> Target<'a> {
    pub(super) fn of(cfg: &'a ConfigBag) -> Self {
        let metadata = cfg.load::<Metadata>();
        let service = metadata.map_or("AWS", Metadata::service);
        let operation = metadata.map_or("unknown", Metadata::name);
        let known = parameters::service(service);
        Self {
            service,
            operation,
            known,
            operations: known.and_then(|service| service.operations(operation)),
        }
    }

    /// The subsegment's name.
    pub(super) fn service_name(&self) -> Cow<'static, str> {
        match self.known {
            Some(service) => Cow::Borrowed(service.name),
            None => Cow::Owned(self.service.replace(' ', "")),
        }
    }
}

/// The allow-list with the user's changes.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    added: Vec<(&'static str, Parameter)>,
    omitted: Vec<(&'static str, &'static str)>,
    /// What the SDK is asked to keep of an input: for each of [`SERVICES`], then for all others.
    /// Ready to be handed over, at each call.
    requested: Vec<RequestedTelemetryAttributes>,
}

impl Default for Selection {
    fn default() -> Self {
        let of_service = |service: &Service| {
            let mut requested = RequestedTelemetryAttributes::default();
            requested.capture_only(service.requested());
            requested
        };
        let mut requested: Vec<_> = SERVICES.iter().map(of_service).collect();
        requested.push(RequestedTelemetryAttributes::default());
        Self {
            added: Vec::new(),
            omitted: Vec::new(),
            requested,
        }
    }
}

impl Selection {
    pub(super) fn add(&mut self, service: &'static str, parameter: Parameter) {
        let known = SERVICES
            .iter()
            .position(|known| parameters::same_name(known.name, service));
        self.requested[known.unwrap_or(SERVICES.len())].capture_only([parameter.0]);
        self.added.push((service, parameter));
    }

    pub(super) fn omit(&mut self, service: &'static str, key: &'static str) {
        self.omitted.push((service, key));
    }

    /// What the SDK is to keep for us, beyond what the user asked it for; None if nothing.
    pub(super) fn requested(
        &self,
        signing_name: &str,
        users: Option<&RequestedTelemetryAttributes>,
    ) -> Option<RequestedTelemetryAttributes> {
        let known = SERVICES
            .iter()
            .position(|known| known.signing_name == signing_name);
        let index = known.unwrap_or(SERVICES.len());
        let ours = &self.requested[index];
        if ours.is_empty() {
            return None;
        }
        let Some(users) = users else {
            return Some(ours.clone());
        };
        let mut both = users.clone();
        if let Some(service) = known {
            both.capture_only(SERVICES[service].requested());
        }
        both.capture_only(self.added.iter().map(|(_, (member, _))| member));
        Some(both)
    }

    /// Puts on `document` what is recorded of an input.
    pub(super) fn put_request(
        &self,
        document: &mut Document,
        target: &Target<'_>,
        input: &Input,
        captured: Option<&CapturedTelemetryAttributes>,
    ) {
        let name = |member: &str| {
            let text = captured?.get(member)?;
            Some(Text::from(text.to_owned()).into())
        };
        let typed = |member: &str| members::of_input(target.known?.name, input, member);
        let names = target.known.map_or(&[][..], |service| service.names);
        let own = target.operations.map_or(&[][..], |some| some.request);
        self.put(document, target, names, name);
        self.put(document, target, own, typed);
        self.put(document, target, self.users(target), |member| {
            name(member).or_else(|| typed(member))
        });
    }

    /// Puts on `document` what is recorded of an output.
    pub(super) fn put_response(
        &self,
        document: &mut Document,
        target: &Target<'_>,
        output: &Output,
    ) {
        let typed = |member: &str| members::of_output(target.known?.name, output, member);
        let own = target.operations.map_or(&[][..], |some| some.response);
        self.put(document, target, own, typed);
        self.put(document, target, self.users(target), typed);
    }

    /// What the user added for this service.
    fn users<'a>(&'a self, target: &'a Target<'_>) -> impl Iterator<Item = &'a Parameter> {
        let added = self.added.iter();
        added
            .filter(|(service, _)| parameters::same_name(service, target.service))
            .map(|(_, parameter)| parameter)
    }

    /// Puts those on `document` that are there, and that the user did not leave out.
    fn put<'a>(
        &self,
        document: &mut Document,
        target: &Target<'_>,
        parameters: impl IntoIterator<Item = &'a Parameter>,
        read: impl Fn(&str) -> Option<Value>,
    ) {
        for &(member, key) in parameters {
            let omitted = self.omitted.iter().any(|(service, omitted)| {
                *omitted == key && parameters::same_name(service, target.service)
            });
            if !omitted && let Some(value) = read(member) {
                document.aws.insert(key, value);
            }
        }
    }
}
