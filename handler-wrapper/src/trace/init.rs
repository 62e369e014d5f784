//! The init phase: what runs before the first invocation, for which there is no trace yet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracestitch_wire::{
    document::Document, header::TraceHeader, id::SegmentId, id::TraceId, time::Timestamp,
};

use super::{
    context::{Context, Inner},
    outlet::Outlet,
    subsegment::Subsegment,
    trace::Trace,
    tracer::{FUNCTION, Tracer},
};
use crate::{settings::config, support::clock, transport::sink::NullSink};

/// Documents that are held back for the first trace.
const MAX_HELD: usize = 200;

/// None where there is no init phase: in tests, on a laptop, with tracing switched off.
static INIT: LazyLock<Option<Init>> = LazyLock::new(|| config::has_init_phase().then(Init::begin));

/// The context of code that runs before the first invocation.
pub(crate) fn context() -> Context {
    INIT.as_ref().map(Init::context).unwrap_or_default()
}

/// Ends the init phase, if this is the first invocation, and puts its work into `trace`.
pub(crate) fn hand_over(trace: &Arc<Trace>) {
    if let Some(init) = &*INIT {
        init.hand_over(trace);
    }
}

/// One init phase.
#[derive(Debug)]
struct Init {
    trace: Arc<Trace>,
    documents: Arc<InitDocuments>,
    root: Subsegment,
    over: AtomicBool,
}

impl Init {
    fn begin() -> Self {
        let documents = Arc::new(InitDocuments::default());
        let tracer = Tracer::new(String::new(), false, Box::new(NullSink));
        let trace = Arc::new(Trace {
            outlet: Box::new(documents.clone()),
            ..Trace::new(Arc::new(tracer), None, "")
        });
        let now = clock::now();
        // Both ids give way to those of the first trace.
        let document =
            Document::subsegment("init".into(), TraceId::new(now), SegmentId::new(), now);
        Self {
            root: Subsegment::start(trace.clone(), document),
            trace,
            documents,
            over: AtomicBool::new(false),
        }
    }

    fn context(&self) -> Context {
        if self.over.load(Ordering::Relaxed) {
            Context::default()
        } else {
            self.root.context()
        }
    }

    /// A first invocation that is not recorded takes the init phase with it.
    fn hand_over(&self, trace: &Arc<Trace>) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        self.trace.followers.end();
        let Inner::Recording(root) = self.root.context().0 else {
            return;
        };
        let Some((documents, ended)) = self.documents.release(trace) else {
            return;
        };
        let (Some(mut document), Some(header)) = (root.take(), trace.recorded()) else {
            return;
        };
        let silent = document.annotations.is_empty() && document.metadata.is_empty();
        if documents.is_empty() && silent && !document.fault {
            return;
        }
        document.finish(ended.unwrap_or_else(clock::now));
        trace.close(&mut under(*document, trace, header));
        for mut document in documents {
            trace.close(&mut document);
        }
    }
}

/// Beside the handler: under Lambda's own segment, or a segment itself where there is none.
fn under(mut document: Document, trace: &Trace, header: &TraceHeader) -> Document {
    // Nobody else records an unsampled trace: the parent would be missing.
    let parent = header.parent.filter(|_| !trace.is_tail_sampled());
    if parent.is_none() || !trace.has_facade_segment {
        document.become_segment(FUNCTION);
    }
    document.parent_id = parent;
    document.trace_id = header.root;
    if trace.is_tail_sampled() {
        document.annotations.insert("unsampled".into(), true.into());
    }
    document
}

/// Keeps the finished documents of the init phase for the first trace.
#[derive(Debug, Default)]
struct InitDocuments(Mutex<Phase>);

#[derive(Debug)]
enum Phase {
    Collecting {
        documents: Vec<Document>,
        /// When the last of all ended, also of those that were left out.
        ended: Option<Timestamp>,
        left_out: usize,
    },
    /// What ends now goes to this trace.
    HandedOver(Arc<Trace>),
    /// The first invocation is not recorded.
    Dropped,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Collecting {
            documents: Vec::new(),
            ended: None,
            left_out: 0,
        }
    }
}

impl Outlet for Arc<InitDocuments> {
    /// Does nothing: there is no trace yet in which a document could be in progress.
    fn open(&self, _tracer: &Tracer, _document: &Document) {}

    fn close(&self, _tracer: &Tracer, document: &mut Document) {
        self.keep(document.clone());
    }

    /// Does nothing: nothing was opened.
    fn discard(&self, _tracer: &Tracer, _id: SegmentId) {}
}

impl InitDocuments {
    fn keep(&self, mut document: Document) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Phase::Collecting {
                documents,
                ended,
                left_out,
            } => {
                *ended = Some(clock::now());
                if documents.len() < MAX_HELD {
                    documents.push(document);
                } else {
                    *left_out += 1;
                }
            }
            Phase::HandedOver(trace) => {
                let trace = trace.clone();
                // Rules for redaction are the user's code: they run without the lock.
                drop(state);
                if let Some(header) = &trace.header {
                    document.trace_id = header.root;
                    trace.close(&mut document);
                }
            }
            Phase::Dropped => {}
        }
    }

    /// What was held so far, with the ids of `trace`; None when that is not recorded.
    fn release(&self, trace: &Arc<Trace>) -> Option<(Vec<Document>, Option<Timestamp>)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match trace.recorded() {
            Some(_) => Phase::HandedOver(trace.clone()),
            None => Phase::Dropped,
        };
        let Phase::Collecting {
            mut documents,
            ended,
            left_out,
        } = std::mem::replace(&mut *state, next)
        else {
            return None;
        };
        let root = trace.recorded()?.root;
        for document in &mut documents {
            document.trace_id = root;
        }
        if let Some(last) = documents.last_mut().filter(|_| left_out > 0) {
            let key = "subsegments_left_out_of_init".into();
            last.put_metadata("tracestitch".into(), key, left_out.into());
        }
        Some((documents, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::kept::{Kept, PARENT, ROOT, SAMPLED};

    fn first_invocation(kept: &Kept, header: &str) -> Arc<Trace> {
        Arc::new(Trace::new(
            Arc::new(kept.tracer()),
            header.parse().ok(),
            "r-1",
        ))
    }

    #[test]
    fn its_work_is_in_the_first_trace() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context().sync_scope(|| {
            assert!(
                Context::current().trace_header().is_none(),
                "nothing to pass on yet"
            );
            crate::annotate("version", 3);
            crate::capture_sync("load settings", || crate::capture_sync("parse", || {}));
        });
        assert!(kept.events().is_empty());
        init.hand_over(&first_invocation(&kept, SAMPLED));

        let root = kept.one("init");
        assert_eq!(
            (&root["trace_id"], &root["parent_id"]),
            (&ROOT.into(), &PARENT.into())
        );
        assert_eq!(root["annotations"]["version"], 3);
        let settings = kept.one("load settings");
        assert_eq!(settings["parent_id"], root["id"]);
        assert!(settings.get("metadata").is_none(), "nothing was left out");
        assert_eq!(kept.one("parse")["parent_id"], settings["id"]);
        assert!(
            kept.closed()
                .iter()
                .all(|document| document["trace_id"] == ROOT)
        );
        assert!(!init.context().is_recording(), "it is over");
    }

    /// Of an invocation that is only recorded if it fails.
    #[test]
    fn in_a_trace_that_nobody_else_records_it_has_no_parent() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context()
            .sync_scope(|| crate::capture_sync("load settings", || {}));
        let mut tracer = kept.tracer();
        tracer.errors_always = true;
        let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
        let trace = Arc::new(Trace::new(Arc::new(tracer), header.parse().ok(), "r-1"));
        init.hand_over(&trace);
        let handler = crate::layer::invocation::begin_handler(&trace).unwrap();
        handler.record_error(&std::fmt::Error);
        handler.finish();
        let root = kept.one("init");
        assert!(root.get("parent_id").is_none() && root.get("type").is_none());
        assert_eq!(root["annotations"]["unsampled"], true);
        assert_eq!(kept.one("load settings")["parent_id"], root["id"]);
    }

    #[test]
    fn work_that_ends_later_is_in_it_too() {
        let kept = Kept::default();
        let init = Init::begin();
        let warm_up = init.context().sync_scope(|| Subsegment::begin("warm up"));
        init.hand_over(&first_invocation(&kept, SAMPLED));
        warm_up.finish();
        assert_eq!(kept.one("warm up")["trace_id"], ROOT);
    }

    #[test]
    fn nothing_is_said_where_nothing_was_done() {
        let kept = Kept::default();
        Init::begin().hand_over(&first_invocation(&kept, SAMPLED));
        assert!(kept.events().is_empty());
    }

    #[test]
    fn what_is_known_of_it_is_said_though_nothing_else_was_done() {
        let facts: [(&str, fn()); 2] = [
            ("annotations", || crate::annotate("version", 3)),
            ("metadata", || crate::metadata("version", 3)),
        ];
        for (block, say) in facts {
            let kept = Kept::default();
            let init = Init::begin();
            init.context().sync_scope(say);
            init.hand_over(&first_invocation(&kept, SAMPLED));
            assert!(kept.one("init")[block].is_object(), "{block}");
        }
    }

    #[test]
    fn what_failed_is_said_though_nothing_else_was_done() {
        let kept = Kept::default();
        let init = Init::begin();
        let settings = "x".parse::<i32>().unwrap_err();
        init.context().sync_scope(|| crate::record_error(&settings));
        init.hand_over(&first_invocation(&kept, SAMPLED));
        let root = kept.one("init");
        assert_eq!(root["fault"], true);
        let message = &root["cause"]["exceptions"][0]["message"];
        assert_eq!(message, "invalid digit found in string");
    }

    #[test]
    fn a_first_invocation_that_is_not_recorded_drops_it() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context()
            .sync_scope(|| crate::capture_sync("load settings", || {}));
        let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
        init.hand_over(&first_invocation(&kept, &unsampled));
        init.hand_over(&first_invocation(&kept, SAMPLED));
        assert!(kept.events().is_empty());
    }

    #[test]
    fn it_is_a_segment_where_lambda_has_none() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context()
            .sync_scope(|| crate::capture_sync("load settings", || {}));
        init.hand_over(&first_invocation(&kept, &format!("Root={ROOT};Sampled=1")));
        let root = kept.one("init");
        assert!(root.get("type").is_none() && root.get("parent_id").is_none());
        assert_eq!(root["origin"], FUNCTION);
    }

    #[test]
    fn it_is_a_segment_under_a_caller_that_is_not_lambda() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context()
            .sync_scope(|| crate::capture_sync("load settings", || {}));
        let trace = Trace {
            has_facade_segment: false,
            ..Trace::new(Arc::new(kept.tracer()), SAMPLED.parse().ok(), "r-1")
        };
        init.hand_over(&Arc::new(trace));
        let root = kept.one("init");
        assert!(root.get("type").is_none(), "{root}");
        assert_eq!(
            (&root["parent_id"], &root["origin"]),
            (&PARENT.into(), &FUNCTION.into())
        );
    }

    #[cfg(feature = "tracing")]
    #[tokio::test]
    async fn spans_that_are_kept_end_with_it() {
        use tracing::Instrument;
        use tracing_subscriber::layer::SubscriberExt;

        let layers = tracing_subscriber::registry().with(crate::SpanLayer::new());
        let _guard = tracing::subscriber::set_default(layers);
        let kept = Kept::default();
        let init = Init::begin();
        let connect = init.context().sync_scope(|| {
            let connect = tracing::info_span!("connect");
            connect.in_scope(|| {});
            connect
        });
        let connection = std::future::pending::<()>().instrument(connect);
        init.hand_over(&first_invocation(&kept, SAMPLED));
        let connect = kept.one("connect");
        assert_eq!(connect["trace_id"], ROOT);
        assert!(connect.get("fault").is_none(), "{connect}");
        drop(connection);
    }

    #[cfg(feature = "aws-sdk")]
    #[tokio::test]
    async fn aws_calls_are_in_it_and_get_no_header_of_ours() {
        use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
        use tokio::io::AsyncReadExt;

        let endpoint = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(format!("http://{}", endpoint.local_addr().unwrap()))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .interceptor(crate::aws::TraceInterceptor::new())
            .build();
        let request = tokio::spawn(async move {
            let (mut stream, _) = endpoint.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            String::from_utf8(head).unwrap()
        });
        let kept = Kept::default();
        let init = Init::begin();
        let list = aws_sdk_dynamodb::Client::from_conf(config).list_tables();
        assert!(
            init.context().scope(list.send()).await.is_err(),
            "it is not answered"
        );
        assert!(!request.await.unwrap().contains("x-amzn-trace-id"));
        init.hand_over(&first_invocation(&kept, SAMPLED));
        assert_eq!(kept.one("DynamoDB")["aws"]["operation"], "ListTables");
    }

    #[test]
    fn it_is_bounded() {
        let kept = Kept::default();
        let init = Init::begin();
        init.context().sync_scope(|| {
            for _ in 0..MAX_HELD + 3 {
                crate::capture_sync("one of many", || {});
            }
        });
        init.hand_over(&first_invocation(&kept, SAMPLED));
        let closed = kept.closed();
        assert_eq!(closed.len(), MAX_HELD + 1);
        let last = &closed[MAX_HELD]["metadata"]["tracestitch"];
        assert_eq!(last["subsegments_left_out_of_init"], 3);
    }
}
