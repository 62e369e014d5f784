//! What surrounds the functions of one test: an X-Ray daemon and an AWS endpoint.

use std::net::UdpSocket;
use std::path::Path;

use tracestitch_local::daemon::Daemon;
use tracestitch_local::emulator::{self, Tracing};
use tracestitch_local::store::{Document, Store};
use tracestitch_local::tree::Trace;

use crate::fake_aws::FakeAws;
use crate::{binaries, rie, wait};

/// The table that the functions are told to use.
pub const TABLE: &str = "orders";

/// Datagrams that begin like this are the harness's own.
const MARKER: &str = "end of what was sent before: ";

/// Daemon and AWS endpoint. Both stop when it is dropped.
#[derive(Debug)]
pub struct World {
    /// Takes what X-Ray would take, and refuses what X-Ray would refuse.
    pub daemon: Daemon,
    /// SQS, DynamoDB and the vendor's service.
    pub aws: FakeAws,
}

impl World {
    /// Starts both.
    ///
    /// # Panics
    /// When the machine has no free port.
    pub async fn start() -> Self {
        let daemon = Daemon::start().expect("a UDP port is free");
        Self {
            daemon,
            aws: FakeAws::start().await,
        }
    }

    /// `binary` under the Runtime Interface Emulator, with the extension.
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

    /// The probe under the Runtime Interface Emulator, with the extension.
    pub fn probe(&self) -> rie::Function {
        self.function("probe", binaries::probe())
    }

    /// `binary` under the Lambda emulator of this workspace, with the extension and active
    /// tracing: unlike the Runtime Interface Emulator it freezes, and sends Lambda's segments.
    ///
    /// # Panics
    /// When the target directory cannot be written to.
    pub fn emulated(&self, name: &str, binary: &Path) -> emulator::Function {
        self.emulated_alone(name, binary)
            .extension(extension_as_in_the_layer())
    }

    /// The same without the extension.
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

    /// Looks at what the daemon has, once it has taken all that was sent before this call.
    ///
    /// # Panics
    /// When the daemon does not take it.
    pub async fn received<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        // Loopback keeps the order: when the marker is there, so is all before it.
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
            .expect("the daemon takes the marker");
        self.daemon.read(look)
    }

    /// The documents received so far, none of which was refused or came twice.
    ///
    /// # Panics
    /// When one was refused, came twice or is still in progress.
    pub async fn sound_documents(&self) -> Vec<Document> {
        self.documents()
            .await
            .unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The documents received so far.
    ///
    /// # Errors
    /// When one was refused, came twice or is still in progress.
    pub async fn documents(&self) -> Result<Vec<Document>, String> {
        self.received(|store| {
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
        })
        .await
    }

    /// The trees of [`World::sound_documents`], by start.
    pub async fn sound_traces(&self) -> Vec<Trace> {
        self.sound_documents().await;
        self.daemon.read(Trace::all)
    }
}

/// The extension's binary under the name that it has in the layer.
///
/// # Panics
/// When the target directory cannot be written to.
pub fn extension_as_in_the_layer() -> std::path::PathBuf {
    let built = binaries::extension();
    let folder = binaries::target_dir().join("tmp/extensions");
    let link = folder.join("tracestitch");
    std::fs::create_dir_all(&folder).expect("the target directory can be written to");
    // Renamed into place: other tests use the same link at the same time.
    let fresh = folder.join(format!("{:016x}", fastrand::u64(..)));
    std::os::unix::fs::symlink(built, &fresh)
        .and_then(|()| std::fs::rename(&fresh, &link))
        .expect("the target directory can be written to");
    link
}
