//! Carriers: the places in an event that a trace context may come from.

/// A place in an event that carries a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// HTTP headers of the event.
    Http,
    /// `attributes.AWSTraceHeader` of an SQS message.
    System,
    /// Message attributes of an SQS message.
    Attribute,
    /// The attributes of an SNS envelope, the detail of an EventBridge event.
    Envelope,
    /// A field of the event or of a body.
    Embedded,
    /// `traceparent`, in any place.
    W3c,
}

impl Carrier {
    const ALL: [(&'static str, Self); 6] = [
        ("http", Self::Http),
        ("sqs", Self::System),
        ("attribute", Self::Attribute),
        ("envelope", Self::Envelope),
        ("embedded", Self::Embedded),
        ("w3c", Self::W3c),
    ];
}

/// Carriers that count, and further fields to search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Carriers {
    /// One bit for each carrier that is switched off.
    ignored: u8,
    /// Fields named by the user: keys joined by dots.
    pub(crate) paths: Vec<String>,
}

impl Carriers {
    pub(crate) fn allow(&self, carrier: Carrier) -> bool {
        self.ignored & (1 << carrier as u8) == 0
    }

    /// Parses names of carriers to ignore, joined by commas. Returns `None` if one is unknown.
    pub(crate) fn parse_ignored(names: &str) -> Option<u8> {
        names.split(',').try_fold(0, |ignored, name| {
            let name = name.trim();
            let (_, carrier) = Carrier::ALL
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known))?;
            Some(ignored | 1 << *carrier as u8)
        })
    }

    /// Parses paths joined by commas. Returns `None` if one is empty or has an empty key.
    pub(crate) fn parse_paths(paths: &str) -> Option<Vec<String>> {
        let path = |path: &str| {
            let path = path.trim();
            path.split('.')
                .all(|key| !key.is_empty())
                .then(|| path.to_owned())
        };
        paths.split(',').map(path).collect()
    }

    pub(crate) fn new(ignored: u8, paths: Vec<String>) -> Self {
        Self { ignored, paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriers_are_switched_off_one_by_one() {
        for (name, carrier) in Carrier::ALL {
            let ignored = Carriers::parse_ignored(name).unwrap();
            let carriers = Carriers::new(ignored, Vec::new());
            for (_, other) in Carrier::ALL {
                assert_eq!(carriers.allow(other), other != carrier, "{name}: {other:?}");
            }
        }
        let two = Carriers::new(Carriers::parse_ignored("W3C, sqs").unwrap(), Vec::new());
        assert!(
            !two.allow(Carrier::W3c) && !two.allow(Carrier::System) && two.allow(Carrier::Http)
        );
        assert_eq!(
            Carriers::parse_ignored("http,HTTP"),
            Carriers::parse_ignored("http"),
            "named twice"
        );
        assert_eq!(Carriers::parse_ignored("http,pigeon"), None);
        assert_eq!(Carriers::parse_ignored(""), None);
    }

    #[test]
    fn paths_are_keys_joined_by_dots() {
        assert_eq!(
            Carriers::parse_paths("meta.trace, ctx").unwrap(),
            ["meta.trace", "ctx"]
        );
        for bad in ["", "a..b", "a,", "."] {
            assert_eq!(Carriers::parse_paths(bad), None, "{bad}");
        }
    }
}
