//! The syntax tree of a filter expression.

use serde_json::Value;

use crate::model::Cause;

/// A filter expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// All parts hold.
    And(Vec<Self>),
    /// One part holds.
    Or(Vec<Self>),
    /// The inner expression does not hold.
    Not(Box<Self>),
    /// A boolean keyword has a value.
    Flag(FlagKey, bool),
    /// A number keyword compares with a number.
    Number(NumberKey, Compare, f64),
    /// A number keyword has one of these values.
    NumberIn(NumberKey, Vec<f64>),
    /// A number keyword is set.
    NumberSet(NumberKey),
    /// A string keyword compares with a text.
    Text(TextKey, TextTest),
    /// A string keyword is set.
    TextSet(TextKey),
    /// An annotation with this key.
    Annotation(String, AnnotationTest),
    /// A service, and a filter for its segments.
    Service(Target, Option<Box<Self>>),
    /// A connection of two services, and a filter for its calls.
    Edge(Target, Target, Option<Box<Self>>),
    /// A part of a root cause, and a filter for it.
    RootCause(Cause, Part, Option<Box<Self>>),
    /// A root cause as JSON.
    RootCauseJson(Value),
    /// The filter expression of a group; see [`Expression::with_groups`].
    Group(Group),
}

/// A boolean keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagKey {
    /// Neither error, fault nor throttle.
    Ok,
    /// 4xx.
    Error,
    /// 429.
    Throttle,
    /// 5xx.
    Fault,
    /// In progress.
    Partial,
    /// Has inferred segments, or is one.
    Inferred,
    /// The first of a list.
    First,
    /// The last of a list.
    Last,
    /// A remote entity of a root cause.
    Remote,
    /// The entry point of a trace.
    Root,
}

/// A number keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKey {
    /// Seconds until the response.
    ResponseTime,
    /// Seconds of all work.
    Duration,
    /// The HTTP status.
    Status,
    /// The position in a list, the first is 0.
    Index,
    /// The share of an entity in the time of the root segment.
    Coverage,
}

/// A string keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKey {
    /// The request's URL.
    Url,
    /// The request's method.
    Method,
    /// The user agent.
    UserAgent,
    /// The client's IP address.
    ClientIp,
    /// The user.
    User,
    /// The name of a service, entity or exception.
    Name,
    /// The type of a service.
    Type,
    /// The message of an exception.
    Message,
    /// The availability zone.
    AvailabilityZone,
    /// The id of the EC2 instance.
    InstanceId,
    /// The ARN of the resource.
    ResourceArn,
}

/// A comparison of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Compare {
    /// Returns whether two numbers compare in this way.
    #[must_use]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

/// A condition on a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextTest {
    /// `=`
    Equal(String),
    /// `!=`
    NotEqual(String),
    /// `CONTAINS`
    Contains(String),
    /// `BEGINSWITH`
    BeginsWith(String),
    /// `ENDSWITH`
    EndsWith(String),
    /// `IN`
    In(Vec<String>),
}

impl TextTest {
    /// Returns whether a text meets the condition.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equal(other) => text == other,
            Self::NotEqual(other) => text != other,
            Self::Contains(part) => text.contains(part),
            Self::BeginsWith(part) => text.starts_with(part),
            Self::EndsWith(part) => text.ends_with(part),
            Self::In(texts) => texts.iter().any(|other| text == other),
        }
    }
}

/// A condition on an annotation.
#[derive(Debug, Clone, PartialEq)]
pub enum AnnotationTest {
    /// The annotation is set; a boolean one is true.
    Set,
    /// A string that meets a condition.
    Text(TextTest),
    /// A number that compares like this.
    Number(Compare, f64),
    /// One of several numbers.
    NumberIn(Vec<f64>),
    /// A boolean.
    Flag(bool),
}

/// The services that `service()` or `edge()` means. An empty target means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The name.
    pub name: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// The account.
    pub account: Option<String>,
}

/// A list in a root cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The services.
    Service,
    /// The segments and subsegments.
    Entity,
    /// The exceptions.
    Exception,
}

/// A reference to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// By name.
    Name(String),
    /// By ARN.
    Arn(String),
}

impl Expression {
    /// Replaces each group by its filter expression.
    ///
    /// # Errors
    ///
    /// Returns the first group for which `find` returns `None`.
    pub fn with_groups(self, find: &impl Fn(&Group) -> Option<Self>) -> Result<Self, Group> {
        let all = |parts: Vec<Self>| -> Result<Vec<Self>, Group> {
            let parts = parts.into_iter();
            parts.map(|part| part.with_groups(find)).collect()
        };
        let inner = |part: Option<Box<Self>>| -> Result<Option<Box<Self>>, Group> {
            let part = part.map(|part| part.with_groups(find));
            Ok(part.transpose()?.map(Box::new))
        };
        Ok(match self {
            Self::And(parts) => Self::And(all(parts)?),
            Self::Or(parts) => Self::Or(all(parts)?),
            Self::Not(part) => Self::Not(Box::new(part.with_groups(find)?)),
            Self::Service(target, part) => Self::Service(target, inner(part)?),
            Self::Edge(from, to, part) => Self::Edge(from, to, inner(part)?),
            Self::RootCause(cause, list, part) => Self::RootCause(cause, list, inner(part)?),
            Self::Group(group) => find(&group).ok_or(group)?,
            other => other,
        })
    }
}
