use lambda_runtime::{Error, service_fn};

use super::*;

#[tokio::test]
async fn documents_are_in_progress_until_they_finish() {
    let traces = Traces::new();
    let seen = traces.clone();
    let handler = service_fn(async |_: LambdaEvent<()>| {
        crate::capture_sync("work", || {
            let names: Vec<_> = seen.in_progress();
            let names: Vec<_> = names.iter().map(Document::name).collect();
            assert_eq!(names, [FUNCTION, "work"]);
        });
        Err::<(), _>(Error::from("no stock"))
    });
    assert!(traces.invoke(handler, sampled(())).await.is_err());
    assert!(traces.in_progress().is_empty());
    let function = traces.one(FUNCTION);
    assert!(function.is_fault() && !function.is_error() && !function.is_throttle());
    assert_eq!(function.message(), Some("no stock"));
    assert_eq!(function.annotation("cold_start"), Some(&true.into()));
    assert_eq!(traces.one("work").parent_id(), Some(function.id()));
    traces.clear();
    assert!(traces.finished().is_empty());
}

#[test]
fn missing_document_is_reported_with_the_names_of_all() {
    let traces = Traces::new();
    let missing = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| traces.one("work")));
    let message = missing.unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains(r#"expected one document named "work", found []"#));
}
