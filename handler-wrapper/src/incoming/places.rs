//! Table of the places in JSON where a trace header may be, and of the keys that identify an event.

use super::names;
use crate::settings::carriers::{Carrier, Carriers};

/// Which hop wrote a header, most recent first. A forwarder adds its header around or next to the
/// ones it received, as [`embed`](crate::embed) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The outermost field that `embed` writes.
    Own,
    /// Another outermost field.
    Field,
    /// An attribute of SNS, or a field of EventBridge's `detail`.
    Envelope,
    /// An HTTP header.
    Headers,
    /// Any header in JSON that is a string.
    Text,
}

/// Number of hops.
pub(super) const HOPS: usize = Hop::Text as usize + 1;

/// An object whose keys have a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// A whole event.
    Event,
    /// An AppSync resolver's context: the first element of a batch.
    Resolver,
    /// A text that came in an event, such as the body of a message.
    Body,
    Headers,
    /// `request` of AppSync.
    Request,
    /// `requestContext` of API Gateway, load balancers, function URLs, VPC Lattice and AppSync.
    RequestContext,
    /// An envelope's fields: the attributes of SNS, the detail of EventBridge.
    Envelope,
    /// The first element of `Records`.
    Record,
    Kinesis,
    DynamoDb,
    /// A new image of DynamoDB.
    Image,
}

/// Service that invoked the function, as rules of sampling name it.
///
/// Weaker evidence comes first: an event with an unrelated `info` and a `requestContext` with a
/// `stage` is an HTTP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Evidence {
    /// No key of an AWS event.
    #[default]
    None,
    /// `info`, or `request` with `headers`: a resolver's context.
    Resolver,
    /// A `requestContext` with a field that only HTTP requests have.
    Http,
    /// A `requestContext` with the text of a GraphQL query, as AppSync sends it to its authorizer
    /// (AppSync developer guide, "AWS_LAMBDA authorization").
    Authorizer,
    /// `detail-type`.
    EventBridge,
    /// `eventSource` of the first record.
    Records(&'static str),
}

impl Evidence {
    /// Name of the source in rules of sampling.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::None => "direct",
            Self::Resolver | Self::Authorizer => "appsync",
            Self::Http => "http",
            Self::EventBridge => "eventbridge",
            Self::Records(source) => source,
        }
    }

    /// Returns the evidence in the value of a record's `eventSource`.
    pub(super) fn of_record(event_source: &str) -> Self {
        match event_source {
            "aws:sqs" => Self::Records("sqs"),
            "aws:sns" => Self::Records("sns"),
            "aws:s3" => Self::Records("s3"),
            "aws:kinesis" => Self::Records("kinesis"),
            "aws:dynamodb" => Self::Records("dynamodb"),
            _ => Self::None,
        }
    }
}

/// Fields of `requestContext` that only requests over HTTP have: API Gateway (REST, HTTP and
/// WebSocket APIs), function URLs, load balancers, VPC Lattice. A record of an asynchronous
/// destination has a `requestContext` without any of them.
const HTTP_FIELDS: [&str; 8] = [
    "http",
    "httpMethod",
    "resourcePath",
    "stage",
    "apiId",
    "connectionId",
    "elb",
    "serviceNetworkArn",
];

/// Meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Holds a trace header of X-Ray.
    Header(Hop),
    /// Holds a `traceparent`.
    Parent,
    /// Holds a `tracestate`.
    State,
    /// Holds an object with more keys that have a meaning.
    Object(ObjectKind),
    /// Holds records, of which a single one may carry the invocation's trace.
    Records,
    /// Holds JSON in a string: the message of an SNS envelope.
    Text,
    /// Holds JSON in base64: the data of a Kinesis record.
    Base64,
    /// Holds the path of an HTTP request.
    Path,
    /// Holds the name of a record's service.
    Source,
    /// Has no meaning but to be there.
    Presence,
}

impl ObjectKind {
    /// Returns the carrier whose headers are fields of this object.
    fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Headers => Some(Carrier::Http),
            Self::Envelope => Some(Carrier::Envelope),
            Self::Event | Self::Body | Self::Image => Some(Carrier::Embedded),
            _ => None,
        }
    }

    /// Returns the meaning of `key` in this object, and what it tells about the event.
    pub(super) fn role(self, key: &str, carriers: &Carriers) -> (Option<Role>, Evidence) {
        let allowed = self
            .carrier()
            .is_some_and(|carrier| carriers.allow(carrier));
        let role = match self {
            _ if allowed && names::is_header(key) => Some(Role::Header(self.hop(key))),
            _ if allowed && names::is_traceparent(key) => Some(Role::Parent),
            _ if allowed && names::is_tracestate(key) => Some(Role::State),
            Self::Body if key == "Message" => Some(Role::Text),
            Self::Kinesis if key == "data" => Some(Role::Base64),
            Self::Event if matches!(key, "path" | "rawPath" | "raw_path") => Some(Role::Path),
            Self::Record if key.eq_ignore_ascii_case("eventSource") => Some(Role::Source),
            _ => self.under(key).map(Role::Object),
        };
        let evidence = self.evidence(key);
        match role {
            None if self == Self::Event && key.eq_ignore_ascii_case("Records") => {
                (Some(Role::Records), evidence)
            }
            None if evidence != Evidence::None => (Some(Role::Presence), evidence),
            role => (role, evidence),
        }
    }

    fn hop(self, key: &str) -> Hop {
        match self {
            Self::Headers => Hop::Headers,
            Self::Envelope => Hop::Envelope,
            _ if key.eq_ignore_ascii_case(names::FIELD) => Hop::Own,
            _ => Hop::Field,
        }
    }

    /// Returns the kind of the object under `key`, if it has keys with a meaning.
    fn under(self, key: &str) -> Option<Self> {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        match self {
            Self::Event if key == "requestContext" => Some(Self::RequestContext),
            Self::Event | Self::Body => match () {
                () if is("headers") || is("multiValueHeaders") => Some(Self::Headers),
                () if is("detail") || is("MessageAttributes") => Some(Self::Envelope),
                () if is("request") => Some(Self::Request),
                () => None,
            },
            Self::Resolver => is("request").then_some(Self::Request),
            Self::Request => is("headers").then_some(Self::Headers),
            Self::Record if is("Sns") => Some(Self::Body),
            Self::Record if is("kinesis") => Some(Self::Kinesis),
            Self::Record if is("dynamodb") => Some(Self::DynamoDb),
            Self::DynamoDb => is("NewImage").then_some(Self::Image),
            _ => None,
        }
    }

    fn evidence(self, key: &str) -> Evidence {
        match (self, key) {
            (Self::Event, "detail-type") => Evidence::EventBridge,
            (Self::Event, "raw_path") => Evidence::Http,
            (Self::Event | Self::Resolver, "info") => Evidence::Resolver,
            // A mapping template may leave `info` out.
            (Self::Request, "headers") => Evidence::Resolver,
            (Self::RequestContext, "queryString") => Evidence::Authorizer,
            (Self::RequestContext, key) if HTTP_FIELDS.contains(&key) => Evidence::Http,
            _ => Evidence::None,
        }
    }
}
