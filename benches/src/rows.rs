//! The rows of the table.

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Name of the work for [`work::run`](crate::work::run).
    pub(crate) work: &'static str,
    pub(crate) header: &'static str,
    pub(crate) send: Send,
    /// True if `TRACESTITCH_ERRORS` is `always`.
    pub(crate) errors_always: bool,
    /// The row whose cost is subtracted.
    pub(crate) over: Option<&'static str>,
    /// Largest number of instructions of one repetition. Instructions of a call differ by a
    /// thousand between runs, because hash maps have other seeds.
    pub(crate) bar: Option<u64>,
    /// Number of repetitions under callgrind, and in the time measurement.
    pub(crate) repeat: (u32, u32),
}

/// Destination of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Send {
    /// A transport without a destination.
    Nowhere,
    /// A reader that sleeps during the handler, as the extension does.
    ToExtension,
    /// A daemon, by UDP.
    ToDaemon,
}

const SAMPLED: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const UNSAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

const SUBSEGMENT: Row = Row {
    name: "subsegment, sampled, not sent",
    work: "subsegment",
    header: SAMPLED,
    send: Send::Nowhere,
    errors_always: false,
    over: None,
    bar: None,
    repeat: (1_000, 50_000),
};

const CALL: Row = Row {
    name: "AWS call, sampled, not sent",
    work: "call",
    over: Some("AWS call, bare"),
    repeat: (100, 2_000),
    ..SUBSEGMENT
};

/// The rows. A row with `over` comes after the row that it names.
pub(crate) const ROWS: [Row; 16] = [
    Row {
        bar: Some(5_000),
        ..SUBSEGMENT
    },
    Row {
        name: "subsegment, sampled, to the extension",
        send: Send::ToExtension,
        ..SUBSEGMENT
    },
    Row {
        name: "subsegment of xray-lite, to a daemon",
        work: "subsegment-xray-lite",
        send: Send::ToDaemon,
        ..SUBSEGMENT
    },
    Row {
        name: "subsegment, not sampled",
        header: UNSAMPLED,
        bar: Some(200),
        // Fewer repetitions are too short for the clock of CPU time.
        repeat: (1_000, 500_000),
        ..SUBSEGMENT
    },
    Row {
        name: "subsegment, not sampled, errors always",
        header: UNSAMPLED,
        errors_always: true,
        ..SUBSEGMENT
    },
    Row {
        name: "invocation, bare",
        work: "invocation-bare",
        ..SUBSEGMENT
    },
    Row {
        name: "invocation of 5 subsegments, to the extension",
        work: "invocation",
        send: Send::ToExtension,
        over: Some("invocation, bare"),
        ..SUBSEGMENT
    },
    Row {
        name: "invocation of 5 subsegments, errors always",
        work: "invocation",
        header: UNSAMPLED,
        send: Send::ToExtension,
        errors_always: true,
        over: Some("invocation, bare"),
        ..SUBSEGMENT
    },
    Row {
        name: "search of a message body of 100 KB",
        work: "search",
        bar: Some(650_000),
        repeat: (20, 1_000),
        ..SUBSEGMENT
    },
    Row {
        name: "AWS call, bare",
        work: "call-bare",
        over: None,
        ..CALL
    },
    Row {
        bar: Some(15_000),
        ..CALL
    },
    Row {
        name: "AWS call, sampled, to the extension",
        send: Send::ToExtension,
        ..CALL
    },
    Row {
        name: "AWS call with xray-lite-aws-sdk, to a daemon",
        work: "call-xray-lite",
        send: Send::ToDaemon,
        ..CALL
    },
    Row {
        name: "AWS call, not sampled",
        header: UNSAMPLED,
        bar: Some(7_000),
        ..CALL
    },
    // A separate row: without a subscriber, `tracing` offers spans to `log`, as `lambda_runtime`
    // asks for.
    Row {
        name: "AWS call, bare, with spans and log",
        work: "call-bare-with-layers",
        over: None,
        ..CALL
    },
    Row {
        name: "AWS call, sampled, with spans and log",
        work: "call-with-layers",
        over: Some("AWS call, bare, with spans and log"),
        bar: Some(15_000),
        ..CALL
    },
];
