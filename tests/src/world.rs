//! The surroundings of the functions of one test: an X-Ray daemon and an AWS endpoint.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;
use tracestitch_local::daemon::Daemon;
use tracestitch_local::emulator::{self, Tracing};
use tracestitch_local::store::{Document, Store};
use tracestitch_traces::model::Trace;
use tracestitch_wire::time::Timestamp;

use crate::fake_aws::FakeAws;
use crate::{binaries, rie, wait};

/// Name of the table that the functions use.
pub const TABLE: &str = "orders";

/// Beginning of the datagrams that the harness itself sends.
const MARKER: &str = "end of what was sent before: ";

/// Daemon and AWS endpoint. Dropping it stops both.
#[derive(Debug)]
pub struct World {
    /// Accepts the documents that X-Ray accepts, and refuses the others.
    pub daemon: Daemon,
    /// SQS, DynamoDB and the vendor's service.
    pub aws: FakeAws,
    started: Timestamp,
}

impl World {
    /// Starts daemon and endpoint.
    ///
    /// # Panics
    /// When the machine has no free port.
    pub async fn start() -> Self {
        let daemon = Daemon::start().expect("a UDP port is free");
        Self {
            daemon,
            aws: FakeAws::start().await,
            started: SystemTime::now().into(),
        }
    }

    /// Returns `binary` as a function under the Runtime Interface Emulator, with the extension.
    pub fn function(&self, name: &str, binary: &Path) -> rie::Function {
        let function = rie::Function::new(name, binary)
            .extension(binaries::extension())
            .runtime_env("AWS_XRAY_DAEMON_ADDRESS", self.daemon.address().to_string());
        self.variables()
            .into_iter()
            .fold(function, |function, (name, value)| {
                function.env(name, value)
            })
    }

    /// Returns the probe as a function under the Runtime Interface Emulator, with the extension.
    pub fn probe(&self) -> rie::Function {
        self.function("probe", binaries::probe())
    }

    /// Returns `binary` as a function under the Lambda emulator of this workspace, with the extension
    /// and active tracing. Unlike the Runtime Interface Emulator, this one freezes the processes and
    /// sends Lambda's segments.
    ///
    /// # Panics
    /// When the target directory cannot be written to.
    pub fn emulated(&self, name: &str, binary: &Path) -> emulator::Function {
        self.emulated_alone(name, binary)
            .extension(extension_as_in_the_layer())
    }

    /// Returns the function of [`World::emulated`] without the extension.
    pub fn emulated_alone(&self, name: &str, binary: &Path) -> emulator::Function {
        let function = emulator::Function::new(name, binary)
            .tracing(Tracing::Active)
            .xray_daemon(self.daemon.address());
        self.variables()
            .into_iter()
            .fold(function, |function, (name, value)| {
                function.env(name, value)
            })
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.aws.url()),
            ("TABLE_NAME", TABLE.to_owned()),
            (
                "QUEUE_URL",
                format!("{}/123456789012/orders", self.aws.url()),
            ),
            ("RUST_BACKTRACE", "1".to_owned()),
        ]
    }

    /// Runs `look` on the daemon's store once everything sent before this call has arrived.
    ///
    /// # Panics
    /// When the daemon does not receive a marker in time.
    pub async fn received<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        // Loopback keeps the order: everything sent before the marker arrives before it.
        let marker = format!("{MARKER}{:016x}", fastrand::u64(..));
        UdpSocket::bind("127.0.0.1:0")
            .and_then(|socket| socket.send_to(marker.as_bytes(), self.daemon.address()))
            .expect("loopback takes a datagram");
        self.daemon
            .wait_for(
                |store| {
                    store
                        .refused()
                        .iter()
                        .any(|refused| refused.datagram == marker)
                },
                wait::PATIENCE,
            )
            .await
            .expect("the daemon receives the marker");
        self.daemon.read(look)
    }

    /// Returns the documents received so far; see [`World::documents`].
    ///
    /// # Panics
    /// When one was refused, came twice, is still in progress or has a time outside of the test.
    pub async fn sound_documents(&self) -> Vec<Document> {
        self.documents()
            .await
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Returns the documents received so far.
    ///
    /// # Errors
    /// When one was refused, came twice, is still in progress or has a time outside of the test.
    pub async fn documents(&self) -> Result<Vec<Document>, String> {
        let documents = self.received(sound).await?;
        let span = self.started..=SystemTime::now().into();
        let foreign: Vec<_> = documents
            .iter()
            .filter(|document| !lies_within(&document.body, &span))
            .collect();
        if !foreign.is_empty() {
            return Err(format!(
                "not in the time of the test, {span:?}: {foreign:#?}"
            ));
        }
        Ok(documents)
    }

    /// Returns the trees of [`World::sound_documents`], by start.
    pub async fn sound_traces(&self) -> Vec<Trace> {
        self.sound_documents().await;
        self.daemon.read(Store::traces)
    }
}

/// Returns all documents, if none was refused, came twice or is still in progress.
fn sound(store: &Store) -> Result<Vec<Document>, String> {
    let refused: Vec<_> = store
        .refused()
        .iter()
        .filter(|refused| !refused.datagram.starts_with(MARKER))
        .collect();
    if !refused.is_empty() {
        return Err(format!("X-Ray would refuse {refused:#?}"));
    }
    if !store.duplicates().is_empty() {
        return Err(format!("came twice: {:#?}", store.duplicates()));
    }
    let documents: Vec<_> = store.documents().cloned().collect();
    let open: Vec<_> = documents
        .iter()
        .filter(|document| document.in_progress)
        .collect();
    if !open.is_empty() {
        return Err(format!("never closed: {open:#?}"));
    }
    Ok(documents)
}

/// Returns whether a document starts, ends and lasts within `span`.
fn lies_within(body: &Value, span: &RangeInclusive<Timestamp>) -> bool {
    let time = |member: &str| {
        let seconds = body[member].as_f64().unwrap_or_default();
        Timestamp::from_micros((seconds * 1e6).round() as u64)
    };
    let (start, end) = (time("start_time"), time("end_time"));
    span.contains(&start) && span.contains(&end) && start <= end
}

/// Returns the path of the extension under the name that it has in the layer.
///
/// # Panics
/// When the target directory cannot be written to.
pub fn extension_as_in_the_layer() -> std::path::PathBuf {
    let built = binaries::extension();
    let folder = binaries::target_dir().join("tmp/extensions");
    let link = folder.join("tracestitch");
    std::fs::create_dir_all(&folder).expect("the target directory can be written to");
    // Renamed into place, because other tests use the same link at the same time.
    let fresh = folder.join(format!("{:016x}", fastrand::u64(..)));
    std::os::unix::fs::symlink(built, &fresh)
        .and_then(|()| std::fs::rename(&fresh, &link))
        .expect("the target directory can be written to");
    link
}
