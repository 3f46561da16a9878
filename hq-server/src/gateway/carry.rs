//! A neighbour hands over other sites' bundles on a stream of its own connection, and takes HQ's
//! answers along. Knows no QUIC beyond the stream. Invariants: a bundle counts by its own
//! signature alone, whoever brings it; a carrier is told that HQ has a bundle only once its facts
//! are durable; who brings something forged is named.

use std::collections::{BTreeMap, VecDeque};
use std::io::Cursor;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::ids::{DeviceNo, LogId, Seq};
use shared::sync::bundle::{BundleError, Direction, Seed};
use shared::sync::carry::{
    CarryEnd, CarryEvent, CarryRequest, CarrySession, Declined, Gift, Meet, Offer,
};
use shared::sync::{Code, Frame, Moment, Now, SignedAcknowledgement};
use tokio::time::Instant;

use super::bundle::{BundleRefused, Desk, Known, Taken};
use super::link::{Incoming, Outgoing, PROGRAM};
use super::store::{HqStore, LinkNews, Peer};

/// How long a carrier waits until the books have what it brought, before HQ answers without.
const POSTING: Duration = Duration::from_secs(20);

/// How long a last frame may take to reach the carrier.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most bytes of keyed state in an answer that is carried: the rest goes with the next one.
const ANSWER_BYTES: usize = 1024 * 1024;

/// The most bytes of bundles that are kept until their carriers bring the rest.
const UNFINISHED_BYTES: usize = 32 * 1024 * 1024;

/// What came of a bundle.
type Beginning = (Offer, Vec<u8>);

/// What came of bundles over streams that ended: one of each carrier, the newest ones. Nobody has
/// proved it, so it is for nobody but who brought it.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    kept: Mutex<VecDeque<(DeviceNo, Beginning)>>,
}

/// HQ's side of a meeting, whatever it goes over.
pub struct Counter<'a, S> {
    desk: Desk<'a, S>,
    carrier: Peer,
    /// HQ's newest word on each log, to be said.
    says: BTreeMap<LogId, SignedAcknowledgement>,
    /// HQ's newest answer to each log, to be given.
    gives: BTreeMap<LogId, Gift>,
}

/// One meeting with a carrier.
pub(super) struct Meeting<'a, S> {
    counter: Counter<'a, S>,
    session: CarrySession,
    unfinished: &'a Unfinished,
    incoming: Incoming,
    outgoing: Outgoing,
    started: Instant,
}

impl Unfinished {
    fn park(&self, by: DeviceNo, beginning: Beginning) {
        let mut kept = self.kept();
        kept.retain(|(known, _)| *known != by);
        if beginning.1.len() > UNFINISHED_BYTES {
            // It would take the place of all others.
            return;
        }
        kept.push_back((by, beginning));
        let bytes = |kept: &VecDeque<(DeviceNo, Beginning)>| -> usize {
            kept.iter().map(|(_, (_, bytes))| bytes.len()).sum()
        };
        while bytes(&kept) > UNFINISHED_BYTES {
            kept.pop_front();
        }
    }

    fn take(&self, by: DeviceNo, offer: &Offer) -> Vec<u8> {
        let mut kept = self.kept();
        let place = kept.iter().position(|(known, (of, _))| (*known, of) == (by, offer));
        let found = place.and_then(|place| kept.remove(place));
        found.map_or_else(Vec::new, |(_, (_, bytes))| bytes)
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(DeviceNo, Beginning)>> {
        // It is whole after every operation.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, S: HqStore> Meeting<'a, S> {
    pub(super) fn new(
        desk: Desk<'a, S>,
        carrier: Peer,
        unfinished: &'a Unfinished,
        incoming: Incoming,
        outgoing: Outgoing,
    ) -> Self {
        Self {
            counter: Counter::new(desk, carrier),
            session: CarrySession::new(PROGRAM, Moment(0)),
            unfinished,
            incoming,
            outgoing,
            started: Instant::now(),
        }
    }

    /// Runs until either side leaves; the first frame was read already.
    pub(super) async fn run(mut self, first: Meet) {
        self.session.handle_frame(Frame::Meet(first), Moment(0));
        while self.turn().await {}
        if let Some(end @ (CarryEnd::Broken(_) | CarryEnd::Stalled)) = self.session.end() {
            tracing::warn!(site = %self.counter.carrier.site, "carried bundles: {end}");
        }
        if let Some(beginning) = self.session.into_unfinished() {
            self.unfinished.park(self.counter.carrier.device, beginning);
        }
    }

    /// Does what there is to do and waits for the next thing; whether there may be one.
    async fn turn(&mut self) -> bool {
        self.take_frames();
        while let Some(request) = self.session.poll_request() {
            if let Some(event) = self.perform(request).await {
                self.session.handle_event(event, self.moment());
            }
        }
        let now = Now { moment: self.moment(), wall: self.counter.desk.clock.now() };
        self.outgoing.fill(|| self.session.poll_frame(now));
        if self.session.end().is_some() && self.outgoing.is_empty() {
            let _ = tokio::time::timeout(FAREWELL, self.outgoing.finish()).await;
            return false;
        }
        let reads = self.session.end().is_none() && self.session.wants_frames();
        let due = self.session.timeout().map(|due| self.started + Duration::from_millis(due.0));
        tokio::select! {
            written = self.outgoing.write(), if !self.outgoing.is_empty() => written.is_ok(),
            read = self.incoming.read(), if reads => read.is_ok_and(|more| more),
            () = tokio::time::sleep_until(due.unwrap_or(self.started)), if due.is_some() => {
                self.session.handle_timeout(self.moment());
                true
            }
        }
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

    async fn perform(&mut self, request: CarryRequest) -> Option<CarryEvent> {
        match request {
            CarryRequest::Next => Some(self.counter.next_event()),
            CarryRequest::Judge(offer) => {
                let judged = self.counter.judge(&offer);
                let by = self.counter.carrier.device;
                Some(CarryEvent::Judged(judged.map(|()| self.unfinished.take(by, &offer))))
            }
            CarryRequest::Keep(offer, bytes) => {
                let taken = match self.counter.take(&offer, bytes).await {
                    Ok(taken) => taken,
                    Err(declined) => return Some(CarryEvent::Kept(Err(declined))),
                };
                if let Ok(mut posted) = self.counter.desk.store.posted(&taken.head.log) {
                    let reached = posted.wait_for(|posted| *posted >= taken.received);
                    drop(tokio::time::timeout(POSTING, reached).await);
                }
                self.counter.answer(&taken);
                // It leaves before there is anything else.
                self.session.handle_event(CarryEvent::Kept(Ok(())), self.moment());
                Some(CarryEvent::News)
            }
            // HQ knows its own word.
            CarryRequest::Note(_) => Some(CarryEvent::Noted(Ok(()))),
            CarryRequest::Given(_) | CarryRequest::Refused(..) => None,
        }
    }

    fn moment(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl<'a, S: HqStore> Counter<'a, S> {
    /// A meeting with a carrier begins.
    pub const fn new(desk: Desk<'a, S>, carrier: Peer) -> Self {
        Self { desk, carrier, says: BTreeMap::new(), gives: BTreeMap::new() }
    }

    /// What the carrier is told and given next.
    pub fn next_event(&mut self) -> CarryEvent {
        let says = std::mem::take(&mut self.says).into_values().collect();
        let give = self.gives.pop_first().map(|(_, gift)| gift);
        CarryEvent::Next(says, give)
    }

    /// Whether HQ takes a bundle.
    pub fn judge(&mut self, offer: &Offer) -> Result<(), Declined> {
        let judged = self.is_wanted(offer);
        if judged.as_ref().is_err_and(|declined| declined.code == Code::HELD) {
            self.say(&offer.head.log);
        }
        judged
    }

    fn is_wanted(&self, offer: &Offer) -> Result<(), Declined> {
        let decline =
            |held: Seq, code: Code, text: String| Err(Declined::new(offer, held, code, text));
        let head = offer.head;
        if head.direction != Direction::ToHq {
            let text = BundleError::WrongWay(head.direction).to_string();
            return decline(Seq::ZERO, Code::NOT_ALLOWED, text);
        }
        let Some(writer) = self.desk.store.writer_of(&head.log) else {
            let text = BundleRefused::UnknownLog(head.log).to_string();
            return decline(Seq::ZERO, Code::UNKNOWN_LOG, text);
        };
        let author = writer.peer.site;
        if author != self.carrier.site && !self.desk.store.may_carry(self.carrier.site, author) {
            let text = format!(
                "site {} may not carry the data of site {author}: HQ allows it with 'hq-server site carry'",
                self.carrier.site
            );
            return decline(Seq::ZERO, Code::NOT_ALLOWED, text);
        }
        if let Some(refusal) = self.desk.authority.revocation(writer.peer) {
            return decline(Seq::ZERO, refusal.code, refusal.text);
        }
        match self.desk.store.open_log(writer.peer, &head.log) {
            Ok(opened) if opened.cursor.last >= head.last && head.facts() > 0 => {
                decline(opened.cursor.last, Code::HELD, "HQ has these facts".to_owned())
            }
            Ok(opened) if opened.cursor.last < head.after => {
                let (has, after) = (opened.cursor.last, head.after);
                decline(has, Code::GAP, BundleRefused::Gap { has, after }.to_string())
            }
            Ok(_) => Ok(()),
            Err(refusal) => decline(Seq::ZERO, refusal.code, refusal.text),
        }
    }

    /// Takes a bundle: durable when it returns.
    pub async fn take(&mut self, offer: &Offer, bytes: Vec<u8>) -> Result<Taken, Declined> {
        let taken = self.desk.take(&mut Cursor::new(bytes), Some(self.carrier)).await;
        taken.map_err(|refused| {
            let declined = declined(offer, &refused);
            if declined.code == Code::FORGED {
                self.accuse(&declined.text);
            }
            declined
        })
    }

    /// Makes HQ's answer to a bundle that was taken.
    pub fn answer(&mut self, taken: &Taken) {
        let log = taken.head.log;
        if let Err(error) = self.make_answer(&log, taken.carried.known()) {
            tracing::warn!("no answer was made to a carried bundle: {error}");
            self.say(&log);
        }
    }

    fn make_answer(&mut self, log: &LogId, known: Known) -> Result<(), BundleRefused> {
        let mut seed = Seed([0; 32]);
        getrandom::fill(&mut seed.0).map_err(|error| std::io::Error::other(error.to_string()))?;
        let answer = self.desk.answer(log, known, &seed)?;
        let said = answer.acknowledgement();
        let mut bytes = Vec::new();
        answer.write(&mut bytes, Some(ANSWER_BYTES))?;
        self.says.insert(*log, said);
        self.gives.insert(*log, Gift::of(bytes)?);
        Ok(())
    }

    fn say(&mut self, log: &LogId) {
        if let Ok(said) = self.desk.store.acknowledgement(log) {
            self.says.insert(*log, said);
        }
    }

    /// People are told who brought it.
    fn accuse(&self, why: &str) {
        let text = format!("it brought a bundle that was changed on its way: {why}");
        tracing::warn!(site = %self.carrier.site, device = %self.carrier.device, "{text}");
        self.desk.store.note_link(self.carrier, None, LinkNews::Forged(text));
    }
}

fn declined(offer: &Offer, refused: &BundleRefused) -> Declined {
    let (held, code) = match refused {
        BundleRefused::Bundle(_) => (Seq::ZERO, Code::FORGED),
        BundleRefused::UnknownLog(_) => (Seq::ZERO, Code::UNKNOWN_LOG),
        BundleRefused::Gap { has, .. } => (*has, Code::GAP),
        BundleRefused::Refused(refusal) => (Seq::ZERO, refusal.code),
        BundleRefused::Io(_) => (Seq::ZERO, Code::STORAGE),
    };
    Declined::new(offer, held, code, refused.to_string())
}
