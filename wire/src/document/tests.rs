use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn trace_id() -> TraceId {
    "1-5759e988-bd862e3fe1be46a994272793".parse().unwrap()
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(1_478_293_361_000_000 + micros)
}

/// The document as JSON, with constant instead of random ids.
fn golden(mut document: Document) -> String {
    document.id = "4c721bf33e3caf8f".parse().unwrap();
    for (n, exception) in document
        .cause
        .iter_mut()
        .flat_map(|c| &mut c.exceptions)
        .enumerate()
    {
        exception.id = format!("{:016x}", n + 1).parse().unwrap();
        exception.cause = exception
            .cause
            .map(|_| format!("{:016x}", n + 2).parse().unwrap());
    }
    String::from_utf8(document.to_json()).unwrap()
}

#[test]
fn failed_aws_call_matches_the_golden_file() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut call = Document::subsegment("DynamoDB".into(), trace_id(), parent, at(0));
    call.namespace = Some(Namespace::Aws);
    call.error = true;
    call.throttle = true;
    call.aws.insert("operation", "GetItem");
    call.aws.insert("retries", 2);
    call.http = Some(Http {
        request: None,
        response: Some(Response {
            status: Some(400),
            content_length: Some(112),
        }),
    });
    let mut exception = Exception::new("ThrottlingException", "Rate exceeded");
    exception.remote = true;
    call.cause = Some(Box::new(Cause::from_exception(exception)));
    call.finish(at(1500));
    assert_eq!(
        golden(call),
        include_str!("../../golden/aws_call_failed.json").trim_end()
    );
}

#[test]
fn message_segment_matches_the_golden_file() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut message = Document::segment("order-worker".into(), trace_id(), Some(parent), at(0));
    message.origin = Some("AWS::Lambda::Function");
    message.resource_arn = Some("arn:aws:lambda:eu-west-1:123456789012:function:f".into());
    message.annotations.insert("cold-start".into(), true.into());
    message.put_metadata("tracestitch".into(), "message_id".into(), "m-1".into());
    message.put_metadata("tracestitch".into(), "receive_count".into(), 1.into());
    message.links.push(Link {
        trace_id: trace_id(),
        id: parent,
        reference: Reference::Parent,
    });
    assert!(message.is_in_progress());
    assert_eq!(
        golden(message),
        include_str!("../../golden/message_segment.json").trim_end()
    );
}

#[derive(Debug)]
struct Outer(Inner);
#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("order not priced")
    }
}
impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("price list is empty")
    }
}
impl std::error::Error for Inner {}
impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn chain_of_causes_matches_the_golden_file() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut work = Document::subsegment("price".into(), trace_id(), parent, at(0));
    work.fault = true;
    work.cause = Some(Box::new(Cause::from_error(&Outer(Inner))));
    work.finish(at(1));
    assert_eq!(
        golden(work),
        include_str!("../../golden/chain_of_causes.json").trim_end()
    );
}

#[test]
fn endless_chain_of_causes_is_cut() {
    #[derive(Debug)]
    struct Endless;
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            static CALLS: AtomicU32 = AtomicU32::new(0);
            write!(f, "again, {} times", CALLS.fetch_add(1, Ordering::Relaxed))
        }
    }
    impl std::error::Error for Endless {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&Self)
        }
    }
    let cause = Cause::from_error(&Endless);
    assert_eq!(cause.exceptions.len(), 16);
    assert_eq!(cause.exceptions[15].skipped, Some(16));
}

/// Errors of the AWS SDK repeat themselves: the error of an operation has the message of its
/// source.
#[test]
fn repeated_error_in_a_chain_is_left_out() {
    struct Repeating(&'static str, &'static str, Option<&'static Self>);
    impl fmt::Debug for Repeating {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    impl fmt::Display for Repeating {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }
    }
    impl std::error::Error for Repeating {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.2.map(|source| source as _)
        }
    }
    static LAST: Repeating = Repeating("NotFound", "no table", None);
    static OTHER: Repeating = Repeating("Other", "no table", Some(&LAST));
    static AGAIN: Repeating = Repeating("NotFound", "no table", Some(&OTHER));
    let cause = Cause::from_error(&Repeating("NotFound", "no table", Some(&AGAIN)));
    let kinds: Vec<_> = cause.exceptions.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["NotFound", "Other", "NotFound"]);
    for pair in cause.exceptions.windows(2) {
        assert_eq!(pair[0].cause, Some(pair[1].id));
    }
}

#[test]
fn type_of_an_error_is_the_beginning_of_its_debug_output() {
    struct Shown(&'static str);
    impl fmt::Debug for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            // In parts, like a derived implementation.
            let (one, two) = self.0.split_at(self.0.len() / 2);
            f.write_str(one)?;
            f.write_str(two)?;
            // Some implementations unwrap the result.
            assert!(f.write_str(" Rest").is_ok(), "no write fails");
            Ok(())
        }
    }
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("failed")
        }
    }
    impl std::error::Error for Shown {}
    for (shown, expected, reason) in [
        ("ParseIntError { kind: .. }", "ParseIntError", "a struct"),
        ("Other(\"x\")", "Other", "a variant"),
        (
            "hyper_util::client::legacy::Error(Connect, ..)",
            "hyper_util::client::legacy::Error",
            "a path",
        ),
        ("io: broken", "io", "one colon"),
        ("io:broken", "io", "one colon without a space"),
        ("one::two::", "one::two", "an unfinished path"),
        ("one::", "one", "of one name"),
        ("::one", "Error", "no name before the separator"),
        ("\"a text\"", "Error", "no name"),
        ("404", "Error", "a number"),
        ("", "Error", "nothing"),
    ] {
        let cause = Cause::from_error(&Shown(shown));
        assert_eq!(cause.exceptions[0].kind.as_str(), expected, "{reason}");
    }
}

#[test]
fn end_before_the_start_becomes_the_start() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut work = Document::subsegment("w".into(), trace_id(), parent, at(500));
    work.finish(at(0));
    assert!(
        golden(work).contains(r#""start_time":1478293361.000500,"end_time":1478293361.000500}"#)
    );
}

#[test]
fn names_are_cleaned_and_cut() {
    for (name, expected, reason) in [
        ("order-api", "order-api".to_owned(), "unchanged"),
        (
            "a\tb\nc",
            "abc".to_owned(),
            "tabs and newlines are not allowed",
        ),
        (
            r"a\b<c>",
            "abc".to_owned(),
            "neither are a backslash and brackets",
        ),
        (
            "Größe 数 1",
            "Größe 数 1".to_owned(),
            "letters of any script are allowed",
        ),
        ("_.:/%&#=+-@", "_.:/%&#=+-@".to_owned(), "all allowed signs"),
        (
            "\u{2028}\u{85}",
            "unnamed".to_owned(),
            "line separators are not spaces",
        ),
        ("  ", "unnamed".to_owned(), "spaces only"),
        ("", "unnamed".to_owned(), "empty"),
    ] {
        assert_eq!(Name::from(name).as_str(), expected, "{reason}");
    }
    assert_eq!(Name::from("ü".repeat(201)).as_str(), "ü".repeat(200));
}

#[test]
fn annotations_are_within_their_limits() {
    assert_eq!(AnnotationKey::from("").as_str(), "_");
    assert_eq!(AnnotationKey::from("größe.max").as_str(), "gr__e_max");
    assert_eq!(AnnotationKey::from("k".repeat(600)).as_str().len(), 500);
    let json = |value: AnnotationValue| {
        let mut json = Vec::new();
        value.write(&mut json);
        String::from_utf8(json).unwrap()
    };
    assert_eq!(json("v".repeat(1500).into()).len(), 1002);
    assert_eq!(json(u64::MAX.into()), "18446744073709551615");
    assert_eq!(json((-1i8).into()), "-1");
    assert_eq!(json(f64::INFINITY.into()), r#""inf""#);
    assert_eq!(json(1.5f32.into()), "1.5");
}

#[test]
fn annotations_from_the_51st_on_are_dropped_and_counted() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut work = Document::subsegment("w".into(), trace_id(), parent, at(0));
    for n in 0..53 {
        work.annotate(format!("k{n}").into(), n.into());
    }
    work.annotate("k0".into(), "again".into());
    assert_eq!(work.annotations.len(), 50);
    assert_eq!(work.annotations.get(&"k0".into()), Some(&"again".into()));
    assert!(golden(work).contains(r#""metadata":{"tracestitch":{"annotations_left_out":3}}"#));
}

/// A document with a marker in every text.
fn marked() -> Document {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut work = Document::subsegment("MARK name".into(), trace_id(), parent, at(0));
    work.annotate("key_MARK".into(), "value MARK".into());
    work.annotate("number".into(), 6_275_000_001_i64.into());
    let nested = serde_json::json!({ "key MARK": ["deep MARK", 6_275_000_001_i64] });
    work.put_metadata("namespace MARK".into(), "entry MARK".into(), nested);
    work.aws.insert("queue_url", "https://MARK");
    work.http = Some(Http {
        request: Some(Request {
            method: "MARK".into(),
            url: "https://h/MARK".into(),
        }),
        response: None,
    });
    work.sql = Some(Box::new(Sql {
        url: Some("db://MARK".into()),
        sanitized_query: Some("select MARK".into()),
        database_type: Some("MARK".into()),
        user: Some("MARK".into()),
    }));
    let mut exception = Exception::new("MARK", "it was MARK");
    exception.stack.push(StackFrame {
        path: "src/MARK.rs".into(),
        line: 1,
        label: "MARK::main".into(),
    });
    work.cause = Some(Box::new(Cause::from_exception(exception)));
    work
}

#[test]
fn every_text_and_number_is_edited() {
    let before = golden(marked());
    assert_eq!(before.matches("MARK").count(), 18);
    let mut work = marked();
    work.edit_texts(&mut |_, text| {
        let edited = text.replace("MARK", "xxxx").replace("6275000001", "xxxx");
        (edited != text).then_some(edited)
    });
    let after = golden(work);
    assert!(
        !after.contains("MARK") && !after.contains("6275000001"),
        "{after}"
    );
    assert_eq!(after.matches("xxxx").count(), 20);
}

#[test]
fn user_of_a_segment_is_a_field_and_of_a_subsegment_an_annotation() {
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let json = |mut document: Document| {
        document.set_user("u-1".into());
        document.edit_texts(&mut |place, text| (place == Place::User).then(|| format!("[{text}]")));
        serde_json::from_slice::<Value>(&document.to_json()).unwrap()
    };
    let segment = json(Document::segment("s".into(), trace_id(), None, at(0)));
    assert_eq!(segment["user"], "[u-1]");
    assert_eq!(segment.get("annotations"), None);
    let subsegment = json(Document::subsegment("s".into(), trace_id(), parent, at(0)));
    assert_eq!(subsegment.get("user"), None);
    assert_eq!(subsegment["annotations"]["user"], "u-1");
}

/// Puts `text` into every place of a document that holds text.
fn with_text_everywhere(text: &str) -> Document {
    let owned = || text.to_owned();
    let parent = "53995c3f42cd8ad8".parse().unwrap();
    let mut work = Document::subsegment(owned().into(), trace_id(), parent, at(0));
    work.annotate("value".into(), owned().into());
    work.annotate(owned().into(), true.into());
    let nested = serde_json::json!({ text: [text, { "deep": text }] });
    work.put_metadata(owned().into(), owned().into(), nested.clone());
    work.aws.insert("queue_url", text);
    work.aws
        .insert("table_names", serde_json::json!([text, nested]));
    work.http = Some(Http {
        request: Some(Request {
            method: owned().into(),
            url: owned().into(),
        }),
        response: None,
    });
    work.sql = Some(Box::new(Sql {
        url: Some(owned().into()),
        sanitized_query: Some(owned().into()),
        database_type: Some(owned().into()),
        user: Some(owned().into()),
    }));
    let mut exception = Exception::new(owned(), owned());
    exception.stack.push(StackFrame {
        path: owned().into(),
        line: 1,
        label: owned().into(),
    });
    work.cause = Some(Box::new(Cause::from_exception(exception)));
    work
}

const SECRET: &str = "S3CR3T";

fn urls_with_secrets() -> impl Strategy<Value = String> {
    let schemes = [
        "https",
        "http",
        "amqp",
        "postgres",
        "redis",
        "mongodb+srv",
        "s3",
    ];
    let forms = [
        "SCHEME://h.example/p?k=SIGNS3CR3TSIGN",
        "SCHEME://h.example/p(1)#SIGNS3CR3T",
        "SCHEME://u:pSIGNS3CR3TSIGNx@h.example/%2f",
        "SCHEME://u:S3CR3TSIGN@h.example",
        "see (SCHEME://u:pSIGNS3CR3T@h.example/?a=SIGNS3CR3T), then b",
        "{\"url\":\"SCHEME://h/?k=SIGNS3CR3T\",\"b\":1}",
        "https://o.example/p, SCHEME://u:pSIGNS3CR3T@h.example",
    ];
    let signs = proptest::collection::vec(proptest::char::range('!', '~'), 0..3);
    (select(forms.to_vec()), select(schemes.to_vec()), signs).prop_map(|(form, scheme, signs)| {
        let signs = String::from_iter(signs);
        form.replace("SCHEME", scheme).replace("SIGN", &signs)
    })
}

proptest::proptest! {
    #[test]
    fn no_place_holds_the_secret_of_a_url(text in urls_with_secrets()) {
        let json = String::from_utf8(with_text_everywhere(&text).to_json()).unwrap();
        proptest::prop_assert!(!json.contains(SECRET), "{text}: {json}");
    }

    #[test]
    fn no_place_holds_the_secret_of_a_url_that_a_rule_puts_there(text in urls_with_secrets()) {
        let mut work = with_text_everywhere("x");
        work.edit_texts(&mut |_, _| Some(text.clone()));
        let json = String::from_utf8(work.to_json()).unwrap();
        proptest::prop_assert!(!json.contains(SECRET), "{text}: {json}");
    }
}

/// Limits hold for what a redaction rule returns, too.
#[test]
fn rule_cannot_lengthen_a_text_beyond_its_limit() {
    let mut work = with_text_everywhere("x");
    work.edit_texts(&mut |_, _| Some("é".repeat(1_500)));
    let json: Value = serde_json::from_slice(&work.to_json()).unwrap();
    fn longest(value: &Value) -> usize {
        match value {
            Value::String(text) => text.chars().count(),
            Value::Array(values) => values.iter().map(longest).max().unwrap_or(0),
            Value::Object(entries) => {
                let keys = entries.keys().map(|key| key.chars().count());
                keys.chain(entries.values().map(longest)).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
    let members = ["name", "annotations", "aws", "http", "sql", "cause"];
    let lengths = members.map(|member| longest(&json[member]));
    assert_eq!(lengths, [200, 1_000, 250, 250, 250, 250]);
    let namespaces = json["metadata"].as_object().unwrap();
    for (namespace, entries) in namespaces {
        let key = entries.as_object().unwrap().keys().next().unwrap();
        assert_eq!(
            [namespace, key].map(|text| text.chars().count()),
            [250, 250]
        );
    }
}

#[test]
fn timestamps_are_seconds_with_six_decimals() {
    for (micros, expected) in [
        (0, "0.000000"),
        (1, "0.000001"),
        (10_000_000, "10.000000"),
        (1_478_293_361_271_001, "1478293361.271001"),
    ] {
        let mut json = Vec::new();
        Timestamp::from_micros(micros).write(&mut json);
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_valid_json(text in ".*", key in ".*") {
        let parent = "53995c3f42cd8ad8".parse().unwrap();
        let mut work = Document::subsegment(text.clone().into(), trace_id(), parent, at(0));
        work.annotations.insert(key.clone().into(), text.clone().into());
        work.put_metadata(key.clone().into(), key.clone().into(), text.clone().into());
        work.fail(Cause::from_exception(Exception::new(key, text.clone())));
        let json: Value = serde_json::from_slice(&work.to_json()).unwrap();
        let annotation = json["annotations"].as_object().unwrap().values().next().unwrap();
        let expected: String = text.chars().take(1000).collect();
        proptest::prop_assert_eq!(annotation.as_str().unwrap(), expected);
    }
}

/// A document that cannot be parsed can neither be trimmed nor closed after a kill.
#[test]
fn deeply_nested_metadata_can_be_parsed_again() {
    let filler = "x".repeat(100_000);
    for (levels, whole) in [(10, true), (64, true), (65, false), (2_000, false)] {
        let nested = (0..levels).fold(Value::from(filler.as_str()), |inner, level| {
            if level % 2 == 0 {
                Value::Array(vec![inner])
            } else {
                serde_json::json!({ "k": inner })
            }
        });
        let parent = "53995c3f42cd8ad8".parse().unwrap();
        let mut document = Document::subsegment("n".into(), trace_id(), parent, at(0));
        document.put_metadata("default".into(), "tree".into(), nested);
        document.finish(at(1));
        let json = document.to_json();
        let read: Value = serde_json::from_slice(&json).unwrap();
        let text = read["metadata"]["default"]["tree"].to_string();
        assert_eq!(text.contains(&filler), whole, "{levels}");
        assert_eq!(text.contains("nested too deeply"), !whole, "{levels}");
        assert_eq!(crate::datagram::fit(json).lost, 0, "{levels}");
    }
}
