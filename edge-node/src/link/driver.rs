//! Drives one session: moves frames between QUIC and the session, and its requests to the journal.
//! Decides nothing itself. Invariant: the journal is never called where it would block others.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, ReadError, WriteError};
use shared::ids::Seq;
use shared::sync::edge::{EdgeEnd, EdgeEvent, EdgeNotice, EdgeRequest, EdgeSession};
use shared::sync::{Found, Moment, Now, Position};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Wall;
use super::controller::Tally;
use super::frames::{Incoming, Outgoing};
use super::meter::Meter;
use super::question::{Question, Questions};
use super::store::{EdgeStore, EdgeStoreError};

/// How often the network is asked for signs of life while something is awaited.
const WATCH: Duration = Duration::from_secs(5);

/// How long a last frame may take to reach HQ.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a session is over.
#[derive(Debug)]
pub(super) enum Over {
    /// The session itself ended.
    Ended(EdgeEnd),
    /// The connection is gone.
    Lost(ConnectionError),
    /// HQ closed the stream without a word.
    StreamEnded,
    /// Everything is said, and the link costs while it is open.
    Quiet,
    /// Another profile fits better, and much is left to send.
    Misfit,
}

/// One session on its connection.
pub(super) struct Driver<'a, S> {
    store: Arc<S>,
    connection: &'a Connection,
    wall: Wall,
    session: EdgeSession,
    incoming: Incoming,
    outgoing: Outgoing,
    position: watch::Receiver<Position>,
    sealed: watch::Receiver<Seq>,
    edits: watch::Receiver<u64>,
    replies: JoinSet<EdgeEvent>,
    /// Who waits for what HQ finds, in order.
    askers: VecDeque<oneshot::Sender<Found>>,
    /// The session's time starts here.
    started: Instant,
    datagrams: u64,
    /// It leaves once HQ has everything.
    until_done: bool,
    /// When something was said last, and after how much silence the session ends.
    spoke: Instant,
    quiet: Option<Duration>,
    nudge: Option<Nudge>,
}

/// Asks for a sign of life where the network does not give one.
struct Nudge {
    after: Duration,
    tally: Arc<Tally>,
    /// When something last came, or was asked for.
    since: Instant,
    datagrams: u64,
}

impl Nudge {
    /// When to look next.
    fn due(&self) -> Instant {
        (self.since + self.after).min(Instant::now() + self.after / 4)
    }

    /// Whether it is time; then the next time is later.
    fn is_time(&mut self, datagrams: u64) -> bool {
        let came = std::mem::replace(&mut self.datagrams, datagrams) != datagrams;
        let is_time = !came && self.since.elapsed() >= self.after;
        if came || is_time {
            self.since = Instant::now();
        }
        if is_time {
            self.tally.nudge();
        }
        is_time
    }
}

enum Woken {
    Read(Result<bool, ReadError>),
    Written(Result<(), WriteError>),
    Event(EdgeEvent),
    Question(Question),
    Timeout,
    Quiet,
}

impl<'a, S: EdgeStore> Driver<'a, S> {
    pub(super) fn new(
        store: Arc<S>,
        connection: &'a Connection,
        wall: Wall,
        session: EdgeSession,
        started: Instant,
        incoming: Incoming,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            position: store.position(),
            sealed: store.sealed(),
            edits: store.document_edits(),
            store,
            connection,
            wall,
            session,
            incoming,
            outgoing,
            replies: JoinSet::new(),
            askers: VecDeque::new(),
            started,
            datagrams: 0,
            until_done: false,
            spoke: started,
            quiet: None,
            nudge: None,
        }
    }

    /// For a log that nobody writes any more: the session leaves once HQ has everything.
    pub(super) const fn until_done(mut self) -> Self {
        self.until_done = true;
        self
    }

    /// Ends the session once HQ has everything and nothing was said for so long.
    pub(super) fn leaving_after(mut self, quiet: Option<Duration>) -> Self {
        self.quiet = quiet;
        self
    }

    /// Asks HQ for a sign of life after so long without one, while something is awaited.
    pub(super) fn nudging(mut self, after: Option<Duration>, tally: &Arc<Tally>) -> Self {
        let (tally, since) = (Arc::clone(tally), self.started);
        self.nudge = after.map(|after| Nudge { after, tally, since, datagrams: 0 });
        self
    }

    /// Runs the session until it ends, the connection is lost or `shutdown` says so. `meter` sees how
    /// the connection does, `notice` hears what people should know.
    pub(super) async fn run(
        mut self,
        shutdown: &mut watch::Receiver<bool>,
        questions: &mut Questions,
        meter: &mut Meter,
        mut notice: impl FnMut(EdgeNotice),
    ) -> Over {
        // Whatever was recorded since the session was made.
        self.position.mark_changed();
        self.sealed.mark_changed();
        let over = loop {
            self.take_frames();
            while let Some(found) = self.session.poll_notice() {
                match found {
                    EdgeNotice::Found(found) => self.answer(found),
                    found => notice(found),
                }
            }
            while let Some(request) = self.session.poll_request() {
                self.start_request(request);
            }
            if self.until_done && self.session.is_done() {
                let moment = self.moment();
                self.session.handle_event(EdgeEvent::Leave, moment);
            }
            let now = self.now();
            self.outgoing.fill(|| self.session.poll_frame(now));
            if let Some(end) = self.session.end()
                && self.outgoing.is_empty()
            {
                let end = end.clone();
                let _ = tokio::time::timeout(FAREWELL, self.outgoing.finish()).await;
                break Over::Ended(end);
            }
            if let Err(over) = self.wake(shutdown, questions).await {
                break over;
            }
            if meter.finds_misfit(self.connection, self.session.unacknowledged()) {
                break Over::Misfit;
            }
        };
        // What came before the end is still kept.
        while self.replies.join_next().await.is_some() {}
        over
    }

    async fn wake(
        &mut self,
        shutdown: &mut watch::Receiver<bool>,
        questions: &mut Questions,
    ) -> Result<(), Over> {
        let woken = self.woken(shutdown, questions).await;
        if !matches!(woken, Woken::Timeout) {
            self.spoke = Instant::now();
        }
        match woken {
            Woken::Read(Ok(true)) | Woken::Written(Ok(())) => {}
            Woken::Read(Ok(false)) => return Err(Over::StreamEnded),
            Woken::Read(Err(error)) => {
                return Err(self.lost(matches!(error, ReadError::ConnectionLost(_))));
            }
            Woken::Written(Err(error)) => {
                return Err(self.lost(matches!(error, WriteError::ConnectionLost(_))));
            }
            Woken::Event(event) => {
                let moment = self.moment();
                self.session.handle_event(event, moment);
            }
            Woken::Question(question) => self.ask(question),
            Woken::Timeout => self.handle_timeout(),
            Woken::Quiet => return Err(Over::Quiet),
        }
        Ok(())
    }

    async fn woken(
        &mut self,
        shutdown: &mut watch::Receiver<bool>,
        questions: &mut Questions,
    ) -> Woken {
        let asks = self.session.is_open();
        let reads = self.session.end().is_none();
        let takes = reads && self.session.wants_frames();
        let timeout = self.session.timeout().map(|moment| {
            let due = self.started + Duration::from_millis(moment.0);
            let look = self.nudge.as_ref().map_or(Instant::now() + WATCH, Nudge::due);
            due.min(look)
        });
        let quiet = self.quiet.filter(|_| self.session.is_complete());
        let quiet = quiet.map(|quiet| self.spoke + quiet);
        tokio::select! {
            written = self.outgoing.write(), if !self.outgoing.is_empty() => Woken::Written(written),
            read = self.incoming.read(), if takes => Woken::Read(read),
            position = next(&mut self.position) => Woken::Event(EdgeEvent::Recorded(position.last)),
            sealed = next(&mut self.sealed) => Woken::Event(EdgeEvent::Sealed(sealed)),
            _ = next(&mut self.edits) => Woken::Event(EdgeEvent::DocumentsChanged),
            Some(reply) = self.replies.join_next() => {
                Woken::Event(reply.unwrap_or(EdgeEvent::LogUnreadable))
            }
            Some(question) = questions.recv(), if asks => Woken::Question(question),
            () = stopped(shutdown), if reads => Woken::Event(EdgeEvent::Leave),
            () = until(timeout) => Woken::Timeout,
            () = until(quiet) => Woken::Quiet,
        }
    }

    fn ask(&mut self, question: Question) {
        let event = match question {
            // Whoever asked may have gone.
            Question::LookUp(_, asker) if asker.is_closed() => return,
            Question::LookUp(text, asker) => {
                self.askers.push_back(asker);
                EdgeEvent::LookUp(text)
            }
            Question::Handle(items, asker) => {
                if asker.send(()).is_err() {
                    return;
                }
                EdgeEvent::Handle(items)
            }
        };
        let moment = self.moment();
        self.session.handle_event(event, moment);
    }

    fn answer(&mut self, found: Found) {
        if let Some(asker) = self.askers.pop_front() {
            drop(asker.send(found));
        }
    }

    fn handle_timeout(&mut self) {
        let moment = self.moment();
        let datagrams = self.connection.stats().udp_rx.datagrams;
        if let Some(nudge) = &mut self.nudge
            && nudge.is_time(datagrams)
        {
            self.session.handle_event(EdgeEvent::Silent, moment);
        }
        if datagrams != self.datagrams {
            self.datagrams = datagrams;
            self.session.handle_event(EdgeEvent::NetworkAlive, moment);
        }
        self.session.handle_timeout(moment);
    }

    fn take_frames(&mut self) {
        while self.session.end().is_none() && self.session.wants_frames() {
            let moment = self.moment();
            match self.incoming.next() {
                Ok(Some(frame)) => self.session.handle_frame(frame, moment),
                Ok(None) => return,
                Err(error) => self.session.handle_broken(&error),
            }
        }
    }

    fn start_request(&mut self, request: EdgeRequest) {
        let store = Arc::clone(&self.store);
        self.replies.spawn_blocking(move || perform(&*store, request));
    }

    fn lost(&self, connection_lost: bool) -> Over {
        match self.connection.close_reason() {
            Some(reason) if connection_lost => Over::Lost(reason),
            _ => Over::StreamEnded,
        }
    }

    fn moment(&self) -> Moment {
        moment_since(self.started)
    }

    fn now(&self) -> Now {
        Now { moment: self.moment(), wall: self.wall.now() }
    }
}

/// The session's time.
pub(super) fn moment_since(started: Instant) -> Moment {
    Moment(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn perform<S: EdgeStore>(store: &S, request: EdgeRequest) -> EdgeEvent {
    match request {
        EdgeRequest::ReadRun { first, facts_max } => match store.run_from(first, facts_max) {
            Ok(run) => EdgeEvent::RunRead(run),
            Err(error) => unreadable(&error),
        },
        EdgeRequest::ReadSeals { first, seals_max } => match store.seals_from(first, seals_max) {
            Ok(seals) => EdgeEvent::SealsRead(seals),
            Err(error) => unreadable(&error),
        },
        EdgeRequest::ReadHead(at) => match store.head_at(at) {
            Ok(head) => EdgeEvent::HeadRead(head),
            Err(error) => unreadable(&error),
        },
        EdgeRequest::NoteAcknowledgement(signed) => {
            if let Err(error) = store.note_acknowledgement(signed) {
                tracing::warn!("HQ's acknowledgement can't be kept: {error}");
            }
            EdgeEvent::AcknowledgementNoted
        }
        EdgeRequest::NotePostings(signed) => {
            if let Err(error) = store.note_postings(signed) {
                tracing::warn!("what became of movements can't be kept: {error}");
            }
            EdgeEvent::PostingsNoted(store.postings_known())
        }
        EdgeRequest::ApplyState(signed) => match store.apply_state(signed) {
            Ok(()) => EdgeEvent::StateApplied,
            Err(error) => {
                tracing::warn!("HQ's master data can't be kept: {error}");
                EdgeEvent::StateFailed
            }
        },
        EdgeRequest::ReadGiven { known, after } => match store.given(&known, after) {
            Ok(batch) => EdgeEvent::GivenRead(batch),
            Err(error) => unreadable(&error),
        },
        EdgeRequest::ReadChanges { after, changes_max } => {
            let read = store.changes_after(after, changes_max);
            read.map_or_else(|error| documents_failed(&error), EdgeEvent::ChangesRead)
        }
        EdgeRequest::ApplyDocuments(signed) => {
            let applied = store.apply_documents(signed).map(|()| EdgeEvent::DocumentsApplied);
            applied.unwrap_or_else(|error| documents_failed(&error))
        }
        EdgeRequest::ReadTold { lives, after, back } => {
            let told = store.told(&lives, after, back);
            let told = told.map(|found| found.map(|(number, given)| (number, Box::new(given))));
            told.map_or_else(|error| documents_failed(&error), EdgeEvent::ToldRead)
        }
    }
}

fn documents_failed(error: &EdgeStoreError) -> EdgeEvent {
    if matches!(error, EdgeStoreError::Overtaken) {
        return EdgeEvent::Overtaken;
    }
    tracing::warn!("shared documents wait for the next connection: {error}");
    EdgeEvent::DocumentsFailed
}

fn unreadable(error: &EdgeStoreError) -> EdgeEvent {
    tracing::error!("the journal can't be read: {error}");
    EdgeEvent::LogUnreadable
}

/// The next value; never where the journal is gone.
async fn next<T: Copy>(watched: &mut watch::Receiver<T>) -> T {
    match watched.changed().await {
        Ok(()) => *watched.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

/// Waits until the node stops; also where whoever could say so is gone.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stops| *stops).await;
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
