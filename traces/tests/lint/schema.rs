//! Members of the published schema, with values of another type, longer text, and other characters.

use serde_json::{Value, json};

use super::{full, refused_field};

/// The form of a member in the published schema.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    /// Text of at most so many characters.
    Short(usize),
    Flag,
    Number,
    Object,
    List,
}
use Form::{Flag, List, Number, Object, Short, Text};

/// Members that the published schema, version 1.0.0, describes for segments and subsegments, except
/// for names, ids and times.
const SCHEMA: [(&str, Form); 57] = [
    ("in_progress", Flag),
    ("fault", Flag),
    ("error", Flag),
    ("throttle", Flag),
    ("traced", Flag),
    ("namespace", Text),
    ("user", Short(250)),
    ("resource_arn", Text),
    ("origin", Text),
    ("precursor_ids", List),
    ("cause/working_directory", Text),
    ("cause/paths", List),
    ("cause/paths/0", Text),
    ("cause/exceptions", List),
    ("cause/exceptions/0", Object),
    ("cause/exceptions/0/message", Text),
    ("cause/exceptions/0/type", Text),
    ("cause/exceptions/0/remote", Flag),
    ("cause/exceptions/0/truncated", Number),
    ("cause/exceptions/0/skipped", Number),
    ("cause/exceptions/0/stack", List),
    ("cause/exceptions/0/stack/0", Object),
    ("cause/exceptions/0/stack/0/path", Text),
    ("cause/exceptions/0/stack/0/line", Number),
    ("cause/exceptions/0/stack/0/label", Text),
    ("annotations", Object),
    ("annotations/key", Short(1000)),
    ("metadata", Object),
    ("metadata/default", Object),
    ("subsegments", List),
    ("http", Object),
    ("http/request", Object),
    ("http/request/method", Short(250)),
    ("http/request/client_ip", Short(250)),
    ("http/request/url", Short(250)),
    ("http/request/user_agent", Short(250)),
    ("http/request/x_forwarded_for", Flag),
    ("http/response", Object),
    ("http/response/status", Number),
    ("http/response/content_length", Number),
    ("aws", Object),
    ("aws/account_id", Text),
    ("aws/operation", Text),
    ("aws/region", Text),
    ("aws/request_id", Text),
    ("aws/queue_url", Text),
    ("aws/table_name", Text),
    ("aws/ecs/container", Text),
    ("aws/ec2/instance_id", Text),
    ("aws/ec2/availability_zone", Text),
    ("aws/elastic_beanstalk/environment_name", Text),
    ("aws/elastic_beanstalk/version_label", Text),
    ("aws/elastic_beanstalk/deployment_id", Number),
    ("aws/tracing/sdk", Text),
    ("service/version", Text),
    ("sql", Object),
    ("sql/user", Short(250)),
];

/// Members of `sql`, which are all text.
const SQL: [&str; 6] = [
    "connection_string",
    "url",
    "sanitized_query",
    "database_type",
    "database_version",
    "driver_version",
];

/// Sets the member at `path`, and makes the objects on the way.
fn set(body: &mut Value, path: &str, value: Value) {
    let mut target = body;
    for step in path.split('/') {
        target = match step.parse::<usize>() {
            Ok(index) => &mut target[index],
            Err(_) => &mut target[step],
        };
    }
    *target = value;
}

/// Checks a document that has `value` at `path`, in itself and in a subsegment inside it. Returns
/// the refused field of each.
fn refused_with(path: &str, value: &Value) -> [Option<String>; 2] {
    ["", "subsegments/0/"].map(|place| {
        let mut body = full();
        let inner = &mut body["subsegments"][0];
        inner["cause"] = full()["cause"].clone();
        inner.as_object_mut().unwrap().remove("in_progress");
        inner["end_time"] = json!(2.5);
        if path == "in_progress" {
            // One of the two, at both places.
            body.as_object_mut().unwrap().remove("end_time");
            body["in_progress"] = true.into();
            let inner = &mut body["subsegments"][0];
            inner.as_object_mut().unwrap().remove("end_time");
            inner["in_progress"] = true.into();
        }
        set(&mut body, &format!("{place}{path}"), value.clone());
        refused_field(&body)
    })
}

/// The paths of refusals, in a document and in a subsegment inside it.
fn both(path: &str) -> [Option<String>; 2] {
    let mut dotted = String::new();
    for step in path.split('/') {
        match step.parse::<usize>() {
            Ok(_) => dotted += &format!("[{step}]"),
            Err(_) if dotted.is_empty() => dotted += step,
            Err(_) => dotted += &format!(".{step}"),
        }
    }
    [dotted.clone(), format!("subsegments[0].{dotted}")].map(Some)
}

#[test]
fn member_of_another_type_than_in_the_schema_is_refused() {
    let sql = SQL.map(|member| (format!("sql/{member}"), Text));
    let all = SCHEMA.map(|(path, form)| (path.to_owned(), form));
    for (path, form) in all.into_iter().chain(sql) {
        let (valid, invalid) = match form {
            Text | Short(_) => (json!("x"), vec![json!([]), json!({})]),
            Flag => (json!(true), vec![json!("true"), json!(1), json!([])]),
            Number => (json!(7), vec![json!("7"), json!(true), json!({})]),
            Object => (
                Value::Null,
                vec![json!("x"), json!(1), json!([]), json!(true)],
            ),
            List => (json!([]), vec![json!("x"), json!(1), json!({})]),
        };
        let mut invalid = [invalid, vec![Value::Null]].concat();
        // An annotation may also be a number or a flag.
        if matches!(form, Text | Short(_)) && path != "annotations/key" {
            invalid.extend([json!(1), json!(true)]);
        }
        for value in invalid {
            assert_eq!(refused_with(&path, &value), both(&path), "{path}: {value}");
        }
        if !valid.is_null() {
            assert_eq!(refused_with(&path, &valid), [None, None], "{path}: {valid}");
        }
    }
}

#[test]
fn text_longer_than_in_the_schema_is_refused() {
    for (path, form) in SCHEMA {
        if let Short(limit) = form {
            let text = |length| Value::from("ü".repeat(length));
            let longest = refused_with(path, &text(limit));
            assert_eq!(longest, [None, None], "{path}: {limit}");
            let longer = refused_with(path, &text(limit + 1));
            assert_eq!(longer, both(path), "{path}: {}", limit + 1);
        }
    }
}

#[test]
fn name_has_only_the_schemas_characters() {
    for (characters, is_accepted, reason) in [
        ("aZ é ß я 字 ก ہ", true, "letters (L)"),
        ("0 ٣ ⅷ ² ½ 〇", true, "numbers (N)"),
        (
            " \u{a0}\u{2003}\u{3000}\u{2028}\u{2029}",
            true,
            "separators (Z)",
        ),
        ("_.:/%&#=+-@", true, "signs"),
        ("नमस्ते", false, "vowel signs and virama (M)"),
        ("e\u{301}", false, "combining accent (M)"),
        ("ⓐ", false, "circled letter, alphabetic but a symbol (S)"),
        ("\u{345}", false, "alphabetic, but a mark (M)"),
        ("👍", false, "emoji (S)"),
        ("a\tb", false, "tab"),
        (
            "a\u{85}b",
            false,
            "next line, white space but a control (C)",
        ),
        ("a\u{200b}b", false, "zero width space (C)"),
        ("a,b", false, "comma"),
        ("a\\b", false, "backslash"),
        ("(a)", false, "brackets"),
        ("\"a\"", false, "quotes"),
        ("~a", false, "tilde"),
    ] {
        let found = refused_with("name", &characters.into());
        let expected = if is_accepted {
            [None, None]
        } else {
            both("name")
        };
        assert_eq!(found, expected, "{reason}: {characters:?}");
    }
}
