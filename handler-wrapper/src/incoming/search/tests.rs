use serde_json::json;

use super::*;

mod parsed;

fn find_in_event(event: &[u8], carriers: &Carriers) -> Option<TraceHeader> {
    read_event(event, carriers).header
}

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";

#[track_caller]
fn found(json: &str) -> Option<String> {
    let json = json.replace("HEADER", HEADER);
    find_in_event(json.as_bytes(), &Carriers::default()).map(|header| header.to_string())
}

#[test]
fn header_is_found_at_every_known_place() {
    for (json, reason) in [
        (
            r#"{"headers":{"X-Amzn-Trace-Id":"HEADER"}}"#,
            "API Gateway REST",
        ),
        (
            r#"{"version":"2.0","headers":{"x-amzn-trace-id":"HEADER"}}"#,
            "HTTP API, function URL",
        ),
        (
            r#"{"multiValueHeaders":{"x-amzn-trace-id":["HEADER","other"]}}"#,
            "load balancer",
        ),
        (
            r#"{"headers":null,"multiValueHeaders":{"X-Amzn-Trace-Id":["HEADER"]}}"#,
            "null headers",
        ),
        (
            r#"{"headers":{"x-amzn-trace-id":["HEADER"]}}"#,
            "VPC Lattice, version 2",
        ),
        (
            r#"{"Records":[{"Sns":{"Message":"{\"_traceId\":\"HEADER\"}"}}]}"#,
            "in the message of SNS",
        ),
        (
            r#"{"Records":[{"Sns":{"MessageAttributes":{"traceHeader":{"Type":"String","Value":"HEADER"}}}}]}"#,
            "attribute of SNS",
        ),
        (
            r#"{"Records":[{"dynamodb":{"NewImage":{"_traceId":{"S":"HEADER"}}}}]}"#,
            "DynamoDB stream",
        ),
        (
            r#"{"Records":[{}],"_traceId":"HEADER"}"#,
            "after the records",
        ),
        (
            r#"{"request":{"headers":{"x-amzn-trace-id":"HEADER"}}}"#,
            "AppSync",
        ),
        (
            r#"[{"request":{"headers":{"x-amzn-trace-id":"HEADER"}}},{}]"#,
            "AppSync's batch",
        ),
        (
            r#"{"detail":{"traceHeader":"HEADER"}}"#,
            "EventBridge envelope",
        ),
        (r#"{"order":{"id":1},"_traceId":"HEADER"}"#, "embedded"),
        (r#"{"traceHeader":"HEADER"}"#, "embedded"),
        (r#"{"\u005ftraceId":"HEADER"}"#, "key with an escape"),
        (
            r#"{"\u0058\u002d\u0041\u006D\u007A\u006e\u002d\u0054\u0072\u0061\u0063\u0065\u002d\u0049\u0064":"HEADER"}"#,
            "key of escapes",
        ),
        (
            r#"{"_traceId":"nonsense","traceHeader":"HEADER"}"#,
            "first valid one wins",
        ),
        (
            r#"{"_traceId":7,"traceHeader":"HEADER"}"#,
            "other types are passed over",
        ),
    ] {
        assert_eq!(found(json).as_deref(), Some(HEADER), "{reason}");
    }
    assert_eq!(
        found(r#"{"_traceId":"1-5759e988-bd862e3fe1be46a994272793"}"#).as_deref(),
        Some("Root=1-5759e988-bd862e3fe1be46a994272793"),
        "a trace id alone has no decision"
    );
}

#[test]
fn header_elsewhere_is_not_found() {
    for json in [
        "null",
        "7",
        "true",
        "\"text\"",
        "[]",
        "[{\"_traceId\":\"HEADER\"}]",
        "{}",
        r#"{"body":{"_traceId":"HEADER"}}"#,
        r#"{"note":"_traceId","to":"HEADER"}"#,
        r#"{"note":"\"_traceId\":\"HEADER\""}"#,
        r#"{"note":"\\\"_traceId\":\"HEADER\""}"#,
        // As `data` it would be a header.
        r#"{"Records":[{"kinesis":{"partitionKey":"eyJfdHJhY2VJZCI6IjEtNTc1OWU5ODgtYmQ4NjJlM2ZlMWJlNDZhOTk0MjcyNzkzIn0="}}]}"#,
        r#"{"Records":[{"cloudwatch":{"NewImage":{"_traceId":{"S":"HEADER"}}}}]}"#,
        r#"{"records":{"Sns":{"MessageAttributes":{"traceHeader":{"Value":"HEADER"}}}}}"#,
        r#"{"items":[{"Sns":{"MessageAttributes":{"traceHeader":{"Value":"HEADER"}}}}]}"#,
        r#"{"headers":"text"}"#,
        r#"{"headers":{"x-amzn-trace-id":{"a":1}}}"#,
        r#"{"headers":{"x-amzn-trace-id":[]}}"#,
        r#"{"detail":{"detail":{"detail":{"detail":{"traceHeader":"HEADER"}}}}}"#,
    ] {
        assert_eq!(found(json), None, "{json}");
    }
}

#[test]
fn names_in_json_that_is_a_string() {
    let names = [
        "_traceId",
        "traceHeader",
        "AWSTraceHeader",
        "X-Amzn-Trace-Id",
        "x-amzn-trace-id",
        "awstraceheader",
        "_traceid",
    ];
    for name in names {
        let message = format!(r#"{{"note":"a trace, a race-car","{name}":"HEADER"}}"#);
        for message in [
            message.clone(),
            format!(" \n{message}"),
            message.replace("\":", "\" :"),
            json!({ "Message": message }).to_string(),
        ] {
            let body = json!({ "Type": "Notification", "Message": message });
            let found = in_body(&body.to_string());
            assert_eq!(found.as_deref(), Some(HEADER), "{body}");
        }
    }
    let message = json!({ "traceparent": W3C }).to_string();
    let body = json!({ "Message": message }).to_string();
    assert!(in_body(&body).is_some(), "{body}");
    for message in [
        "\"_traceId\":\"HEADER\"",
        "[{\"_traceId\":\"HEADER\"}]",
        "{\"race\":\"HEADER\"}",
        "{\"trace",
    ] {
        let body = json!({ "Message": message }).to_string();
        assert_eq!(in_body(&body), None, "{body}");
    }
}

const W3C: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";

fn in_body(body: &str) -> Option<String> {
    let body = body.replace("HEADER", HEADER).replace("W3C", W3C);
    find_in_body(body.as_bytes(), &Carriers::default()).map(|header| header.to_string())
}

#[test]
fn bodies_and_the_texts_in_them() {
    for (body, reason) in [
        (r#"{"_traceId":"HEADER"}"#, "embedded"),
        (r#"{"headers":{"X-Amzn-Trace-Id":"HEADER"}}"#, "as headers"),
        (
            r#"{"detail-type":"order","detail":{"traceHeader":"HEADER"}}"#,
            "EventBridge",
        ),
        (
            r#"{"Type":"Notification","Message":"{\"_traceId\":\"HEADER\"}"}"#,
            "in an SNS envelope",
        ),
        (
            r#"{"Type":"Notification","Message":"{\"x-amzn-trace-id\":\"HEADER\"}"}"#,
            "its message, with a name in small letters",
        ),
        (
            r#"{"Type":"Notification","Message":"{\"detail\":{\"_traceId\":\"HEADER\"}}"}"#,
            "EventBridge in SNS",
        ),
        (
            r#"{"Message":"plain","MessageAttributes":{"X-Amzn-Trace-Id":{"Type":"String","Value":"HEADER"}}}"#,
            "attribute of SNS",
        ),
        (
            r#"{"traceparent":"W3C","x":1,"_traceId":"HEADER"}"#,
            "W3C counts last",
        ),
    ] {
        assert_eq!(in_body(body).as_deref(), Some(HEADER), "{reason}");
    }
    assert_eq!(
        in_body(r#"{"Records":[{"dynamodb":{"NewImage":{"_traceId":{"S":"HEADER"}}}}]}"#),
        None,
        "a batch of a stream"
    );
    let w3c = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    assert_eq!(in_body(r#"{"traceparent":"W3C"}"#).as_deref(), Some(w3c));
    assert_eq!(
        in_body(r#"{"headers":{"Traceparent":"W3C"}}"#).as_deref(),
        Some(w3c)
    );
}

#[test]
fn texts_in_texts_are_searched_two_deep() {
    let mut body = json!({ "_traceId": HEADER }).to_string();
    for depth in 0..4 {
        assert_eq!(in_body(&body).is_some(), depth <= 2, "{body}");
        body = json!({ "Message": body }).to_string();
    }
}

/// A forwarder adds its own context as an outermost field, so the other ones are of earlier hops.
#[test]
fn most_recent_hop_wins() {
    let places = |header: &str| {
        let message = json!({ "_traceId": header }).to_string();
        let parent = "00-5759e988ad862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        [
            json!({ "_traceId": header }),
            json!({ "traceHeader": header }),
            json!({ "detail": { "traceHeader": header } }),
            json!({ "headers": { "X-Amzn-Trace-Id": header } }),
            json!({ "Message": message }),
            json!({ "traceparent": parent }),
        ]
        .map(|object| {
            let text = object.to_string();
            text[1..text.len() - 1].to_owned()
        })
    };
    let (latest, earlier) = (places(HEADER), places(&HEADER.replace("88-b", "88-a")));
    for first in 0..latest.len() {
        for second in first + 1..latest.len() {
            let (latest, earlier) = (&latest[first], &earlier[second]);
            for body in [
                format!("{{{latest},{earlier}}}"),
                format!("{{{earlier},{latest}}}"),
            ] {
                assert_eq!(in_body(&body).as_deref(), Some(HEADER), "{body}");
            }
        }
    }
    for (body, reason) in [
        (
            r#"{"headers":{"X-Amzn-Trace-Id":"HEADER"},"multiValueHeaders":{"X-Amzn-Trace-Id":["Root=1-5759e988-ad862e3fe1be46a994272793"]}}"#,
            "of two that are alike the first",
        ),
        (
            r#"{"Message":"{\"detail\":{\"traceHeader\":\"Root=1-5759e988-ad862e3fe1be46a994272793\"}}","MessageAttributes":{"traceHeader":{"Value":"HEADER"}}}"#,
            "an envelope, not one that came in it",
        ),
    ] {
        assert_eq!(in_body(body).as_deref(), Some(HEADER), "{reason}");
    }
}

#[test]
fn tracestate_belongs_to_the_traceparent_beside_it() {
    for (body, expected, reason) in [
        (
            r#"{"headers":{"traceparent":"W3C","tracestate":"a=1,b=2"}}"#,
            Some("a=1,b=2"),
            "after",
        ),
        (
            r#"{"headers":{"Tracestate":"a=1","Traceparent":"W3C"}}"#,
            Some("a=1"),
            "before",
        ),
        (
            r#"{"tracestate":"a=1","headers":{"traceparent":"W3C"}}"#,
            None,
            "of another object",
        ),
        (r#"{"headers":{"traceparent":"W3C"}}"#, None, "none"),
        (
            r#"{"multiValueHeaders":{"traceparent":["W3C"],"tracestate":["a=1","b=2,c=3"]}}"#,
            Some("a=1,b=2,c=3"),
            "several times",
        ),
        (
            r#"{"headers":{"traceparent":"W3C","tracestate":["a=1",2]}}"#,
            None,
            "a number among them",
        ),
        (
            r#"{"headers":{"traceparent":"W3C","tracestate":"\u00e9"}}"#,
            None,
            "not ASCII",
        ),
        (
            r#"{"headers":{"traceparent":"W3C","tracestate":"a=1","X-Amzn-Trace-Id":"HEADER"}}"#,
            None,
            "X-Ray's own header counts: the state is that of another trace",
        ),
    ] {
        let body = body.replace("HEADER", HEADER).replace("W3C", W3C);
        let found = find_in_body(body.as_bytes(), &Carriers::default()).expect(reason);
        assert_eq!(found.state(), expected, "{reason}");
    }
}

#[test]
fn batch_has_no_trace() {
    for records in [
        r#"[{"dynamodb":{"NewImage":{"_traceId":{"S":"HEADER"}}}},{}]"#,
        r#"[{"dynamodb":{"NewImage":{"traceparent":{"S":"W3C"}}}},{}]"#,
        r#"[{"eventSource":"aws:sqs","body":"{\"_traceId\":\"HEADER\"}","attributes":{"AWSTraceHeader":"HEADER"}}]"#,
        "[]",
        "{}",
    ] {
        let event = format!(r#"{{"Records":{records}}}"#).replace("W3C", W3C);
        assert_eq!(found(&event), None, "{records}");
    }
}

#[test]
fn ignored_carriers_are_skipped() {
    for (name, json) in [
        ("http", r#"{"headers":{"X-Amzn-Trace-Id":"HEADER"}}"#),
        ("envelope", r#"{"detail":{"traceHeader":"HEADER"}}"#),
        ("embedded", r#"{"_traceId":"HEADER"}"#),
        ("w3c", r#"{"headers":{"traceparent":"W3C"}}"#),
    ] {
        let json = json.replace("HEADER", HEADER).replace("W3C", W3C);
        let carriers = Carriers::new(Carriers::parse_ignored(name).unwrap(), Vec::new());
        assert!(
            find_in_event(json.as_bytes(), &Carriers::default()).is_some(),
            "{name}"
        );
        assert_eq!(find_in_event(json.as_bytes(), &carriers), None, "{name}");
    }
}

#[test]
fn paths_of_the_user_come_after_the_known_places() {
    let carriers = Carriers::new(0, vec!["order.meta.ctx".to_owned(), "tp".to_owned()]);
    for (json, expected, reason) in [
        (
            r#"{"order":{"a":[1],"meta":{"ctx":"HEADER"}}}"#,
            true,
            "nested",
        ),
        (r#"{"tp":"W3C"}"#, true, "a traceparent"),
        (
            r#"{"order":{"meta":7},"tp":"HEADER"}"#,
            true,
            "the next path",
        ),
        (
            r#"{"order":{"meta":{"ctx":"nonsense"}}}"#,
            false,
            "malformed",
        ),
        (r#"{"meta":{"ctx":"HEADER"}}"#, false, "elsewhere"),
    ] {
        let json = json.replace("HEADER", HEADER).replace("W3C", W3C);
        let found = find_in_body(json.as_bytes(), &carriers);
        assert_eq!(found.is_some(), expected, "{reason}");
    }
}

#[test]
fn hostile_text_carries_nothing() {
    let deep = "[".repeat(100_000);
    let deep_objects = r#"{"headers":"#.repeat(50_000);
    let messages = r#"{"Message":"#.repeat(50_000);
    let many: String = (0..10_000).map(|n| format!(r#""trace{n}":{n},"#)).collect();
    let many = format!(r#"{{{many}"_traceId":"HEADER"}}"#);
    // Each is a value without an end.
    let endless = [
        r#""_traceId":1"#,
        r#""headers":1"#,
        r#""_traceId":["#,
        r#""_traceId":"\""#,
    ]
    .map(|member| format!("{{{}", member.repeat(80_000)));
    let twice = r#"{"_traceId":"Root=x","_traceId":"HEADER","_traceId":"HEADER"}"#;
    for (json, expected, reason) in [
        (&b"plain text with a trace"[..], false, "text"),
        (b"", false, "empty"),
        (b"{\"_traceId\":", false, "cut off"),
        (b"\xff\xfe{\"_traceId\":1}", false, "not UTF-8"),
        (
            b"{\"trace\xff\":\"\xff\",\"_traceId\":\"\xff\"}",
            false,
            "not UTF-8 inside",
        ),
        (
            b"{\"\\u12\":1,\"_traceId\":\"\\ud800\"}",
            false,
            "escapes that are none",
        ),
        (deep.as_bytes(), false, "nested deeply"),
        (deep_objects.as_bytes(), false, "nested in known places"),
        (messages.as_bytes(), false, "texts in texts"),
        (many.as_bytes(), true, "ten thousand fields"),
        (endless[0].as_bytes(), false, "endless numbers"),
        (
            endless[1].as_bytes(),
            false,
            "endless numbers in a known place",
        ),
        (endless[2].as_bytes(), false, "endless lists"),
        (endless[3].as_bytes(), false, "endless strings"),
        (
            twice.as_bytes(),
            true,
            "duplicate keys: the first valid one",
        ),
    ] {
        let json = match str::from_utf8(json) {
            Ok(text) => text.replace("HEADER", HEADER).into_bytes(),
            Err(_) => json.to_vec(),
        };
        let found = find_in_event(&json, &Carriers::default());
        assert_eq!(found.is_some(), expected, "{reason}");
        let found = find_in_body(&json, &Carriers::default());
        assert_eq!(found.is_some(), expected, "{reason}");
    }
    let not_utf8 = [
        &b"{\"x\":\"\xff\",\"_traceId\":\""[..],
        HEADER.as_bytes(),
        b"\"}",
    ]
    .concat();
    assert_eq!(
        find_in_event(&not_utf8, &Carriers::default()),
        None,
        "an event that is UTF-8 in part"
    );
    let mut large = format!(r#"{{"_traceId":"{HEADER}"}}"#);
    large.push_str(&" ".repeat(MAX_BODY - large.len()));
    let found = find_in_body(large.as_bytes(), &Carriers::default());
    assert!(found.is_some(), "as large as may be");
    large.push(' ');
    let found = find_in_body(large.as_bytes(), &Carriers::default());
    assert_eq!(found, None, "too large");
}

#[test]
fn invalid_json_is_recognised_by_its_ends() {
    for (text, json, reason) in [
        ("{\"a\":1}", true, "an object"),
        (" [1]\n", true, "a list in white space"),
        ("\"text\"", true, "a string"),
        ("-1.5", true, "a number"),
        ("null", true, "a literal"),
        ("plain text", false, "text"),
        ("{\"do\":", false, "an object that is cut off"),
        ("", false, "nothing"),
    ] {
        assert_eq!(looks_like_json(text), json, "{reason}");
    }
}

fn source(event: &str) -> (&'static str, Option<String>) {
    let event = read_event(event.as_bytes(), &Carriers::default());
    (event.source, event.path)
}

#[test]
fn source_follows_from_the_keys_of_the_event() {
    for (event, expected, reason) in [
        (
            r#"{"typeName":"Query","request":{"headers":{"host":"h"}},"prev":null}"#,
            "appsync",
            "a mapping template",
        ),
        (
            r#"{"arguments":{"id":7},"info":{"fieldName":"order"}}"#,
            "appsync",
            "a resolver without the request",
        ),
        (
            r#"[{"info":{"fieldName":"order"}},{}]"#,
            "appsync",
            "a batch of resolvers",
        ),
        (
            r#"{"requestContext":{"stage":"prod"},"info":"a field of the user"}"#,
            "http",
            "API Gateway with an unrelated field",
        ),
        (
            r#"{"requestContext":{"apiId":"a","queryString":"query { order }"}}"#,
            "appsync",
            "an authorizer of AppSync",
        ),
        (r#"{"request":{"userAttributes":{}}}"#, "direct", "Cognito"),
        (r#"{"request":"headers"}"#, "direct", "a text"),
        (
            r#"[{"detail-type":"Order"}]"#,
            "direct",
            "a list of other objects",
        ),
        (r#"[["info"]]"#, "direct", "a list in a list"),
        (
            r#"{"requestContext":{"tenant":"a"},"path":"/files"}"#,
            "direct",
            "a requestContext of the user",
        ),
        (
            r#"{"requestContext":{"functionArn":"arn","condition":"Success"},"requestPayload":{"headers":{}}}"#,
            "direct",
            "a record of an asynchronous destination",
        ),
        ("", "direct", "nothing"),
        ("null", "direct", "no object"),
        (
            r#"{"Records":[7]}"#,
            "direct",
            "records that are no objects",
        ),
        (r#"{"Records":{}}"#, "direct", "records that are no list"),
    ] {
        assert_eq!(source(event), (expected, None), "{reason}");
    }
    let request = r#"{"path":"/orders","requestContext":{"elb":{"targetGroupArn":"a"}}}"#;
    assert_eq!(source(request), ("http", Some("/orders".to_owned())));
}

/// The order of keys in JSON has no meaning.
#[test]
fn source_does_not_depend_on_the_order_of_keys() {
    let members = [
        r#""info":{}"#,
        r#""requestContext":{"http":{"method":"GET"}}"#,
        r#""rawPath":"/orders""#,
    ];
    for first in 0..3 {
        for second in (0..3).filter(|second| *second != first) {
            let third = 3 - first - second;
            let event = [first, second, third].map(|place| members[place]).join(",");
            let found = source(&format!("{{{event}}}"));
            assert_eq!(found, ("http", Some("/orders".to_owned())), "{event}");
        }
    }
}
