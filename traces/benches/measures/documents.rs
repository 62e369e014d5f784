//! The documents of the measures: 50 of 500 bytes for each trace.

/// The start of the first trace in seconds since the epoch.
pub(crate) const START: f64 = 1_478_293_361.0;
pub(crate) const DOCUMENTS_OF_A_TRACE: usize = 50;
const LENGTH: usize = 500;

/// Returns the document with this number, 500 bytes long. Half of all traces take more than half a
/// second.
pub(crate) fn document(number: usize) -> String {
    let (trace, index) = (number / DOCUMENTS_OF_A_TRACE, number % DOCUMENTS_OF_A_TRACE);
    let start = START + trace as f64;
    let end = start + 0.3 + (trace % 40) as f64 / 100.0;
    let root = trace * DOCUMENTS_OF_A_TRACE;
    let own = if index == 0 {
        format!(
            r#""name":"shop","origin":"AWS::Lambda::Function","annotations":{{"order_id":"A-{trace}","tier":"tier-{}"}}"#,
            trace % 10
        )
    } else {
        format!(
            r#""name":"step-{index}","type":"subsegment","parent_id":"{root:016x}","annotations":{{"index":{index}}}"#
        )
    };
    let mut text = format!(
        r#"{{"trace_id":"1-581cf771-{trace:024x}","id":"{number:016x}",{own},"start_time":{start:.3},"end_time":{end:.3},"metadata":{{"default":{{"text":""#
    );
    let end = r#""}}}"#;
    while text.len() + end.len() < LENGTH {
        text.push('x');
    }
    text.push_str(end);
    text
}
