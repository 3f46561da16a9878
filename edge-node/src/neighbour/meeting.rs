//! Drives one meeting: moves frames between QUIC and the session, and its requests to the post.
//! Decides nothing itself. Invariant: requests are done one after the other, where they block
//! nobody else.

use std::sync::Arc;
use std::time::Duration;

use shared::sync::carry::{CarryEnd, CarryEvent, CarryRequest, CarrySession};
use shared::sync::{Moment, Now};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::post::{Counterpart, Peer, SharedPost};
use crate::link::{Incoming, Outgoing, PROGRAM, Wall};

/// How often the post is asked whether there is something to give.
const ASK: Duration = Duration::from_secs(1);

/// How long a last frame may take to reach the other side.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a meeting needs.
pub(super) struct Meeting {
    pub(super) post: SharedPost,
    pub(super) peer: Peer,
    /// The operator named it.
    pub(super) named: bool,
    pub(super) wall: Wall,
    /// This node has not reached HQ for a while.
    pub(super) away: watch::Receiver<bool>,
    /// It ends once nothing went either way for so long; `None` for as long as the connection.
    pub(super) idle: Option<Duration>,
}

struct Driver {
    meeting: Meeting,
    session: CarrySession,
    with: Counterpart,
    incoming: Incoming,
    outgoing: Outgoing,
    started: Instant,
}

impl Meeting {
    /// Runs until either side leaves, the stream ends or `leave` says so; why, where a person
    /// should know.
    pub(super) async fn run(
        self,
        incoming: Incoming,
        outgoing: Outgoing,
        leave: &mut watch::Receiver<bool>,
    ) -> Option<String> {
        let with = Counterpart::new(self.peer, self.named);
        let session = CarrySession::new(PROGRAM, Moment(0));
        let started = Instant::now();
        let driver = Driver { meeting: self, session, with, incoming, outgoing, started };
        driver.run(leave).await
    }
}

impl Driver {
    async fn run(mut self, leave: &mut watch::Receiver<bool>) -> Option<String> {
        let mut changes = self.meeting.post.depot.changes();
        let mut ask = tokio::time::interval(ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_frames();
            while let Some(request) = self.session.poll_request() {
                self.perform(request).await;
            }
            let now = Now { moment: self.moment(), wall: self.meeting.wall.now() };
            self.outgoing.fill(|| self.session.poll_frame(now));
            if self.session.end().is_some() && self.outgoing.is_empty() {
                let _ = tokio::time::timeout(FAREWELL, self.outgoing.finish()).await;
                break;
            }
            let lives = self.session.end().is_none();
            let reads = lives && self.session.wants_frames();
            let due = self.session.timeout().map(|due| self.started + Duration::from_millis(due.0));
            let goes_on = tokio::select! {
                written = self.outgoing.write(), if !self.outgoing.is_empty() => written.is_ok(),
                read = self.incoming.read(), if reads => read.is_ok_and(|more| more),
                _ = changes.changed(), if lives => self.hear(CarryEvent::News),
                _ = ask.tick(), if lives => self.ask(),
                () = stopped(leave), if lives => self.hear(CarryEvent::Leave),
                () = tokio::time::sleep_until(due.unwrap_or(self.started)), if due.is_some() => {
                    self.session.handle_timeout(self.moment());
                    true
                }
            };
            if !goes_on {
                break;
            }
        }
        let why = match self.session.end() {
            None | Some(CarryEnd::Left | CarryEnd::PeerLeft(_)) => None,
            Some(end) => Some(end.to_string()),
        };
        if let Some(unfinished) = self.session.into_unfinished() {
            self.meeting.post.park(&self.with, unfinished);
        }
        why
    }

    fn hear(&mut self, event: CarryEvent) -> bool {
        self.session.handle_event(event, self.moment());
        true
    }

    fn ask(&mut self) -> bool {
        if let Some(refusal) = self.meeting.post.revocation(self.meeting.peer) {
            return self.hear(CarryEvent::Noted(Err(refusal)));
        }
        let is_over = self.meeting.idle.is_some_and(|idle| self.with.active.elapsed() > idle);
        self.hear(if is_over { CarryEvent::Leave } else { CarryEvent::News })
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

    async fn perform(&mut self, request: CarryRequest) {
        let (post, away) = (Arc::clone(&self.meeting.post), *self.meeting.away.borrow());
        let (peer, named) = (self.meeting.peer, self.meeting.named);
        let mut with = std::mem::replace(&mut self.with, Counterpart::new(peer, named));
        let done = tokio::task::spawn_blocking(move || {
            let event = post.perform(&mut with, away, request);
            (with, event)
        });
        let (with, event) = done.await.expect("the post does not panic");
        self.with = with;
        if let Some(event) = event {
            self.hear(event);
        }
    }

    fn moment(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Waits until it is time to leave; also where whoever could say so is gone.
pub(super) async fn stopped(leave: &mut watch::Receiver<bool>) {
    let _ = leave.wait_for(|leaves| *leaves).await;
}
