//! Sends documents to the X-Ray daemon by UDP.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray".

mod datagrams;
mod route;

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::datagram::{self, PREAMBLE, Pace, Refusal};
use tracestitch_wire::delivery::{Delivery, Loss};

use self::route::{Route, Unreachable, connect};
use crate::clock;
use crate::documents::Documents;
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
    /// too large, into several, which replace it in the list.
    pub(crate) async fn send(&mut self, daemon: Option<DaemonAddress>, documents: &mut Documents) {
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
            socket,
            was_cut_short: false,
            max_document: &mut route.max_document,
            pace: &mut route.pace,
            counts: &mut self.counts,
            warnings: &mut self.warnings,
        };
        batch.send(documents).await;
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
    socket: UdpSocket,
    /// The last call of the kernel ended before its last document, for an error that it did not
    /// return.
    was_cut_short: bool,
    max_document: &'a mut usize,
    pace: &'a mut Pace,
    counts: &'a mut Delivery,
    warnings: &'a mut Warnings,
}

impl Batch<'_> {
    async fn send(&mut self, documents: &mut Documents) {
        // The next document, and how many from it on may be sent now.
        let (mut next, mut admitted) = (0, 0);
        while next < documents.len() {
            if documents[next].len() > *self.max_document {
                let parts = self.fit(&documents[next]);
                documents.replace(next, &parts);
                continue;
            }
            if admitted == 0 {
                admitted = self.admit(documents.iter_from(next)).await;
            }
            let due = documents.iter_from(next).take(admitted);
            let done = match self.send_first(due).await {
                Ok(sent) => {
                    self.counts.sent += sent as u64;
                    sent
                }
                Err(error)
                    if Refusal::from(&error) == Refusal::TooLong && !documents[next].is_empty() =>
                {
                    *self.max_document = documents[next].len() / 2;
                    admitted = 0;
                    continue;
                }
                Err(error) => {
                    self.counts.lose(Loss::NotSent, 1);
                    self.warn(&error);
                    1
                }
            };
            next += done;
            admitted -= done;
        }
    }

    /// Splits and trims a document until its parts fit.
    fn fit(&mut self, document: &[u8]) -> Vec<Vec<u8>> {
        let fitted = datagram::fit_within(document.to_vec(), *self.max_document);
        self.counts.record_fit(&fitted);
        fitted.documents
    }

    /// Pauses until the pace admits the first of `documents`. Returns how many it admits without
    /// another pause, at most [`datagrams::MOST`].
    async fn admit<'d>(&mut self, documents: impl Iterator<Item = &'d [u8]>) -> usize {
        let mut admitted = 0;
        for document in documents.take(datagrams::MOST) {
            if document.len() > *self.max_document {
                break;
            }
            let length = PREAMBLE.len() + document.len();
            while !self.pace.admits(length, self.resumed.into_std()) && self.is_in_time() {
                if admitted > 0 {
                    return admitted;
                }
                self.pause().await;
            }
            admitted += 1;
        }
        admitted
    }

    /// Sends the first of `documents`, and as many after it as the kernel takes in the same call.
    /// Returns their number.
    async fn send_first<'d>(
        &mut self,
        documents: impl ExactSizeIterator<Item = &'d [u8]> + Clone,
    ) -> io::Result<usize> {
        let mut was_cut_short = std::mem::take(&mut self.was_cut_short);
        let (mut reopened, mut refused) = (false, false);
        loop {
            let error = match datagrams::send(&self.socket, documents.clone()) {
                Ok(sent) => {
                    // The error did not last, so it was the refusal of an earlier datagram.
                    if was_cut_short {
                        self.record_refusal(&ErrorKind::ConnectionRefused.into());
                    }
                    self.was_cut_short = sent < documents.len();
                    return Ok(sent);
                }
                Err(error) => error,
            };
            let refusal = Refusal::from(&error);
            was_cut_short &= matches!(refusal, Refusal::Interrupted | Refusal::NoListener);
            match refusal {
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
