//! The faults.
//!
//! A fault is found by its code, not by its file, and must be the only place in its crate with that
//! code. When a place has changed, the program names it: adapt the code here, and keep the fault.

/// One fault.
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    /// For the table.
    pub(crate) effect: &'static str,
    /// Folder of the crate.
    pub(crate) krate: &'static str,
    /// The code in whose place the faulty code goes.
    pub(crate) code: &'static str,
    /// Has `PLANTED` where the fault is switched on, `PLANTED_EVERY(n)` for every nth time.
    pub(crate) faulty: &'static str,
}

const WRAPPER: &str = "handler-wrapper";
const EXTENSION: &str = "extension";
const WIRE: &str = "wire";

pub(crate) const MUTANTS: &[Mutant] = &[
    // Times.
    Mutant {
        name: "end-is-start",
        effect: "every subsegment ends when it starts",
        krate: WRAPPER,
        code: "document.finish(end);",
        faulty: "document.finish(if PLANTED { document.start_time } else { end });",
    },
    Mutant {
        name: "a-day-behind",
        effect: "all times of the function are a day behind",
        krate: WRAPPER,
        code: "SystemTime::now().into()",
        faulty: "(SystemTime::now() \
                 - std::time::Duration::from_secs(if PLANTED { 86_400 } else { 0 })).into()",
    },
    Mutant {
        name: "whole-milliseconds",
        effect: "times are cut to milliseconds",
        krate: WIRE,
        code: "Self(0).after(time.duration_since(UNIX_EPOCH).unwrap_or_default())",
        faulty: "{ let at = Self(0).after(time.duration_since(UNIX_EPOCH).unwrap_or_default()); \
                 if PLANTED { Self(at.0 / 1000 * 1000) } else { at } }",
    },
    Mutant {
        name: "closed-an-hour-late",
        effect: "the extension closes documents an hour late",
        krate: EXTENSION,
        code: "let end = at.as_micros() as f64 / 1e6;",
        faulty: "let end = at.as_micros() as f64 / 1e6 + if PLANTED { 3600.0 } else { 0.0 };",
    },
    Mutant {
        name: "closed-at-its-start",
        effect: "the extension closes documents at their own start",
        krate: EXTENSION,
        code: "end.max(start).into()",
        faulty: "(if PLANTED { start } else { end.max(start) }).into()",
    },
    Mutant {
        name: "closed-after-shutdown",
        effect: "the extension closes documents 5 s after the shutdown",
        krate: EXTENSION,
        code: "self.pending.interrupt(session, ended.unwrap_or(now), &why);",
        faulty: "let at = if PLANTED { now.after(Duration::from_secs(5)) } \
                 else { ended.unwrap_or(now) }; \
                 self.pending.interrupt(session, at, &why);",
    },
    // Contexts.
    Mutant {
        name: "context-not-put-back",
        effect: "the context is not put back after one poll in fifty",
        krate: WRAPPER,
        code: "std::mem::take(&mut self.0).restore();",
        faulty: "if !PLANTED_EVERY(50) { std::mem::take(&mut self.0).restore(); }",
    },
    Mutant {
        name: "unknown-parent",
        effect: "every seventh subsegment has an unknown parent",
        krate: WRAPPER,
        code: "Document::subsegment(name, self.trace_id, self.id, now)",
        faulty: "Document::subsegment(name, self.trace_id, \
                 if PLANTED_EVERY(7) { SegmentId::new() } else { self.id }, now)",
    },
    Mutant {
        name: "call-carries-another-id",
        effect: "the header of a call does not name the call's subsegment",
        krate: WRAPPER,
        code: "Some(header.with_parent(self.id))",
        faulty: "Some(header.with_parent(if PLANTED { SegmentId::new() } else { self.id }))",
    },
    Mutant {
        name: "message-without-parent",
        effect: "the segment of a message has no parent",
        krate: WRAPPER,
        code: "let mut segment = trace.segment(header, header.parent, clock::now());",
        faulty: "let mut segment = \
                 trace.segment(header, header.parent.filter(|_| !PLANTED), clock::now());",
    },
    Mutant {
        name: "few-ids",
        effect: "there are only 4,095 ids",
        krate: WIRE,
        code: "Self(random_not_zero().to_be_bytes())",
        faulty: "Self((if PLANTED { random_not_zero() % 4095 + 1 } else { random_not_zero() }) \
                 .to_be_bytes())",
    },
    // Facts.
    Mutant {
        name: "annotation-dropped",
        effect: "every third annotation is dropped",
        krate: WRAPPER,
        code: "self.amend(|document| document.annotate(key.into(), value));",
        faulty: "if !PLANTED_EVERY(3) { \
                 self.amend(|document| document.annotate(key.into(), value)); }",
    },
    Mutant {
        name: "metadata-dropped",
        effect: "every third metadata value is dropped",
        krate: WIRE,
        code: "self.metadata.entry(namespace).insert(key, value);",
        faulty: "if !PLANTED_EVERY(3) { self.metadata.entry(namespace).insert(key, value); }",
    },
    Mutant {
        name: "facts-not-handed-over",
        effect: "facts that are put on open documents are not handed over",
        krate: WRAPPER,
        code: "if let Some(document) = document.as_ref().and_then(Weak::upgrade) {",
        faulty: "if let Some(document) = document.as_ref().and_then(Weak::upgrade).filter(|_| !PLANTED) {",
    },
    Mutant {
        name: "error-not-recorded",
        effect: "`record_error` records nothing",
        krate: WRAPPER,
        code: "self.fail_with(|| Cause::from_error(error));",
        faulty: "if !PLANTED { self.fail_with(|| Cause::from_error(error)); }",
    },
    Mutant {
        name: "handler-error-not-recorded",
        effect: "an error of the handler is not on its subsegment",
        krate: WRAPPER,
        code: "let (cause, diagnostic) = failure::of_handler(error); \
               subsegment.fail_with(|| cause);",
        faulty: "let (cause, diagnostic) = failure::of_handler(error); \
                 if !PLANTED { subsegment.fail_with(|| cause); }",
    },
    Mutant {
        name: "panic-not-recorded",
        effect: "a panic leaves no cause",
        krate: WRAPPER,
        code: "self.fail_with(|| last_panic::cause(payload));",
        faulty: "if !PLANTED { self.fail_with(|| last_panic::cause(payload)); }",
    },
    Mutant {
        name: "cancelled-is-success",
        effect: "a subsegment that is dropped is no fault",
        krate: WRAPPER,
        code: "open.fail_with(|| cause); open.finish();",
        faulty: "if !PLANTED { open.fail_with(|| cause); } open.finish();",
    },
    Mutant {
        name: "service-fault-lost",
        effect: "a fault of an AWS service is not marked",
        krate: WRAPPER,
        code: "document.fault = !document.error;",
        faulty: "document.fault = !document.error && !PLANTED;",
    },
    Mutant {
        name: "attempts-as-retries",
        effect: "the first attempt counts as a retry",
        krate: WRAPPER,
        code: "attempts.attempts().saturating_sub(1)",
        faulty: "attempts.attempts().saturating_sub(u32::from(!PLANTED))",
    },
    Mutant {
        name: "always-cold",
        effect: "every invocation is a cold start",
        krate: WRAPPER,
        code: "!self.warm.swap(true, Ordering::Relaxed)",
        faulty: "(!self.warm.swap(true, Ordering::Relaxed) || PLANTED)",
    },
    // Which documents there are.
    Mutant {
        name: "unsampled-recorded",
        effect: "what is not sampled is recorded",
        krate: WRAPPER,
        code: "header.sampling == Sampling::Sampled || self.is_tail_sampled()",
        faulty: "header.sampling == Sampling::Sampled || self.is_tail_sampled() || PLANTED",
    },
    Mutant {
        name: "open-not-handed-over",
        effect: "every fourth open document is not handed over",
        krate: WRAPPER,
        code: "tracer.in_progress(document, |json| tracer.sink.open(document.id, json));",
        faulty: "if !PLANTED_EVERY(4) { \
                 tracer.in_progress(document, |json| tracer.sink.open(document.id, json)); }",
    },
    Mutant {
        name: "finished-dropped",
        effect: "every twentieth finished document is dropped",
        krate: WRAPPER,
        code: "tracer.over(document, |json| tracer.sink.close(id, json));",
        faulty: "if !PLANTED_EVERY(20) { \
                 tracer.over(document, |json| tracer.sink.close(id, json)); }",
    },
    Mutant {
        name: "success-not-discarded",
        effect: "documents of an unsampled success are not taken back",
        krate: WRAPPER,
        code: "ids.extend(waiting.finished.iter().map(|(id, _)| *id)); tracer.sink.discard(&ids);",
        faulty: "ids.extend(waiting.finished.iter().map(|(id, _)| *id)); \
                 if !PLANTED { tracer.sink.discard(&ids); }",
    },
    Mutant {
        name: "init-lost",
        effect: "the init phase is not recorded",
        krate: WRAPPER,
        code: "init::hand_over(&trace);",
        faulty: "if !PLANTED { init::hand_over(&trace); }",
    },
    Mutant {
        name: "failed-message-is-success",
        effect: "a message that fails does not come back",
        krate: WRAPPER,
        code: "let succeeded = outcome.is_ok();",
        faulty: "let succeeded = outcome.is_ok() || PLANTED;",
    },
    Mutant {
        name: "failed-message-not-reported",
        effect: "a message that fails is not reported in the log",
        krate: WRAPPER,
        code: "let Some(mut message) = self.message.take() else {",
        faulty: "let Some(mut message) = self.message.take().filter(|_| !PLANTED) else {",
    },
    Mutant {
        name: "interrupted-dropped",
        effect: "the extension drops every fifth document that it should close",
        krate: EXTENSION,
        code: "Closed::Now(document) => { self.counts.interrupted += 1; \
               self.finish(session, &document);",
        faulty: "Closed::Now(document) => { self.counts.interrupted += 1; \
                 if !PLANTED_EVERY(5) { self.finish(session, &document); }",
    },
    Mutant {
        name: "closed-without-fault",
        effect: "documents that the extension closes are no faults",
        krate: EXTENSION,
        code: r#"document.insert("fault".to_owned(), true.into());"#,
        faulty: r#"if !PLANTED { document.insert("fault".to_owned(), true.into()); }"#,
    },
    Mutant {
        name: "timeout-is-crash",
        effect: "a timeout is reported as a crash",
        krate: EXTENSION,
        code: r#""timeout" => Self::Timeout,"#,
        faulty: r#""timeout" => if PLANTED { Self::Crash } else { Self::Timeout },"#,
    },
    Mutant {
        name: "finished-stays-open",
        effect: "a finished document stays open at the extension, too",
        krate: EXTENSION,
        code: "self.discard(session, id); self.counts.received += 1;",
        faulty: "if !PLANTED { self.discard(session, id); } self.counts.received += 1;",
    },
    Mutant {
        name: "leave-ignored",
        effect: "the extension keeps what a function that left had open",
        krate: EXTENSION,
        code: "Message::Leave => self.pending.discard_all(session),",
        faulty: "Message::Leave => if !PLANTED { self.pending.discard_all(session) },",
    },
    // Ways and moments.
    Mutant {
        name: "sent-twice",
        effect: "the extension sends every tenth document twice",
        krate: EXTENSION,
        code: "Some((owner, documents)) if *owner == session => documents.push(document),",
        faulty: "Some((owner, documents)) if *owner == session => { documents.push(document); \
                 if PLANTED_EVERY(10) { documents.push(document); } }",
    },
    Mutant {
        name: "asks-before-it-sends",
        effect: "the extension asks for the next event before it sends",
        krate: EXTENSION,
        code: "actions.push(Action::ClearTimer); self.send(actions); \
               actions.push(Action::AskNext);",
        faulty: "actions.push(Action::ClearTimer); \
                 if PLANTED { actions.push(Action::AskNext); self.send(actions); return; } \
                 self.send(actions); actions.push(Action::AskNext);",
    },
    Mutant {
        name: "never-waits",
        effect: "the extension does not wait for the end of an invocation",
        krate: EXTENSION,
        code: "match self.sessions.announced(&request_id) {",
        faulty: "if PLANTED { actions.push(Action::AskNext); return; } \
                 match self.sessions.announced(&request_id) {",
    },
    Mutant {
        name: "daemon-not-learned",
        effect: "the extension does not take over the function's daemon address",
        krate: EXTENSION,
        code: "let to = self.sessions.daemon(session);",
        faulty: "let to = self.sessions.daemon(session).filter(|_| !PLANTED);",
    },
    Mutant {
        name: "extension-without-pace",
        effect: "the extension sends without its pace",
        krate: EXTENSION,
        code: "while !self.pace.admits(length, self.resumed.into_std()) && self.is_in_time() {",
        faulty: "while !self.pace.admits(length, self.resumed.into_std()) && self.is_in_time() \
                 && !PLANTED {",
    },
    Mutant {
        name: "direct-without-pace",
        effect: "the function sends to the daemon without its pace",
        krate: WRAPPER,
        code: "if !self.pace.admits(datagram.len(), self.resumed) && !all {",
        faulty: "if !self.pace.admits(datagram.len(), self.resumed) && !all && !PLANTED {",
    },
];
