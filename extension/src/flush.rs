//! Sends documents to the X-Ray daemon by UDP.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray".

mod route;

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::datagram::{self, PREAMBLE, Pace, Refusal};
use tracestitch_wire::delivery::{Delivery, Loss};

use self::route::{Route, Unreachable, connect};
use crate::clock;
use crate::log::{Log, Warnings};

/// Longest time in a turn with pauses; the rest of its documents are sent without. The environment
/// has 2 s to shut down, of which the function takes a share first.
const BUDGET: Duration = Duration::from_millis(250);

/// Most daemons at once. One environment has one; a process with other settings may name another.
const MAX_ROUTES: usize = 4;

/// Sends documents and counts the outcome.
#[derive(Debug)]
pub(crate) struct Flush {
    /// The user's choice, which takes precedence over the addresses that sessions name.
    fixed: Option<DaemonAddress>,
    /// The first address that a session named, for sessions that name none.
    fallback: Option<DaemonAddress>,
    /// Most recently opened last.
    routes: Vec<Route>,
    turn: Instant,
    budget: Duration,
    /// The datagram that is sent. One buffer serves all.
    datagram: Vec<u8>,
    warnings: Warnings,
    counts: Delivery,
}

impl Flush {
    /// Creates a sender to `fixed`, else to the daemons that sessions name, else to the default
    /// address.
    pub(crate) fn new(fixed: Option<DaemonAddress>, log: Log) -> Self {
        Self {
            fixed,
            fallback: None,
            routes: Vec::new(),
            turn: clock::monotonic(),
            budget: BUDGET,
            datagram: Vec::new(),
            warnings: Warnings::new(log),
            counts: Delivery::default(),
        }
    }

    /// Counters of what was sent and lost here.
    pub(crate) fn counts(&self) -> &Delivery {
        &self.counts
    }

    /// Looks all addresses up again before the next document: the environment was stopped for so
    /// long that they may have changed, or it was resumed from a snapshot elsewhere.
    pub(crate) fn reconnect(&mut self) {
        self.routes.iter_mut().for_each(Route::reset);
    }

    /// Begins a turn of the event loop. All batches of a turn have one [`BUDGET`].
    pub(crate) fn begin_turn(&mut self) {
        self.turn = clock::monotonic();
    }

    /// Sends documents of sessions that named `daemon`. Each goes into one datagram or, if it is
    /// too large, into several.
    pub(crate) async fn send(&mut self, daemon: Option<DaemonAddress>, documents: Vec<Vec<u8>>) {
        let now = clock::monotonic();
        let index = self.route(daemon, now);
        let route = &mut self.routes[index];
        let socket = match route.take_socket(now).await {
            Ok(socket) => socket,
            Err(why) => {
                if let Unreachable::Failed(error) = why {
                    self.warnings.give(format_args!(
                        "the X-Ray daemon's address does not work: {error}; documents are lost \
                         and counted"
                    ));
                }
                let count = documents.len() as u64;
                return self.counts.lose(Loss::DaemonUnknown, count);
            }
        };
        let mut batch = Batch {
            began: self.turn,
            resumed: now,
            budget: self.budget,
            datagram: &mut self.datagram,
            socket,
            max_document: &mut route.max_document,
            pace: &mut route.pace,
            counts: &mut self.counts,
            warnings: &mut self.warnings,
        };
        for document in documents {
            batch.send(document).await;
        }
        batch.count_refusal();
        let socket = batch.socket;
        route.put_back(socket);
    }

    /// Returns the index of the route for sessions that named `daemon`.
    fn route(&mut self, daemon: Option<DaemonAddress>, now: Instant) -> usize {
        if self.fallback.is_none() {
            self.fallback.clone_from(&daemon);
        }
        let address = self
            .fixed
            .clone()
            .or(daemon)
            .or_else(|| self.fallback.clone());
        if let Some(index) = self.routes.iter().position(|r| r.address == address) {
            return index;
        }
        if self.routes.len() == MAX_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(Route::new(address, now));
        self.routes.len() - 1
    }
}

/// One call of [`Flush::send`].
#[derive(Debug)]
struct Batch<'a> {
    /// Beginning of the turn.
    began: Instant,
    /// The end of the last pause, or the beginning.
    ///
    /// The pace takes the time between two pauses for time in which the receiver reads. Only
    /// time in which this process waited counts as that: when it was busy, or the machine did not
    /// let it run, the receiver may not have run either. A pace that read the clock for each
    /// datagram let several bursts follow each other into a buffer that holds two.
    resumed: Instant,
    budget: Duration,
    datagram: &'a mut Vec<u8>,
    socket: UdpSocket,
    max_document: &'a mut usize,
    pace: &'a mut Pace,
    counts: &'a mut Delivery,
    warnings: &'a mut Warnings,
}

impl Batch<'_> {
    async fn send(&mut self, document: Vec<u8>) {
        let mut parts = self.fit(document);
        while let Some(part) = parts.pop() {
            match self.send_part(&part).await {
                Ok(()) => self.counts.sent += 1,
                Err(error) if Refusal::from(&error) == Refusal::TooLong => {
                    *self.max_document = part.len() / 2;
                    parts.extend(self.fit(part));
                }
                Err(error) => {
                    self.counts.lose(Loss::NotSent, 1);
                    self.warn(&error);
                }
            }
        }
    }

    /// Splits and trims a document until its parts fit. The last part is to be sent first.
    fn fit(&mut self, document: Vec<u8>) -> Vec<Vec<u8>> {
        let mut fitted = datagram::fit_within(document, *self.max_document);
        self.counts.record_fit(&fitted);
        fitted.documents.reverse();
        fitted.documents
    }

    async fn send_part(&mut self, part: &[u8]) -> io::Result<()> {
        self.datagram.clear();
        self.datagram.extend_from_slice(PREAMBLE);
        self.datagram.extend_from_slice(part);
        while !self
            .pace
            .admits(self.datagram.len(), self.resumed.into_std())
            && self.is_in_time()
        {
            self.pause().await;
        }
        let (mut reopened, mut refused) = (false, false);
        loop {
            let Err(error) = self.socket.send(self.datagram) else {
                return Ok(());
            };
            match Refusal::from(&error) {
                Refusal::Interrupted => {}
                Refusal::Full if self.is_in_time() => self.pause().await,
                // The kernel reports the refusal of an earlier datagram with the next call, which
                // then sends nothing.
                Refusal::NoListener if !refused => {
                    refused = true;
                    self.record_refusal(&error);
                }
                Refusal::Broken if !reopened => {
                    reopened = true;
                    self.socket = connect(self.socket.peer_addr()?)?;
                }
                // Another socket would change nothing.
                Refusal::Full | Refusal::NoListener | Refusal::TooLong | Refusal::Broken => {
                    return Err(error);
                }
            }
        }
    }

    /// Counts the last datagram if it was refused because no process listens.
    fn count_refusal(&mut self) {
        if let Ok(Some(error)) = self.socket.take_error() {
            self.record_refusal(&error);
        }
    }

    /// Counts a datagram that was sent, and then refused because no process listens.
    fn record_refusal(&mut self, error: &io::Error) {
        self.counts.record_refusal();
        self.warn(error);
    }

    fn warn(&mut self, error: &io::Error) {
        self.warnings.give(format_args!(
            "the X-Ray daemon does not take documents: {error}; they are lost and counted"
        ));
    }

    fn is_in_time(&self) -> bool {
        clock::monotonic().duration_since(self.began) < self.budget
    }

    async fn pause(&mut self) {
        sleep(Pace::PAUSE).await;
        self.resumed = clock::monotonic();
    }
}

#[cfg(test)]
mod tests;
