//! The rows of the table.

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Name of the work in [`work::run`](crate::work::run) or in [`peers::run`](crate::peers::run).
    pub(crate) work: &'static str,
    pub(crate) header: &'static str,
    pub(crate) send: Send,
    /// True if `TRACESTITCH_ERRORS` is `always`.
    pub(crate) errors_always: bool,
    /// Name of the row whose cost is subtracted.
    pub(crate) over: Option<&'static str>,
    /// Units of which each repetition has many, such as messages.
    pub(crate) units: u32,
    /// Most instructions of one repetition.
    pub(crate) bar: Option<u32>,
    /// Most instructions, as a multiple of another row's.
    pub(crate) most: Option<(&'static str, f64)>,
    /// Most system calls of one repetition.
    pub(crate) most_calls: Option<f64>,
    /// CPU time that one repetition should not exceed, in nanoseconds. Not checked, as it depends on
    /// the machine.
    pub(crate) goal: Option<u32>,
    /// Repetitions under callgrind, and in the time measurement.
    pub(crate) repeat: (u32, u32),
}

impl Row {
    /// Returns whether the row has a bar.
    pub(crate) fn is_checked(&self) -> bool {
        self.bar.is_some() || self.most.is_some() || self.most_calls.is_some()
    }
}

/// The destination of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Send {
    /// None: they are written and dropped.
    Nowhere,
    /// A reader that sleeps during the handler, like the extension.
    ToExtension,
    /// A daemon, by UDP.
    ToDaemon,
}

/// Returns the row called `name`.
///
/// # Panics
/// When there is none.
pub(crate) fn named(name: &str) -> &'static Row {
    let row = ROWS.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("no row is called {name}"))
}

const SAMPLED: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const UNSAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

const INVOCATION: &str = "invocation of 5 subsegments, to the extension";
const INVOCATION_OF_XRAY_LITE: &str = "invocation of 5 subsegments of xray-lite, to a daemon";
const INVOCATION_OF_OPENTELEMETRY: &str = "invocation of 5 spans of opentelemetry, to a daemon";
const SUBSEGMENT_TO_EXTENSION: &str = "subsegment, sampled, to the extension";
const SUBSEGMENT_OF_XRAY_LITE: &str = "subsegment of xray-lite, to a daemon";
const SPAN_TO_EXTENSION: &str = "#[instrument] span, to the extension";
const SPAN_OF_TRACING_OPENTELEMETRY: &str =
    "#[instrument] span, tracing-opentelemetry, to a daemon";
const SMALL_BATCH: &str = "message, in a batch of 10, not sent";

/// Pairs of rows whose CPU times are compared.
pub(crate) const RATIOS: [(&str, &str); 5] = [
    (INVOCATION, INVOCATION_OF_XRAY_LITE),
    (INVOCATION, INVOCATION_OF_OPENTELEMETRY),
    (SUBSEGMENT_TO_EXTENSION, SUBSEGMENT_OF_XRAY_LITE),
    (SPAN_TO_EXTENSION, SPAN_OF_TRACING_OPENTELEMETRY),
    ("message, in a batch of 10,000, not sent", SMALL_BATCH),
];

/// Documents are copied to memory. The signal at an invocation's end is divided among hundreds of
/// subsegments.
const NO_CALL: Option<f64> = Some(0.01);

/// The signal after the reply.
const ONE_CALL: Option<f64> = Some(1.2);

/// Repetitions that publish less than half of the ring. Beyond that, the number of signals that ask
/// for room depends on the reader.
const IN_HALF_A_RING: u32 = 500;

const SUBSEGMENT: Row = Row {
    name: "subsegment, sampled, not sent",
    work: "subsegment",
    header: SAMPLED,
    send: Send::Nowhere,
    errors_always: false,
    over: None,
    units: 1,
    bar: None,
    most: None,
    most_calls: None,
    goal: None,
    repeat: (1_000, 50_000),
};

const CALL: Row = Row {
    name: "AWS call, sampled, not sent",
    work: "call",
    over: Some("AWS call, bare"),
    repeat: (100, 2_000),
    ..SUBSEGMENT
};

const MESSAGE: Row = Row {
    name: SMALL_BATCH,
    work: "batch of 10",
    over: Some("message, in a batch of 10, bare"),
    units: 10,
    repeat: (20, 1_000),
    ..SUBSEGMENT
};

/// A message that only a closure of the handler sees.
const MESSAGE_BARE: Row = Row {
    name: "message, in a batch of 10, bare",
    work: "batch of 10, bare",
    over: None,
    ..MESSAGE
};

/// The rows. A row comes after the rows that it is compared with.
pub(crate) const ROWS: [Row; 32] = [
    Row {
        bar: Some(5_000),
        ..SUBSEGMENT
    },
    Row {
        name: SUBSEGMENT_TO_EXTENSION,
        send: Send::ToExtension,
        most_calls: NO_CALL,
        goal: Some(700),
        repeat: (IN_HALF_A_RING, 50_000),
        ..SUBSEGMENT
    },
    Row {
        name: SUBSEGMENT_OF_XRAY_LITE,
        work: "subsegment of xray-lite",
        send: Send::ToDaemon,
        repeat: (1_000, 20_000),
        ..SUBSEGMENT
    },
    Row {
        name: "span of opentelemetry, to a daemon",
        work: "span of opentelemetry",
        send: Send::ToDaemon,
        ..SUBSEGMENT
    },
    Row {
        name: "subsegment, not sampled",
        header: UNSAMPLED,
        bar: Some(200),
        // So short that the clock of CPU time does not notice fewer.
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
        name: "#[instrument] span, not sent",
        work: "instrumented",
        ..SUBSEGMENT
    },
    Row {
        name: SPAN_TO_EXTENSION,
        work: "instrumented",
        send: Send::ToExtension,
        most_calls: NO_CALL,
        goal: Some(1_500),
        repeat: (IN_HALF_A_RING, 50_000),
        ..SUBSEGMENT
    },
    Row {
        name: SPAN_OF_TRACING_OPENTELEMETRY,
        work: "instrumented for tracing-opentelemetry",
        send: Send::ToDaemon,
        repeat: (1_000, 20_000),
        ..SUBSEGMENT
    },
    Row {
        name: "invocation, bare",
        work: "invocation, bare",
        repeat: (1_000, 5_000),
        ..SUBSEGMENT
    },
    Row {
        name: INVOCATION,
        work: "invocation",
        send: Send::ToExtension,
        over: Some("invocation, bare"),
        bar: Some(45_000),
        most: Some((INVOCATION_OF_XRAY_LITE, 0.5)),
        most_calls: ONE_CALL,
        goal: Some(8_000),
        repeat: (IN_HALF_A_RING / 5, 5_000),
        ..SUBSEGMENT
    },
    Row {
        name: "invocation of 50 subsegments, to the extension",
        work: "long invocation",
        send: Send::ToExtension,
        over: Some("invocation, bare"),
        most: Some((INVOCATION, 10.5)),
        most_calls: ONE_CALL,
        repeat: (IN_HALF_A_RING / 50, 1_000),
        ..SUBSEGMENT
    },
    Row {
        name: "invocation of 5 subsegments, errors always",
        work: "invocation",
        header: UNSAMPLED,
        send: Send::ToExtension,
        errors_always: true,
        over: Some("invocation, bare"),
        most_calls: ONE_CALL,
        repeat: (IN_HALF_A_RING / 5, 5_000),
        ..SUBSEGMENT
    },
    Row {
        name: INVOCATION_OF_XRAY_LITE,
        work: "invocation of xray-lite",
        send: Send::ToDaemon,
        over: Some("invocation, bare"),
        repeat: (1_000, 5_000),
        ..SUBSEGMENT
    },
    Row {
        name: INVOCATION_OF_OPENTELEMETRY,
        work: "invocation of opentelemetry",
        send: Send::ToDaemon,
        over: Some("invocation, bare"),
        repeat: (1_000, 5_000),
        ..SUBSEGMENT
    },
    MESSAGE_BARE,
    MESSAGE,
    Row {
        name: "message, in a batch of 100, bare",
        work: "batch of 100, bare",
        units: 100,
        repeat: (5, 100),
        ..MESSAGE_BARE
    },
    Row {
        name: "message, in a batch of 100, not sent",
        work: "batch of 100",
        over: Some("message, in a batch of 100, bare"),
        units: 100,
        repeat: (5, 100),
        ..MESSAGE
    },
    Row {
        name: "message, in a batch of 1,000, bare",
        work: "batch of 1000, bare",
        units: 1_000,
        repeat: (1, 10),
        ..MESSAGE_BARE
    },
    Row {
        name: "message, in a batch of 1,000, not sent",
        work: "batch of 1000",
        over: Some("message, in a batch of 1,000, bare"),
        units: 1_000,
        bar: Some(30_000),
        most: Some((SMALL_BATCH, 1.05)),
        repeat: (1, 10),
        ..MESSAGE
    },
    Row {
        name: "message, in a batch of 10,000, bare",
        work: "batch of 10000, bare",
        units: 10_000,
        repeat: (1, 1),
        ..MESSAGE_BARE
    },
    Row {
        name: "message, in a batch of 10,000, not sent",
        work: "batch of 10000",
        over: Some("message, in a batch of 10,000, bare"),
        units: 10_000,
        repeat: (1, 1),
        ..MESSAGE
    },
    Row {
        name: "search of a message body of 100 KB",
        work: "search",
        // 18 a byte. A parser of our own needed 6, and was not worth its size.
        bar: Some(2_000_000),
        repeat: (20, 1_000),
        ..SUBSEGMENT
    },
    Row {
        name: "AWS call, bare",
        work: "call, bare",
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
        bar: Some(14_500),
        most_calls: NO_CALL,
        goal: Some(2_800),
        ..CALL
    },
    Row {
        name: "AWS call with xray-lite-aws-sdk, to a daemon",
        work: "call of xray-lite",
        send: Send::ToDaemon,
        ..CALL
    },
    Row {
        name: "AWS call, not sampled",
        header: UNSAMPLED,
        bar: Some(7_000),
        ..CALL
    },
    // A separate bare row: without a subscriber, `tracing` passes events to `log`, because
    // `lambda_runtime` asks for that.
    Row {
        name: "AWS call, bare, with spans and log",
        work: "call with layers, bare",
        over: None,
        ..CALL
    },
    Row {
        name: "AWS call, sampled, with spans and log",
        work: "call with layers",
        over: Some("AWS call, bare, with spans and log"),
        bar: Some(15_000),
        ..CALL
    },
    Row {
        name: "AWS call, not sampled, with spans and log",
        work: "call with layers",
        header: UNSAMPLED,
        over: Some("AWS call, bare, with spans and log"),
        ..CALL
    },
];
