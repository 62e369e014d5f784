//! Counters of what happened to documents on their way to the X-Ray daemon, and reasons of loss.
//!
//! Both processes send documents and report the same outcome: sent, split, trimmed, lost for a
//! reason. Each adds counters for its own part; [`Counters`] holds the arithmetic for all of them.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::datagram::Fitted;

/// Why a document did not reach the X-Ray daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Too many documents or bytes were waiting already.
    NoRoom,
    /// A document in progress was not a JSON object, so it could not be closed.
    Malformed,
    /// Larger than a datagram, with nothing left to trim.
    TooLarge,
    /// The daemon's name did not resolve, or no socket could be opened.
    DaemonUnknown,
    /// The kernel rejected the datagram, or no process listened at the daemon's address.
    NotSent,
    /// The settings allow only the extension, which did not take the document.
    NoExtension,
    /// Neither an extension nor a daemon address: expected on a developer's machine.
    Nowhere,
}

impl Loss {
    const ALL: [Self; 7] = [
        Self::NoRoom,
        Self::Malformed,
        Self::TooLarge,
        Self::DaemonUnknown,
        Self::NotSent,
        Self::NoExtension,
        Self::Nowhere,
    ];

    /// Name in the JSON report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::DaemonUnknown => "daemon_unknown",
            Self::NotSent => "not_sent",
            Self::NoExtension => "no_extension",
            Self::Nowhere => "nowhere",
        }
    }
}

/// Number of lost documents for each reason.
///
/// Serialises as an object with the reasons that occurred.
///
/// ```
/// use tracestitch_wire::delivery::{Loss, Losses};
///
/// let mut losses = Losses::default();
/// losses.add(Loss::NotSent, 2);
/// losses.add(Loss::NoRoom, 1);
/// assert_eq!((losses.total(), losses.of(Loss::NotSent)), (3, 2));
/// assert_eq!(serde_json::to_string(&losses)?, r#"{"no_room":1,"not_sent":2}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// Counts `documents` lost for `reason`.
    pub fn add(&mut self, reason: Loss, documents: u64) {
        self.0[reason as usize] += documents;
    }

    /// Documents lost for `reason`.
    pub fn of(&self, reason: Loss) -> u64 {
        self.0[reason as usize]
    }

    /// Documents lost for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns true if no document was lost.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }
}

impl Serialize for Losses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for reason in Loss::ALL {
            let count = self.of(reason);
            if count > 0 {
                map.serialize_entry(reason.name(), &count)?;
            }
        }
        map.end()
    }
}

/// Outcome of the documents that one part of a process was given to send.
///
/// Once nothing waits: documents given + `split` = `sent` + `lost`.
///
/// ```
/// use tracestitch_wire::datagram::fit;
/// use tracestitch_wire::delivery::{Counters, Delivery, Loss};
///
/// let mut delivery = Delivery::default();
/// delivery.record_fit(&fit(vec![b'x'; 100_000]));
/// assert_eq!(delivery.lost.of(Loss::TooLarge), 1);
///
/// let mut other = Delivery::default();
/// other.sent = 3;
/// other.record_refusal();
/// let both = delivery.and(&other);
/// assert_eq!((both.sent, both.lost.total()), (2, 2));
/// assert_eq!(both.since(&delivery), other);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Documents that came out of a larger one, beyond the first part.
    pub split: u64,
    /// Documents that lost a part of their content.
    pub trimmed: u64,
    /// Documents that the kernel took, each in a datagram.
    pub sent: u64,
    /// Documents that were lost.
    pub lost: Losses,
}

impl Delivery {
    /// Counts `documents` lost for `reason`.
    pub fn lose(&mut self, reason: Loss, documents: u64) {
        self.lost.add(reason, documents);
    }

    /// Counts what [`fit`](crate::datagram::fit) made of one document.
    pub fn record_fit(&mut self, fitted: &Fitted) {
        let parts = fitted.documents.len() + fitted.lost;
        self.split += parts.saturating_sub(1) as u64;
        self.trimmed += fitted.trimmed as u64;
        self.lose(Loss::TooLarge, fitted.lost as u64);
    }

    /// Moves one document from sent to lost: the kernel reported later that no process listened.
    pub fn record_refusal(&mut self) {
        self.sent = self.sent.saturating_sub(1);
        self.lose(Loss::NotSent, 1);
    }
}

/// Arithmetic on a struct of counters.
pub trait Counters: Sized {
    /// Applies `change` to each counter and its counterpart in `other`.
    fn zip_with(&mut self, other: &Self, change: fn(&mut u64, u64));

    /// Returns the sum with `other`.
    #[must_use]
    fn and(mut self, other: &Self) -> Self {
        self.zip_with(other, |own, other| *own += other);
        self
    }

    /// Returns what was counted after `earlier`, a former value of the same counters.
    ///
    /// No counter goes below zero. `sent` may have decreased: see [`Delivery::record_refusal`].
    #[must_use]
    fn since(mut self, earlier: &Self) -> Self {
        self.zip_with(earlier, |own, earlier| *own = own.saturating_sub(earlier));
        self
    }
}

impl Counters for Losses {
    fn zip_with(&mut self, other: &Self, change: fn(&mut u64, u64)) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            change(own, other);
        }
    }
}

impl Counters for Delivery {
    fn zip_with(&mut self, other: &Self, change: fn(&mut u64, u64)) {
        change(&mut self.split, other.split);
        change(&mut self.trimmed, other.trimmed);
        change(&mut self.sent, other.sent);
        self.lost.zip_with(&other.lost, change);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datagram::fit_within;

    fn any_delivery() -> impl Strategy<Value = Delivery> {
        any::<([u32; 3], [u32; 7])>().prop_map(|([split, trimmed, sent], lost)| Delivery {
            split: split.into(),
            trimmed: trimmed.into(),
            sent: sent.into(),
            lost: Losses(lost.map(u64::from)),
        })
    }

    #[test]
    fn each_reason_is_counted_under_its_own_name() {
        for reason in Loss::ALL {
            let mut losses = Losses::default();
            assert!(losses.is_empty());
            losses.add(reason, 5);
            let others = Loss::ALL.into_iter().filter(|other| *other != reason);
            assert!(others.map(|other| losses.of(other)).all(|count| count == 0));
            let json = serde_json::to_value(losses).unwrap();
            assert_eq!(json, serde_json::json!({ reason.name(): 5 }));
        }
    }

    #[test]
    fn fits_of_every_kind_add_up() {
        let filler = "x".repeat(300);
        let child = format!(r#"{{"name":"c","id":"1","k":"{filler}"}}"#);
        for (document, reason) in [
            ("{}".to_owned(), "fits"),
            (format!(r#"{{"subsegments":[{child},{child},7]}}"#), "split"),
            (
                format!(r#"{{"metadata":{{"d":"{filler}{filler}"}}}}"#),
                "trimmed",
            ),
            (format!(r#"{{"name":"{filler}{filler}"}}"#), "too large"),
        ] {
            let fitted = fit_within(document.into_bytes(), 400);
            let mut delivery = Delivery::default();
            delivery.record_fit(&fitted);
            delivery.sent += fitted.documents.len() as u64;
            assert_eq!(
                1 + delivery.split,
                delivery.sent + delivery.lost.total(),
                "{reason}"
            );
        }
    }

    proptest! {
        #[test]
        fn adding_and_taking_away_are_inverse(one in any_delivery(), other in any_delivery()) {
            prop_assert_eq!(one.and(&other), other.and(&one));
            prop_assert_eq!(one.and(&other).since(&other), one);
            prop_assert_eq!(one.since(&one), Delivery::default());
        }

        #[test]
        fn no_difference_goes_below_zero(one in any_delivery(), other in any_delivery()) {
            let difference = one.since(&other);
            prop_assert_eq!(difference.sent, one.sent.saturating_sub(other.sent));
        }
    }
}
