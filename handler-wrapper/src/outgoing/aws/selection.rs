//! Selection of the recorded members of a call: the allow-list with the user's changes.

use std::borrow::Cow;

use aws_smithy_runtime_api::client::interceptors::context::{Input, Output};
use aws_smithy_types::telemetry::{CapturedTelemetryAttributes, RequestedTelemetryAttributes};
use tracestitch_wire::document::{Document, Fact, Name};

use super::{
    members,
    parameters::{self, Operations, Parameter, SERVICES, Service},
};

/// Entries of the allow-list for a service and one of its operations.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AllowedCall {
    known: Option<&'static Service>,
    operations: Option<&'static Operations>,
}

impl AllowedCall {
    pub(super) fn of(service: &str, operation: &str) -> Self {
        let known = parameters::service(service);
        Self {
            known,
            operations: known.and_then(|service| service.operations(operation)),
        }
    }

    /// Returns the name of a subsegment for a call of `service`.
    pub(super) fn name(self, service: &str) -> Cow<'static, str> {
        match self.known {
            Some(service) => Cow::Borrowed(service.name),
            None => Cow::Owned(service.replace(' ', "")),
        }
    }
}

/// Returns the captured text of `member`. There are few, so a linear search beats hashing.
pub(super) fn captured<'a>(
    captured: &'a CapturedTelemetryAttributes,
    member: &str,
) -> Option<&'a str> {
    captured
        .iter()
        .find_map(|(name, text)| (name == member).then_some(text))
}

/// The allow-list with the user's changes.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    added: Vec<(&'static str, Parameter)>,
    omitted: Vec<(&'static str, &'static str)>,
    /// Members that the SDK is asked to capture: for each of [`SERVICES`], then for all others.
    /// Built once and cloned at each call.
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

    /// Returns true if the SDK need not capture anything of `input`.
    pub(super) fn is_read_here(&self, input: &Input) -> bool {
        self.added.is_empty() && members::has_names(input)
    }

    /// Returns the members that the SDK is asked to capture, including the user's own request, or
    /// `None` if we need none.
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

    /// Records the selected members of an input on `document`.
    pub(super) fn put_request(
        &self,
        document: &mut Document,
        allowed: AllowedCall,
        input: &Input,
        kept: Option<&CapturedTelemetryAttributes>,
    ) {
        let name = |member: &str| {
            let text = captured(kept?, member)?;
            Some(Fact::Text(text))
        };
        let typed = |member: &str| members::of_input(allowed.known?.name, input, member);
        let names = allowed.known.map_or(&[][..], |service| service.names);
        let own = allowed.operations.map_or(&[][..], |some| some.request);
        let either = |member: &str| name(member).or_else(|| typed(member));
        self.put(document, names, either);
        self.put(document, own, typed);
        self.put(document, self.users(&document.name.clone()), either);
    }

    /// Records the selected members of an output on `document`.
    pub(super) fn put_response(
        &self,
        document: &mut Document,
        allowed: AllowedCall,
        output: &Output,
    ) {
        let typed = |member: &str| members::of_output(allowed.known?.name, output, member);
        let own = allowed.operations.map_or(&[][..], |some| some.response);
        self.put(document, own, typed);
        self.put(document, self.users(&document.name.clone()), typed);
    }

    /// Returns the members that the user added for this service.
    fn users<'a>(&'a self, service: &'a Name) -> impl Iterator<Item = &'a Parameter> {
        let added = self.added.iter();
        added
            .filter(|(known, _)| parameters::same_name(known, service.as_str()))
            .map(|(_, parameter)| parameter)
    }

    /// Records the members that are present and that the user did not omit.
    fn put<'a>(
        &self,
        document: &mut Document,
        parameters: impl IntoIterator<Item = &'a Parameter>,
        read: impl Fn(&str) -> Option<Fact<'a>>,
    ) {
        for &(member, key) in parameters {
            let omitted = self.omitted.iter().any(|(service, omitted)| {
                *omitted == key && parameters::same_name(service, document.name.as_str())
            });
            if !omitted && let Some(value) = read(member) {
                document.aws.insert(key, value);
            }
        }
    }
}
