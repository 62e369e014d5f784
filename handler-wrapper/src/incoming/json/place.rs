//! The places in JSON where a header may be, and under which names.

use memchr::memchr;

use crate::{
    incoming::names,
    settings::carriers::{Carrier, Carriers},
};

/// Whose header one is that was found, the latest hop first. Who hands on a text that he got puts
/// his own around the others or beside them, as [`embed`](crate::embed) does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    /// The field that `embed` writes, at the outermost.
    Own,
    /// Another field at the outermost.
    Field,
    Envelope,
    Headers,
    /// Anything in JSON that is a string.
    Text,
}

/// How many of them may be there beside the first.
pub(super) const OTHERS: usize = Hop::Text as usize;

/// What kind of object this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    Event,
    Body,
    Headers,
    /// The first of a list, which is AppSync's batch.
    Resolver,
    Request,
    /// An envelope's own fields: its attributes, or EventBridge's detail.
    Envelope,
    Record,
    Kinesis,
    DynamoDb,
    Fields,
}

impl ObjectKind {
    /// Whose fields here hold headers.
    pub(super) fn carrier(self) -> Option<Carrier> {
        match self {
            Self::Headers => Some(Carrier::Http),
            Self::Envelope => Some(Carrier::Envelope),
            Self::Event | Self::Body | Self::Fields => Some(Carrier::Embedded),
            Self::Resolver | Self::Request | Self::Record | Self::Kinesis | Self::DynamoDb => None,
        }
    }

    /// What is looked for under the key `raw`, which has its escapes still.
    #[inline]
    pub(super) fn role(self, raw: &[u8], carriers: &Carriers) -> Option<Role> {
        let mut name = [0; LONGEST];
        let key = match memchr(b'\\', raw) {
            Some(_) => unescape_name(raw, &mut name)?,
            None => raw,
        };
        let allowed = self
            .carrier()
            .is_some_and(|carrier| carriers.allow(carrier));
        match self {
            _ if allowed && names::is_header(key) => Some(Role::Header(self.hop(key))),
            _ if allowed && names::is_traceparent(key) => Some(Role::Parent),
            _ if allowed && names::is_tracestate(key) => Some(Role::State),
            Self::Kinesis if key == b"data" => Some(Role::Text),
            Self::Body if key == b"Message" => Some(Role::Text),
            _ => self.under(key).map(Role::Object),
        }
    }

    /// Whose header it is that is here under `key`.
    fn hop(self, key: &[u8]) -> Hop {
        match self {
            Self::Headers => Hop::Headers,
            Self::Envelope => Hop::Envelope,
            _ if key.eq_ignore_ascii_case(names::FIELD.as_bytes()) => Hop::Own,
            _ => Hop::Field,
        }
    }

    /// The object under `key`, if headers may be in it.
    fn under(self, key: &[u8]) -> Option<Self> {
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        match self {
            Self::Event | Self::Body => match () {
                () if is("headers") || is("multiValueHeaders") => Some(Self::Headers),
                () if is("detail") || is("MessageAttributes") => Some(Self::Envelope),
                () if is("request") => Some(Self::Request),
                () if is("Records") && self == Self::Event => Some(Self::Record),
                () => None,
            },
            Self::Resolver => is("request").then_some(Self::Request),
            Self::Request => is("headers").then_some(Self::Headers),
            Self::Record if is("Sns") => Some(Self::Body),
            Self::Record if is("kinesis") => Some(Self::Kinesis),
            Self::Record if is("dynamodb") => Some(Self::DynamoDb),
            Self::DynamoDb => is("NewImage").then_some(Self::Fields),
            _ => None,
        }
    }
}

/// What is looked for under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A header of X-Ray.
    Header(Hop),
    /// `traceparent`.
    Parent,
    /// `tracestate`.
    State,
    /// An object with more of them.
    Object(ObjectKind),
    /// JSON in a string: the message of an SNS envelope, the data of a Kinesis record.
    Text,
}

/// Length of the longest name of [`ObjectKind::role`], in bytes.
const LONGEST: usize = "multiValueHeaders".len();

/// A key without its escapes, in `name`; None for one that is no name. Names have letters, `-` and
/// `_`, of which each is escaped by its number alone.
fn unescape_name<'n>(raw: &[u8], name: &'n mut [u8; LONGEST]) -> Option<&'n [u8]> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (mut rest, mut length) = (raw, 0);
    while let [byte, others @ ..] = rest {
        let place = name.get_mut(length)?;
        (*place, rest) = match (byte, others) {
            (b'\\', [b'u', b'0', b'0', high, low, others @ ..]) => {
                let byte = digit(*high)? << 4 | digit(*low)?;
                (u8::try_from(byte).ok()?, others)
            }
            (b'\\', _) => return None,
            (byte, others) => (*byte, others),
        };
        length += 1;
    }
    name.get(..length)
}
