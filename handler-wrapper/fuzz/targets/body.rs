//! Any bytes are a body with a header or without one; a header that is embedded in an object is
//! found unless the object brought one before.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tracestitch::TraceHeader;

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

fuzz_target!(|body: &[u8]| {
    let found = tracestitch::embed::extract_body(body);
    if let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(body) {
        fields.insert("_traceId".to_owned(), HEADER.into());
        let embedded = Value::Object(fields).to_string();
        let both = tracestitch::embed::extract_body(embedded.as_bytes());
        assert!(both.is_some(), "{embedded}");
    } else if let Some(header) = found {
        let printed = header.to_string();
        let read = printed.parse().map(|header: TraceHeader| header.to_string());
        assert_eq!(read, Ok(printed));
    }
});
