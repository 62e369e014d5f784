//! Context of the running code, and functions that record facts on it. No other module knows both
//! contexts and the init phase.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use tracestitch_wire::document::AnnotationValue;

use super::{
    context::{Bound, Context, Inner},
    init,
    open::Open,
    subsegment::{DEFAULT_NAMESPACE, Subsegment, TOO_MANY_REQUESTS},
};
use crate::support::user_code;

impl Context {
    /// Returns the context of the running code.
    pub fn current() -> Self {
        if user_code::is_muted() {
            return Self::default();
        }
        let bound = Self::bound();
        match bound.inner {
            Inner::Outside if bound.deadline().is_none() => init::context(),
            _ => bound,
        }
    }
}

/// Returns the subsegment of the running code, if it is recorded. Takes less time than
/// [`Context::current`], so that code costs little in a trace that is not sampled.
pub(crate) fn recording() -> Option<Arc<Open>> {
    if user_code::is_muted() {
        return None;
    }
    match Context::bound_subsegment() {
        Bound::Recording(open) => Some(open),
        Bound::Passing => None,
        Bound::Outside => init::context().recording().cloned(),
    }
}

impl Subsegment {
    /// Begins a child of the current subsegment.
    pub fn begin(name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin_in(&Context::current(), name)
    }
}

/// Puts an annotation on the current subsegment. X-Ray indexes annotations, so filter expressions
/// find them.
///
/// Characters of a key other than ASCII letters, digits and underscores are replaced; strings are
/// cut at 1000 characters. X-Ray indexes 50 annotations in a trace (X-Ray developer guide, "Segment
/// documents"). Does nothing if nothing is recorded.
///
/// ```
/// tracestitch::annotate("order_id", "o-1234");
/// tracestitch::annotate("items", 3);
/// ```
pub fn annotate(key: impl Into<Cow<'static, str>>, value: impl Into<AnnotationValue>) {
    if let Some(open) = recording() {
        open.annotate(key.into(), value.into());
    }
}

/// Puts a value that is not indexed on the current subsegment, in the namespace `default`.
///
/// A value that cannot be serialised becomes the text of its serialisation error. Does nothing if
/// nothing is recorded; `value` is then not serialised.
///
/// ```
/// tracestitch::metadata("basket", [("apples", 3), ("pears", 1)]);
/// ```
pub fn metadata(key: impl Into<Cow<'static, str>>, value: impl Serialize) {
    metadata_in(DEFAULT_NAMESPACE, key, value);
}

/// Puts a value that is not indexed on the current subsegment, in a namespace of the caller's
/// choice.
///
/// Namespaces keep the entries of several libraries apart. Otherwise as [`metadata`].
///
/// ```
/// tracestitch::metadata_in("basket", "apples", 3);
/// ```
pub fn metadata_in(
    namespace: impl Into<Cow<'static, str>>,
    key: impl Into<Cow<'static, str>>,
    value: impl Serialize,
) {
    if let Some(open) = recording() {
        open.metadata(namespace.into(), key.into(), &value);
    }
}

/// Records the user who sent the request, on the current segment or subsegment.
///
/// The id is cut at 250 characters. X-Ray takes a user on segments only, such as a message's; a
/// subsegment, such as the handler's under Lambda's own segment, gets the annotation `user`
/// instead. Filter expressions are `user = "u-1"` and `annotation.user = "u-1"`.
///
/// ```
/// tracestitch::set_user("u-1");
/// ```
pub fn set_user(user: impl Into<Cow<'static, str>>) {
    if let Some(open) = recording() {
        let user = user.into();
        open.amend(|document| document.set_user(user.into()));
    }
}

/// Marks the current subsegment as an error: the caller is to blame, as for an HTTP status 4xx.
///
/// ```
/// fn check(quantity: u32) -> bool {
///     if quantity == 0 {
///         tracestitch::mark_error();
///     }
///     quantity > 0
/// }
/// assert!(!check(0));
/// ```
pub fn mark_error() {
    if let Some(open) = recording() {
        open.amend(|document| document.error = true);
    }
}

/// Marks the current subsegment as throttled, as for the HTTP status 429. X-Ray counts it among
/// the errors, too.
///
/// ```
/// tracestitch::mark_throttle();
/// ```
pub fn mark_throttle() {
    if let Some(open) = recording() {
        open.amend(|document| document.mark(TOO_MANY_REQUESTS));
    }
}

/// Marks the current subsegment as a fault, with `error` and the chain of its sources as cause.
///
/// ```
/// let error = "x".parse::<i32>().unwrap_err();
/// tracestitch::record_error(&error);
/// ```
pub fn record_error(error: &(dyn Error + 'static)) {
    if let Some(open) = recording() {
        open.record_error(error);
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{header::SAMPLED, kept::Kept};

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
    async fn facts_are_put_on_the_current_subsegment_and_on_a_guard() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            crate::capture("free functions", async {
                crate::mark_error();
                crate::metadata_in("basket", "apples", 3);
                crate::set_user("u-1");
            })
            .await;
            crate::capture_sync("throttled", crate::mark_throttle);
            let guard = crate::Subsegment::begin("guard");
            guard.mark_error();
            guard.metadata_in("basket", "apples", 3);
            guard.set_user("u-1");
            guard.finish();
            let throttled = crate::Subsegment::begin("throttled guard");
            throttled.mark_throttle();
            throttled.finish();
        })
        .await;
        for name in ["free functions", "guard"] {
            let document = kept.one(name);
            assert_eq!(document["error"], true, "{name}");
            assert_eq!(document.get("throttle"), None, "{name}");
            assert_eq!(document["metadata"]["basket"]["apples"], 3, "{name}");
            assert_eq!(document["annotations"]["user"], "u-1", "{name}");
        }
        for name in ["throttled", "throttled guard"] {
            let document = kept.one(name);
            let flags = (&document["error"], &document["throttle"]);
            assert_eq!(flags, (&true.into(), &true.into()), "{name}");
        }
        assert_eq!(kept.one("order-worker").get("error"), None);
    }

    /// A value that contains itself.
    struct Endless;

    impl serde::Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq([Self])
        }
    }

    #[tokio::test]
    async fn metadata_nested_without_end_is_cut() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async { crate::metadata("endless", Endless) })
            .await;
        let handler = kept.one("order-worker");
        let mut value = &handler["metadata"]["default"]["endless"];
        while value.is_array() {
            value = &value[0];
        }
        assert_eq!(value, "nested too deeply");
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
