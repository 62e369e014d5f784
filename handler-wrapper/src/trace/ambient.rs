//! The context of the running code, and what is recorded on it: the only module that knows both
//! contexts and the init phase.

use std::borrow::Cow;
use std::error::Error;

use serde::Serialize;
use tracestitch_wire::document::AnnotationValue;

use super::{
    context::{Context, Inner},
    init,
    subsegment::Subsegment,
};
use crate::support::user_code;

impl Context {
    /// Returns the context of the running code.
    pub fn current() -> Self {
        if user_code::is_muted() {
            return Self::default();
        }
        let bound = Self::bound();
        match bound.0 {
            Inner::Outside => init::context(),
            _ => bound,
        }
    }
}

impl Subsegment {
    /// Begins a child of the current subsegment.
    pub fn begin(name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin_in(&Context::current(), name)
    }
}

/// Puts an annotation on the current subsegment: X-Ray indexes it, filter expressions find it.
///
/// Keys are cleaned to ASCII letters, digits and underscores; strings are cut at 1000
/// characters; X-Ray indexes 50 annotations in a trace (X-Ray developer guide, "Segment
/// documents"). Does nothing where nothing is recorded.
///
/// ```
/// tracestitch::annotate("order_id", "o-1234");
/// tracestitch::annotate("items", 3);
/// ```
pub fn annotate(key: impl Into<Cow<'static, str>>, value: impl Into<AnnotationValue>) {
    if let Some(open) = Context::current().recording() {
        open.annotate(key.into(), value.into());
    }
}

/// Puts a value that is not indexed on the current subsegment, in the namespace `default`.
///
/// A value that cannot be serialised becomes the text of its serialisation error. Does nothing
/// where nothing is recorded; `value` is then not serialised.
///
/// ```
/// tracestitch::metadata("basket", [("apples", 3), ("pears", 1)]);
/// ```
pub fn metadata(key: impl Into<Cow<'static, str>>, value: impl Serialize) {
    if let Some(open) = Context::current().recording() {
        open.metadata(key.into(), &value);
    }
}

/// Marks the current subsegment as a fault, with `error` and the chain of its sources as cause.
///
/// ```
/// let error = "x".parse::<i32>().unwrap_err();
/// tracestitch::record_error(&error);
/// ```
pub fn record_error(error: &(dyn Error + 'static)) {
    if let Some(open) = Context::current().recording() {
        open.record_error(error);
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::kept::{Kept, SAMPLED};

    /// An error and value whose own code panics.
    #[derive(Debug)]
    struct Broken;

    impl std::fmt::Display for Broken {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no message")
        }
    }

    impl std::error::Error for Broken {}

    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("no value")
        }
    }

    #[tokio::test]
    async fn what_panics_while_it_is_recorded_harms_nobody() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            crate::metadata("broken", Broken);
            let failed = crate::try_capture("pay", async { Err::<(), _>(Broken) }).await;
            assert!(failed.is_err());
            crate::record_error(&Broken);
        })
        .await;
        let handler = kept.one("order-worker");
        let value = &handler["metadata"]["default"]["broken"];
        assert_eq!(value, "a panic while it was serialised");
        for document in [handler, kept.one("pay")] {
            let message = &document["cause"]["exceptions"][0]["message"];
            let expected = "an error that panicked while its message was written";
            assert_eq!(
                (&document["fault"], message),
                (&true.into(), &expected.into())
            );
        }
    }
}
