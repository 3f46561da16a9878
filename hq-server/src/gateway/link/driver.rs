//! Drives one session: moves frames between QUIC and the session, and its requests to the store.
//! Decides nothing itself. Invariant: frames are read only while the session wants them, so that a
//! slow store slows the edge down instead of filling memory.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ReadError, WriteError};
use shared::ids::{LogId, Seq};
use shared::sync::hq::{HqEnd, HqEvent, HqRequest, HqSession, HqSettings, HqStart};
use shared::sync::{Code, Frame, FrameError, Hello, Moment, Now, Refusal, limits};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::frames::{Incoming, Outgoing};
use super::socket::Asker;
use crate::clock::Clock;
use crate::gateway::store::{HqStore, LinkNews, Peer, Place, Quality};

/// How long a last frame may take to reach the edge.
const FAREWELL: Duration = Duration::from_secs(2);

/// One session on its stream.
pub(super) struct Driver<S> {
    store: Arc<S>,
    peer: Peer,
    connection: Connection,
    clock: Clock,
    session: HqSession,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Set by the hello.
    log: Option<LogId>,
    /// Where facts go and how far, once the edge's log turned out to be a branch.
    branch: Option<Place>,
    posted: Option<watch::Receiver<Seq>>,
    state: watch::Receiver<u64>,
    documents: watch::Receiver<u64>,
    replies: JoinSet<Reply>,
    started: Instant,
    /// Where the node asked for copies.
    asker: Option<Asker>,
}

/// Why a stream is no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamLost {
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Write(#[from] WriteError),
    #[error("the edge closed the stream without a word")]
    Ended,
}

/// What the store answers, and where a branch's facts went.
struct Reply {
    event: HqEvent,
    branch: Option<Box<Place>>,
}

impl From<HqEvent> for Reply {
    fn from(event: HqEvent) -> Self {
        Self { event, branch: None }
    }
}

/// What woke the driver.
enum Woken {
    Read(Result<bool, ReadError>),
    Written(Result<(), WriteError>),
    Reply(Box<Reply>),
    Timeout,
}

impl Woken {
    fn reply(reply: Reply) -> Self {
        Self::Reply(Box::new(reply))
    }
}

impl<S: HqStore> Driver<S> {
    /// Boxed, for a future keeps what it was made of beside what it works on.
    pub(super) fn new(
        store: Arc<S>,
        (peer, connection): (Peer, Connection),
        clock: Clock,
        start: HqStart,
        settings: HqSettings,
        incoming: Incoming,
        outgoing: Outgoing,
    ) -> Box<Self> {
        Box::new(Self {
            state: store.state_changes(),
            documents: store.document_news(),
            store,
            peer,
            connection,
            clock,
            session: HqSession::new(start, settings, Moment(0)),
            incoming,
            outgoing,
            log: None,
            branch: None,
            posted: None,
            replies: JoinSet::new(),
            started: Instant::now(),
            asker: None,
        })
    }

    /// The node's way loses many packets.
    pub(super) fn asked_by(mut self: Box<Self>, asker: Option<Asker>) -> Box<Self> {
        self.asker = asker;
        self
    }

    /// Takes the frame that was read before it was known whose it is.
    pub(super) fn take(&mut self, first: Result<Frame, FrameError>) {
        match first {
            Ok(frame) => self.session.handle_frame(frame),
            Err(error) => self.session.handle_broken(&error),
        }
    }

    /// Runs the session until it ends; says why.
    pub(super) async fn run(mut self: Box<Self>) -> String {
        let ended = self.run_loop().await;
        let why = match (ended, self.session.end()) {
            (_, Some(end)) => end.to_string(),
            (Err(lost), None) => lost.to_string(),
            (Ok(()), None) => unreachable!("the loop ends with the session or the stream"),
        };
        let is_problem = !matches!(self.session.end(), Some(HqEnd::EdgeLeft(Code::LEAVING)));
        let news = LinkNews::Disconnected { why: why.clone(), is_problem };
        self.store.note_link(self.peer, self.log.as_ref(), news);
        self.finish_storing().await;
        why
    }

    /// What came before the end was sent in good faith, and is stored; the edge hears of it on its
    /// next connection.
    async fn finish_storing(&mut self) {
        loop {
            if self.session.end().is_some() {
                while let Some(request) = self.session.poll_request() {
                    self.start_request(request);
                }
            }
            let Some(reply) = self.replies.join_next().await else { return };
            let moment = self.moment();
            let event = reply.map_or_else(|_| store_panicked(), |reply| reply.event);
            self.session.handle_event(event, moment);
        }
    }

    async fn run_loop(&mut self) -> Result<(), StreamLost> {
        loop {
            self.take_frames();
            while let Some(request) = self.session.poll_request() {
                self.start_request(request);
            }
            let now = self.now();
            self.outgoing.fill(|| self.session.poll_frame(now));
            if self.session.end().is_some() && self.outgoing.is_empty() {
                let _ = tokio::time::timeout(FAREWELL, self.outgoing.finish()).await;
                return Ok(());
            }
            match self.woken().await {
                Woken::Read(read) => {
                    if !read? {
                        return Err(StreamLost::Ended);
                    }
                    let quality = self.quality();
                    if let Some(asker) = &mut self.asker {
                        asker.follow(quality.address);
                    }
                    let news = LinkNews::Heard(quality);
                    self.store.note_link(self.peer, self.log.as_ref(), news);
                }
                Woken::Written(written) => written?,
                Woken::Reply(reply) => {
                    if let Some(place) = reply.branch {
                        self.follow(*place);
                    }
                    let moment = self.moment();
                    self.session.handle_event(reply.event, moment);
                }
                Woken::Timeout => {
                    let moment = self.moment();
                    self.session.handle_timeout(moment);
                }
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let reads = self.session.end().is_none() && self.session.wants_frames();
        let timeout = self.session.timeout().map(|moment| self.instant(moment));
        tokio::select! {
            written = self.outgoing.write(), if !self.outgoing.is_empty() => Woken::Written(written),
            read = self.incoming.read(), if reads => Woken::Read(read),
            Some(reply) = self.replies.join_next() => Woken::reply(reply.unwrap_or_else(|_| store_panicked().into())),
            () = changed(self.posted.as_mut()) => Woken::reply(HqEvent::LevelsChanged.into()),
            () = changed(Some(&mut self.state)) => Woken::reply(HqEvent::StateChanged.into()),
            () = changed(Some(&mut self.documents)) => Woken::reply(HqEvent::DocumentsChanged.into()),
            () = until(timeout) => Woken::Timeout,
        }
    }

    fn take_frames(&mut self) {
        while self.session.end().is_none() && self.session.wants_frames() {
            match self.incoming.next() {
                Ok(Some(frame)) => self.session.handle_frame(frame),
                Ok(None) => return,
                Err(error) => self.session.handle_broken(&error),
            }
        }
    }

    fn start_request(&mut self, request: HqRequest) {
        let store = Arc::clone(&self.store);
        let peer = self.peer;
        match (request, self.log) {
            (HqRequest::Open(hello), _) => self.open(&hello),
            (HqRequest::OpenBranch { hello, common }, Some(log)) => {
                self.replies.spawn(async move {
                    let places = [hello.position, common];
                    match store.open_branch(peer, log, places).await {
                        Ok((opened, place)) => {
                            Reply { event: HqEvent::Opened(opened), branch: Some(Box::new(place)) }
                        }
                        Err(refusal) => HqEvent::Refused(refusal).into(),
                    }
                });
            }
            (HqRequest::Store(run), Some(log)) if self.branch.is_some() => {
                self.replies.spawn(async move {
                    match store.accept_branch(peer, log, run).await {
                        Ok(place) => {
                            let branch = Some(Box::new(place));
                            Reply { event: HqEvent::Stored(place.position), branch }
                        }
                        Err(refusal) => HqEvent::Refused(refusal).into(),
                    }
                });
            }
            (HqRequest::Store(run), Some(log)) => {
                self.replies.spawn(async move {
                    or_refused(store.accept(log, run).await.map(HqEvent::Stored)).into()
                });
            }
            (HqRequest::StoreSeal(seal), Some(_)) => {
                self.replies.spawn(async move {
                    or_refused(store.accept_seal(seal).await.map(|()| HqEvent::SealStored)).into()
                });
            }
            (HqRequest::ReadAcknowledgement, Some(log)) => {
                // Quick, and what the edge waits for: not worth a task.
                let read = match &self.branch {
                    Some(place) => store.branch_acknowledgement(&log, place),
                    None => store.acknowledgement(&log),
                };
                let reply = read.map(HqEvent::AcknowledgementRead);
                let moment = self.moment();
                self.session.handle_event(or_refused(reply), moment);
            }
            (HqRequest::ReadState(cursor), Some(_)) => {
                self.replies.spawn_blocking(move || {
                    let batch = store.state_since(peer.site, cursor, limits::STATE_FACTS_MAX);
                    or_refused(batch.map(HqEvent::StateRead)).into()
                });
            }
            (HqRequest::TakeBack(batch), Some(_)) => {
                self.replies.spawn(async move {
                    store.take_back(batch).await;
                    HqEvent::TakenBack.into()
                });
            }
            (HqRequest::TakeDocuments(given), Some(_)) => {
                self.replies.spawn_blocking(move || {
                    let taken = store.take_documents(&given);
                    or_refused(taken.map(HqEvent::DocumentsBack)).into()
                });
            }
            (HqRequest::TakeChanges(changes), Some(log)) => {
                self.replies.spawn_blocking(move || {
                    let taken = store.take_changes(peer, &log, changes);
                    or_refused(taken.map(HqEvent::ChangesTaken)).into()
                });
            }
            (HqRequest::ReadDocuments { cursor, sent }, Some(log)) => {
                self.replies.spawn_blocking(move || {
                    let batch = store.documents_since(peer, &log, cursor, &sent);
                    or_refused(batch.map(HqEvent::DocumentsRead)).into()
                });
            }
            (HqRequest::LookUp(text), Some(_)) => {
                self.replies.spawn_blocking(move || HqEvent::Found(store.look_up(&text)).into());
            }
            (HqRequest::Handle(items), Some(_)) => {
                self.replies.spawn(async move {
                    let handled = store.handle_items(peer.site, items).await;
                    or_refused(handled.map(|()| HqEvent::Handled)).into()
                });
            }
            (HqRequest::ReadPostings(asked), Some(log)) => {
                self.replies.spawn_blocking(move || {
                    or_refused(store.postings(&log, asked).map(HqEvent::PostingsRead)).into()
                });
            }
            (request, None) => unreachable!("{request:?} comes after the log was opened"),
        }
    }

    fn open(&mut self, hello: &Hello) {
        let (store, peer, log) = (Arc::clone(&self.store), self.peer, hello.log);
        self.log = Some(log);
        self.posted = store.posted(&log).ok();
        let news = LinkNews::Connected {
            program: hello.program.clone(),
            announced: hello.position,
            clock_ahead_ms: hello.time.0.saturating_sub(self.clock.now().0),
            witness: hello.witness.map(Box::new),
        };
        if let Some(known) = store.asks_back(hello.state) {
            let moment = self.moment();
            self.session.handle_event(HqEvent::AskBack(known), moment);
        }
        if let Some(lives) = store.document_lives() {
            let moment = self.moment();
            self.session.handle_event(HqEvent::AskDocuments(lives), moment);
        }
        let witness = hello.witness;
        self.replies.spawn(async move {
            // Before anything that it brings is numbered.
            if let Some(witness) = witness {
                store.hear_witness(witness).await;
            }
            let opening = tokio::task::spawn_blocking(move || {
                let opened = store.open_log(peer, &log);
                if opened.is_ok() {
                    store.note_link(peer, Some(&log), news);
                }
                or_refused(opened.map(HqEvent::Opened))
            });
            opening.await.unwrap_or_else(|_| store_panicked()).into()
        });
    }

    /// The books of a branch are told of once its facts lie there.
    fn follow(&mut self, place: Place) {
        if self.branch.is_none_or(|before| before.log != place.log) {
            self.posted = self.store.posted(&place.log).ok();
        }
        self.branch = Some(place);
    }

    fn quality(&self) -> Quality {
        let path = self.connection.stats().path;
        Quality {
            address: self.connection.remote_address(),
            rtt: path.rtt,
            sent: path.sent_packets,
            lost: path.lost_packets,
        }
    }

    fn moment(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn now(&self) -> Now {
        Now { moment: self.moment(), wall: self.clock.now() }
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.started + Duration::from_millis(moment.0)
    }
}

fn or_refused(reply: Result<HqEvent, Refusal>) -> HqEvent {
    reply.unwrap_or_else(HqEvent::Refused)
}

fn store_panicked() -> HqEvent {
    let text = "HQ failed while storing: try again later, and tell HQ to look at its log";
    HqEvent::Refused(Refusal::new(Code::STORAGE, text))
}

/// Waits for a change; for ever where there is nothing that could change any more.
async fn changed<T>(watched: Option<&mut watch::Receiver<T>>) {
    if let Some(watched) = watched
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
