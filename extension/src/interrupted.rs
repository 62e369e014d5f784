//! Closes documents whose function died before it could.

use std::fmt;

use serde_json::{Map, Value};
use tracestitch_wire::document::{Cause, Exception};
use tracestitch_wire::time::Timestamp;

/// Reason why the function ended before its work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// Lambda stopped the function at its timeout.
    Timeout,
    /// A crash, an exit, or a kill because memory ran out.
    Crash,
    /// Lambda stopped the environment, for the reason given.
    Stopped(String),
    /// The connection ended, and Lambda gave no reason.
    Unknown,
}

impl Interruption {
    /// Reads the reason of a shutdown event.
    ///
    /// The developer guide writes the reasons in upper case, Lambda sends them in lower case, and
    /// the Runtime Interface Emulator has other names.
    pub(crate) fn from_shutdown_reason(reason: &str) -> Self {
        match reason.to_ascii_lowercase().as_str() {
            "timeout" => Self::Timeout,
            "failure" | "releasefail" => Self::Crash,
            "spindown" | "sandboxterminated" => Self::Stopped("spindown".to_owned()),
            _ => Self::Stopped(reason.to_owned()),
        }
    }

    /// Exception type of the cause.
    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "FunctionTimeout",
            Self::Crash => "FunctionCrash",
            Self::Stopped(_) => "FunctionStopped",
            Self::Unknown => "FunctionLost",
        }
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("The function timed out before this work was done"),
            Self::Crash => f.write_str(
                "The function's process ended before this work was done: \
                 it crashed, exited or ran out of memory",
            ),
            Self::Stopped(reason) => write!(
                f,
                "Lambda stopped the function before this work was done: {}",
                reason.escape_debug()
            ),
            Self::Unknown => f.write_str(
                "The function's connection ended before this work was done; \
                 Lambda gave no reason",
            ),
        }
    }
}

/// Result of closing a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The document has an end already: its work was over when the function died, and only the
    /// work around it was not.
    Already,
    /// The closed document.
    Now(Vec<u8>),
    /// The document is not a JSON object.
    Malformed,
}

/// Closes a document in progress: it ends at `at`, as a fault, and the first exception of its cause
/// is the interruption. Exceptions that the function recorded follow it.
///
/// An end before the document's own start is moved to the start, so that a clock that was set
/// back does not make the document invalid.
///
/// Source: X-Ray developer guide, "Segment documents": `in_progress` or `end_time`, never both;
/// `cause` is an object with `exceptions`, or the id of an exception of another document.
pub(crate) fn close(document: &[u8], at: Timestamp, why: &Interruption) -> Closed {
    let Ok(document) = serde_json::from_slice::<Map<String, Value>>(document) else {
        return Closed::Malformed;
    };
    let is_true = |key| document.get(key).and_then(Value::as_bool) == Some(true);
    if document.get("end_time").is_some_and(Value::is_number) && !is_true("in_progress") {
        return Closed::Already;
    }
    finish(document, at, why).map_or(Closed::Malformed, Closed::Now)
}

fn finish(mut document: Map<String, Value>, at: Timestamp, why: &Interruption) -> Option<Vec<u8>> {
    let end = at.as_micros() as f64 / 1e6;
    let start = document
        .get("start_time")
        .and_then(Value::as_f64)
        .unwrap_or(0.0);
    document.remove("in_progress");
    document.insert("end_time".to_owned(), end.max(start).into());
    document.insert("fault".to_owned(), true.into());
    let recorded = document.remove("cause").unwrap_or_default();
    document.insert("cause".to_owned(), cause(why, recorded)?);
    serde_json::to_vec(&document).ok()
}

/// Returns the `recorded` cause with the interruption as its first exception.
fn cause(why: &Interruption, recorded: Value) -> Option<Value> {
    let interruption = Cause::from_exception(Exception::new(why.kind(), why.to_string()));
    let mut cause: Map<String, Value> = serde_json::from_slice(&interruption.to_json()).ok()?;
    let exceptions = cause.get_mut("exceptions")?.as_array_mut()?;
    match recorded {
        Value::Object(mut recorded) => {
            if let Some(Value::Array(more)) = recorded.remove("exceptions") {
                exceptions.extend(more);
            }
            cause.append(&mut recorded);
        }
        // A reference to an exception can only be kept by linking the interruption to it.
        Value::String(id) => {
            let interruption = exceptions.first_mut()?.as_object_mut()?;
            interruption.insert("cause".to_owned(), id.into());
        }
        _ => {}
    }
    Some(cause.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_478_293_361_271_001);

    fn closed(document: &Value, why: &Interruption) -> Value {
        match close(document.to_string().as_bytes(), AT, why) {
            Closed::Now(document) => serde_json::from_slice(&document).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn open() -> Value {
        json!({ "name": "n", "id": "53995c3f42cd8ad8", "start_time": 1_478_293_360.0,
                "in_progress": true, "annotations": { "order": "o-1" } })
    }

    #[test]
    fn document_ends_at_the_time_of_the_kill_and_keeps_its_facts() {
        let document = closed(&open(), &Interruption::Timeout);
        assert_eq!(document["end_time"], 1_478_293_361.271_001);
        assert_eq!(document["fault"], true);
        assert_eq!(document["annotations"]["order"], "o-1");
        assert!(document.get("in_progress").is_none());
    }

    #[test]
    fn cause_names_the_reason() {
        for (reason, kind, part) in [
            ("timeout", "FunctionTimeout", "timed out"),
            ("failure", "FunctionCrash", "crashed"),
            ("spindown", "FunctionStopped", "spindown"),
            ("New\n", "FunctionStopped", "New\\n"),
        ] {
            let document = closed(&open(), &Interruption::from_shutdown_reason(reason));
            let exception = &document["cause"]["exceptions"][0];
            assert_eq!(exception["type"], kind);
            let message = exception["message"].as_str().unwrap();
            assert!(message.contains(part), "{message}");
            assert_eq!(exception["id"].as_str().unwrap().len(), 16);
        }
    }

    #[test]
    fn recorded_exceptions_follow_the_interruption() {
        let refused = || json!({ "id": "00000000000000e1", "type": "Refused", "cause": "e2" });
        let source = || json!({ "id": "00000000000000e2", "type": "NoStock", "stack": [] });
        let why = Interruption::Timeout;
        for (recorded, following, reason) in [
            (json!({ "exceptions": [refused()] }), vec![refused()], "one"),
            (
                json!({ "exceptions": [refused(), source()] }),
                vec![refused(), source()],
                "a chain",
            ),
            (json!({ "exceptions": [] }), vec![], "an empty list"),
            (json!({}), vec![], "no list"),
            (json!({ "exceptions": "e1" }), vec![], "another type"),
            (json!(7), vec![], "no cause"),
        ] {
            let mut document = open();
            document["cause"] = recorded;
            let document = closed(&document, &why);
            let exceptions = document["cause"]["exceptions"].as_array().unwrap();
            assert_eq!(exceptions[0]["type"], "FunctionTimeout", "{reason}");
            assert_eq!(exceptions[1..], following, "{reason}");
            assert_eq!(document["fault"], true, "{reason}");
        }
    }

    #[test]
    fn other_members_of_a_recorded_cause_are_kept() {
        let mut document = open();
        document["error"] = true.into();
        document["cause"] = json!({
            "working_directory": "/var/task", "paths": ["/opt"], "exceptions": [],
        });
        let document = closed(&document, &Interruption::Crash);
        assert_eq!(document["cause"]["working_directory"], "/var/task");
        assert_eq!(document["cause"]["paths"], json!(["/opt"]));
        assert_eq!(document["error"], true);
    }

    #[test]
    fn exception_that_a_recorded_cause_refers_to_is_linked() {
        let mut document = open();
        document["cause"] = "00000000000000e1".into();
        let document = closed(&document, &Interruption::Crash);
        let exceptions = document["cause"]["exceptions"].as_array().unwrap();
        assert_eq!(exceptions.len(), 1);
        assert_eq!(exceptions[0]["type"], "FunctionCrash");
        assert_eq!(exceptions[0]["cause"], "00000000000000e1");
    }

    #[test]
    fn shutdown_reasons_in_all_spellings() {
        let stopped = |reason: &str| Interruption::Stopped(reason.to_owned());
        for (reason, expected) in [
            ("spindown", stopped("spindown")),
            ("SPINDOWN", stopped("spindown")),
            ("SandboxTerminated", stopped("spindown")),
            ("timeout", Interruption::Timeout),
            ("Timeout", Interruption::Timeout),
            ("failure", Interruption::Crash),
            ("FAILURE", Interruption::Crash),
            ("ReleaseFail", Interruption::Crash),
            ("Moved", stopped("Moved")),
        ] {
            let found = Interruption::from_shutdown_reason(reason);
            assert_eq!(found, expected, "{reason}");
        }
    }

    #[test]
    fn clock_that_was_set_back_does_not_end_a_document_before_its_start() {
        let mut document = open();
        document["start_time"] = 2_000_000_000.5.into();
        let document = closed(&document, &Interruption::Unknown);
        assert_eq!(document["end_time"], 2_000_000_000.5);
    }

    #[test]
    fn finished_documents_are_recognised() {
        for (document, expected, reason) in [
            (
                r#"{"start_time":1.5,"end_time":2.5}"#,
                true,
                "it has an end",
            ),
            (
                r#"{"end_time":2.5,"in_progress":false}"#,
                true,
                "and is not in progress",
            ),
            (
                r#"{"start_time":1.5,"in_progress":true}"#,
                false,
                "no end yet",
            ),
            (r#"{"end_time":2.5,"in_progress":true}"#, false, "both"),
            (r#"{"start_time":1.5}"#, false, "neither"),
            (r#"{"end_time":null}"#, false, "no time"),
            (r#"{"subsegments":[{"end_time":2.5}]}"#, false, "a part's"),
        ] {
            let closed = close(document.as_bytes(), AT, &Interruption::Crash);
            assert_eq!(closed == Closed::Already, expected, "{reason}: {closed:?}");
        }
    }

    #[test]
    fn document_that_is_not_an_object_is_malformed() {
        for document in [&b""[..], b"[]", b"{", b"\xff", br#"{"end_time":2.5"#] {
            let closed = close(document, AT, &Interruption::Crash);
            assert_eq!(closed, Closed::Malformed);
        }
    }
}
