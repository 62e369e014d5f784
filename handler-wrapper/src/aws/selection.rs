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
        let own = target.operations.map_or(&[][..], |some| some.request);
        let general = target.known.map_or(&[][..], |service| service.request);
        for (member, key) in self.parameters(target, general, own) {
            let text = captured.and_then(|captured| captured.get(member));
            let value = match text {
                Some(text) => Some(Text::from(text.to_owned()).into()),
                None => target
                    .known
                    .and_then(|service| members::of_input(service.name, input, member)),
            };
            if let Some(value) = value {
                document.aws.insert(key, value);
            }
        }
    }

    /// Puts on `document` what is recorded of an output.
    pub(super) fn put_response(
        &self,
        document: &mut Document,
        target: &Target<'_>,
        output: &Output,
    ) {
        let own = target.operations.map_or(&[][..], |some| some.response);
        let Some(service) = target.known else { return };
        for (member, key) in self.parameters(target, &[], own) {
            if let Some(value) = members::of_output(service.name, output, member) {
                document.aws.insert(key, value);
            }
        }
    }

    /// Those of the allow-list that are not left out, and the user's.
    fn parameters<'a>(
        &'a self,
        target: &'a Target<'_>,
        general: &'static [Parameter],
        own: &'static [Parameter],
    ) -> impl Iterator<Item = Parameter> + 'a {
        let concerned = |service: &str| parameters::same_name(service, target.service);
        let users = self
            .added
            .iter()
            .filter(move |(service, _)| concerned(service))
            .map(|(_, parameter)| parameter);
        let omitted = move |key: &str| {
            self.omitted
                .iter()
                .any(|(service, omitted)| *omitted == key && concerned(service))
        };
        general
            .iter()
            .chain(own)
            .chain(users)
            .copied()
            .filter(move |(_, key)| !omitted(key))
    }
}
