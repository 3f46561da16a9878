//! What a meeting may give, take and believe: this node's own log, what lies here for others, HQ's
//! words. Knows no connection. Invariants: nothing is kept for others that HQ does not let this
//! site carry, or that its author did not sign; HQ's words count by HQ's signature alone; whoever
//! brings something forged is named.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::VerifyingKey;
use shared::catalogue::{Catalogue, SiteLog};
use shared::fact::Kind;
use shared::fact::statement::Statement;
use shared::ids::{DeviceNo, LogId, Seq, SiteNo};
use shared::sync::bundle::{BundleDigest, BundleError, BundleScan, Direction, read_note};
use shared::sync::carry::{CARRIED_BYTES_MAX, CarryEvent, CarryRequest, Declined, Gift, Offer};
use shared::sync::{Code, Refusal, SignedAcknowledgement};
use shared::time::Timestamp;
use tokio::time::Instant;

use super::depot::{Depot, Held, short};
use super::dispatch::{self, Dispatch};
use super::live::Installation;
use crate::bundle::{Bundles, ExportError, ImportError, Keys, Since};
use crate::journal::Journal;
use crate::link::Wall;
use crate::record::{Arrival, Arrivals};

/// The most facts, and the most seals, of a bundle of this node's: what a lost connection costs.
const PART_MAX: usize = 2_048;

/// Facts that are recorded meanwhile are gathered for so long.
const GATHER: std::time::Duration = std::time::Duration::from_secs(1);

/// HQ is asked for its word after so long without one.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(15 * 60);

/// What was taken, or never will be, is not offered again over one connection.
const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// HQ, over this node's own connection.
    Hq,
    /// Another installation of the same HQ.
    Neighbour(SiteNo, DeviceNo),
}

/// A neighbour that has this node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarriedBy {
    /// Its site.
    pub site: SiteNo,
    /// It has facts up to this one.
    pub last: Seq,
    /// Since when, by this node's clock.
    pub at: Timestamp,
}

/// See the module; clones of the `Arc` share everything.
#[derive(Debug)]
pub struct Post {
    /// What lies here for others.
    pub depot: Depot,
    journal: Journal,
    bundles: Bundles,
    keys: Keys,
    wall: Wall,
    notes: Mutex<Notes>,
    dispatch: Mutex<Dispatch>,
    arrivals: Arrivals,
}

#[derive(Debug, Default)]
struct Notes {
    carried_by: BTreeMap<Installation, CarriedBy>,
    /// What is wrong with a neighbour, for people.
    accused: BTreeMap<SiteNo, String>,
    /// Who came although HQ has revoked them.
    turned_away: BTreeSet<Installation>,
    /// HQ's newest answer that was taken, and when.
    answer: Option<(BundleDigest, Instant)>,
}

/// What one meeting remembers.
#[derive(Debug)]
pub struct Counterpart {
    pub(super) peer: Peer,
    /// The operator named it: it is to carry for this node.
    named: bool,
    /// HQ's words that it was told, by when HQ said them.
    said: BTreeMap<LogId, Timestamp>,
    /// What it was offered, and from when on again: a refusal may be over after a while.
    offered: BTreeMap<BundleDigest, Instant>,
    /// It has this node's log up to here.
    own: Seq,
    /// The next bundle of this node's log is made then.
    own_due: Instant,
    /// HQ is asked for its word then, where there is nothing else to send.
    ask_due: Instant,
    /// When anything was last given or taken.
    pub(super) active: Instant,
}

impl Counterpart {
    /// A meeting begins. `named`: the operator named the other side as one that carries.
    pub fn new(peer: Peer, named: bool) -> Self {
        let now = Instant::now();
        Self {
            peer,
            named,
            said: BTreeMap::new(),
            offered: BTreeMap::new(),
            own: Seq::ZERO,
            own_due: now,
            ask_due: now,
            active: now,
        }
    }

    /// Whether it was not offered that, or long enough ago.
    fn is_fresh(&self, offer: &Offer) -> bool {
        self.offered.get(&offer.digest).is_none_or(|again| *again <= Instant::now())
    }

    /// What it did not take it may take after a while.
    fn offer_again(&mut self, offer: &Offer) {
        self.offered.insert(offer.digest, Instant::now() + 10 * GATHER);
    }
}

impl Post {
    /// The post of a node.
    pub fn new(
        depot: Depot,
        journal: Journal,
        bundles: Bundles,
        keys: Keys,
        wall: Wall,
        arrivals: Arrivals,
    ) -> Self {
        let (notes, dispatch) = (Mutex::default(), Mutex::default());
        let post = Self { depot, journal, bundles, keys, wall, notes, dispatch, arrivals };
        post.read_notes_again();
        post
    }

    /// Does what a meeting asks. `away`: this node has not reached HQ for a while. May block.
    pub fn perform(
        &self,
        with: &mut Counterpart,
        away: bool,
        request: CarryRequest,
    ) -> Option<CarryEvent> {
        if let Some(refusal) = self.revocation(with.peer) {
            return Some(CarryEvent::Noted(Err(refusal)));
        }
        if request != CarryRequest::Next {
            with.active = Instant::now();
        }
        match request {
            CarryRequest::Next => {
                let said = self.next_words(with);
                let gift = self.next_gift(with, away);
                Some(CarryEvent::Next(said, gift))
            }
            CarryRequest::Judge(offer) => Some(CarryEvent::Judged(self.judge(with, &offer))),
            CarryRequest::Keep(offer, bytes) => {
                Some(CarryEvent::Kept(self.keep(with, &offer, bytes)))
            }
            CarryRequest::Note(signed) => Some(CarryEvent::Noted(self.note(with, signed))),
            CarryRequest::Given(offer) => {
                self.given(with, &offer);
                None
            }
            CarryRequest::Refused(offer, declined) => {
                self.refused(with, &offer, &declined);
                None
            }
        }
    }

    /// A meeting is over in the middle of a bundle: the rest may come over the next connection.
    pub fn park(&self, with: &Counterpart, beginning: (Offer, Vec<u8>)) {
        self.depot.park(with.peer, beginning);
    }

    /// Neighbours that have this node's log beyond what HQ acknowledged.
    pub(super) fn carried_by(&self) -> Vec<CarriedBy> {
        let (received, catalogue) = (self.received(), self.journal.catalogue());
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        // HQ takes nothing of whom it has revoked.
        let counts = |(site, device): &Installation| !catalogue.is_revoked(*site, *device);
        let carried =
            notes.carried_by.iter().filter(|(by, _)| counts(by)).map(|(_, carried)| carried);
        carried.filter(|carried| carried.last > received).copied().collect()
    }

    /// What somebody is told whom HQ has revoked; `None` for anybody else. People are told, too.
    pub(super) fn revocation(&self, peer: Peer) -> Option<Refusal> {
        let Peer::Neighbour(site, device) = peer else { return None };
        if !self.journal.catalogue().is_revoked(site, device) {
            return None;
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.turned_away.insert((site, device)) {
            tracing::warn!(%site, %device, "a neighbour is turned away: HQ has revoked it");
        }
        let text = format!(
            "HQ has revoked the installation {device} of site {site}: neighbours take nothing from it \
             and give it nothing; ask HQ for a code ('hq-server site code') and enrol anew"
        );
        Some(Refusal::new(Code::REVOKED, text))
    }

    /// Who came although HQ has revoked them.
    pub(super) fn turned_away(&self) -> Vec<Installation> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.turned_away.iter().copied().collect()
    }

    /// Whether a dispatch note lies here for somebody else.
    pub fn has_notes(&self) -> bool {
        let own = Direction::ToSite(self.journal.log());
        self.depot.notes().iter().any(|offer| offer.head.direction != own)
    }

    /// What is wrong with neighbours.
    pub fn accused(&self) -> BTreeMap<SiteNo, String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).accused.clone()
    }

    /// Whether a site is worth meeting although nobody named it: HQ lets the one carry for the other.
    pub(super) fn may_meet(&self, site: SiteNo) -> Result<(), String> {
        let (own, catalogue) = (self.journal.genesis().site, self.journal.catalogue());
        let is_allowed = catalogue.may_carry(own, site) || catalogue.may_carry(site, own);
        if site == own || is_allowed {
            return Ok(());
        }
        Err(format!(
            "HQ lets neither of the sites {own} and {site} carry for the other: it allows it with \
             'hq-server site carry'"
        ))
    }

    /// Who wrote a bundle that lies here.
    pub(super) fn author(&self, held: &Held) -> Option<SiteLog> {
        self.journal.catalogue().site_log(&held.offer.head.log).copied()
    }

    /// How far HQ has this node's log.
    fn received(&self) -> Seq {
        let own = self.journal.acknowledgement().map(|signed| signed.acknowledgement);
        let own = own.filter(|known| known.log == self.journal.log());
        own.map_or(Seq::ZERO, |known| known.received.last)
    }

    /// HQ's words that the other side was not told. HQ knows its own.
    fn next_words(&self, with: &mut Counterpart) -> Vec<SignedAcknowledgement> {
        if with.peer == Peer::Hq {
            return Vec::new();
        }
        let own = self.journal.acknowledgement();
        let words = self.depot.words().into_iter().chain(own);
        words
            .filter(|signed| {
                let said = signed.acknowledgement;
                let before = with.said.insert(said.log, said.at);
                before.is_none_or(|before| before < said.at)
            })
            .collect()
    }

    fn next_gift(&self, with: &mut Counterpart, away: bool) -> Option<Gift> {
        let next = match with.peer {
            Peer::Hq => self.next_held(with, None),
            Peer::Neighbour(site, _) => {
                let note = self.next_own_note(with);
                let note = note.or_else(|| self.next_note(with, site, away));
                let own = note.or_else(|| if away { self.next_own(with) } else { None });
                let back = own.or_else(|| self.next_answer(with));
                back.or_else(|| if away { self.next_held(with, Some(site)) } else { None })
            }
        };
        if let Some(gift) = &next {
            with.offered.insert(gift.offer.digest, Instant::now() + A_DAY);
        }
        next
    }

    /// A bundle of another site's, on its way to HQ; not back to the site that wrote it.
    fn next_held(&self, with: &Counterpart, not_of: Option<SiteNo>) -> Option<Gift> {
        let catalogue = self.journal.catalogue();
        let author = |held: &Held| catalogue.site_log(&held.offer.head.log).map(|log| log.site);
        let held = self.depot.held().into_iter();
        let fresh = held.filter(|held| with.is_fresh(&held.offer));
        let mut goes = fresh.filter(|held| not_of.is_none() || author(held) != not_of);
        goes.find_map(|held| self.read(&held.offer))
    }

    /// HQ's answer to a site, on its way back.
    fn next_answer(&self, with: &Counterpart) -> Option<Gift> {
        let answers = self.depot.answers().into_iter();
        let mut fresh = answers.filter(|offer| with.is_fresh(offer));
        fresh.find_map(|offer| self.read(&offer))
    }

    fn read(&self, offer: &Offer) -> Option<Gift> {
        match self.depot.read(offer) {
            Ok(gift) => gift,
            Err(error) => {
                tracing::warn!("a carried bundle can't be read: {error}");
                None
            }
        }
    }

    /// The next part of this node's own log, sealed to HQ.
    fn next_own(&self, with: &mut Counterpart) -> Option<Gift> {
        let after = with.own.max(self.received());
        let now = Instant::now();
        if self.received() >= self.journal.position().last {
            return self.next_question(with);
        }
        if now < with.own_due || self.journal.position().last <= after {
            return None;
        }
        match self.export(after) {
            Ok(gift) => {
                let end = self.journal.position().last;
                if gift.as_ref().is_none_or(|gift| gift.offer.head.last >= end) {
                    with.own_due = now + GATHER;
                }
                gift
            }
            Err(error) => {
                tracing::warn!("no bundle was made for a neighbour: {error}");
                with.own_due = now + 60 * GATHER;
                None
            }
        }
    }

    /// HQ has everything, and what it states meanwhile comes with an answer alone: a bundle without
    /// facts asks for one.
    fn next_question(&self, with: &mut Counterpart) -> Option<Gift> {
        let now = Instant::now();
        let answered = self.notes.lock().unwrap_or_else(PoisonError::into_inner).answer;
        let is_fresh = answered.is_some_and(|(_, at)| at + ASK_AGAIN > now);
        if now < with.ask_due || is_fresh {
            return None;
        }
        with.ask_due = now + ASK_AGAIN;
        let made = self.bundles.export(Since::Fact(self.journal.sealed())).and_then(|export| {
            let mut bytes = Vec::new();
            export.write(&mut bytes)?;
            Ok(Gift::of(bytes)?)
        });
        made.inspect_err(|error| tracing::warn!("HQ is not asked by way of a neighbour: {error}"))
            .ok()
    }

    fn export(&self, after: Seq) -> Result<Option<Gift>, ExportError> {
        let mut max = PART_MAX;
        loop {
            let Some(export) = self.bundles.export_part(after, max)? else { return Ok(None) };
            let mut bytes = Vec::new();
            export.write(&mut bytes)?;
            if bytes.len() as u64 <= CARRIED_BYTES_MAX || max == 1 {
                return Ok(Some(Gift::of(bytes)?));
            }
            max /= 2;
        }
    }

    fn judge(&self, with: &mut Counterpart, offer: &Offer) -> Result<Vec<u8>, Declined> {
        let head = offer.head;
        let decline =
            |held: Seq, code: Code, text: &str| Err(Declined::new(offer, held, code, text));
        let is_own = head.log == self.journal.log();
        match head.direction {
            Direction::ToHq if is_own => {
                let last = self.journal.position().last;
                return decline(last, Code::HELD, "this node wrote it");
            }
            Direction::FromHq if is_own => {
                let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
                if notes.answer.is_some_and(|(known, _)| known == offer.digest) {
                    return decline(head.last, Code::HELD, "this node has this answer");
                }
                return Ok(self.depot.parked(with.peer, offer));
            }
            Direction::ToSite(receiver) => return self.judge_note(with.peer, offer, receiver),
            _ => {}
        }
        let catalogue = self.journal.catalogue();
        let author = self.carried_log(&catalogue, &head.log);
        let author = author.map_err(|(code, text)| Declined::new(offer, Seq::ZERO, code, text))?;
        if head.direction == Direction::FromHq {
            return if self.depot.wants_answer(&head.log) {
                Ok(self.depot.parked(with.peer, offer))
            } else {
                decline(head.last, Code::HELD, "as much is here, or HQ's word to it is missing")
            };
        }
        let covered = self.depot.covered(&head.log, head.after);
        let asks = head.facts() == 0;
        if asks && self.depot.is_asked(&head.log, head.last) || !asks && covered >= head.last {
            // Whoever offers it may not know that HQ has it.
            with.said.remove(&head.log);
            return decline(covered, Code::HELD, "these facts are here, or at HQ");
        }
        tracing::debug!(site = %author.site, "bundle {} comes", short(&offer.digest));
        match self.depot.make_room(offer.bytes) {
            Ok(()) => Ok(self.depot.parked(with.peer, offer)),
            Err(error) => decline(Seq::ZERO, Code::STORAGE, &error.to_string()),
        }
    }

    /// Who wrote a log, if this site may carry it.
    fn carried_log(&self, catalogue: &Catalogue, log: &LogId) -> Result<SiteLog, (Code, String)> {
        let own = self.journal.genesis().site;
        let author = known_log(catalogue, log)?;
        if author.site == own || catalogue.may_carry(own, author.site) {
            return Ok(author);
        }
        let text = format!(
            "site {own} may not carry the data of site {}: HQ allows it with 'hq-server site carry'",
            author.site
        );
        Err((Code::NOT_ALLOWED, text))
    }

    fn keep(&self, with: &Counterpart, offer: &Offer, bytes: Vec<u8>) -> Result<(), Declined> {
        let decline = |code: Code, text: String| Declined::new(offer, Seq::ZERO, code, text);
        let forged = |error: BundleError| {
            self.accuse(with, &error.to_string());
            decline(Code::FORGED, error.to_string())
        };
        let gift = Gift::of(bytes).map_err(forged)?;
        if gift.offer != *offer {
            return Err(forged(BundleError::BadSignature));
        }
        let head = offer.head;
        if head.direction == Direction::FromHq && head.log == self.journal.log() {
            return self.take_answer(&gift).map_err(|error| match error {
                ImportError::Bundle(error) => forged(error),
                ImportError::Store(_) | ImportError::Io(_) => {
                    decline(Code::STORAGE, error.to_string())
                }
                error => decline(Code::PROTOCOL, error.to_string()),
            });
        }
        let catalogue = self.journal.catalogue();
        let author = match head.direction {
            Direction::ToSite(receiver) if receiver == self.journal.log() => {
                known_log(&catalogue, &head.log)
            }
            _ => self.carried_log(&catalogue, &head.log),
        };
        let author = author.map_err(|(code, text)| decline(code, text))?;
        let key = VerifyingKey::from_bytes(&author.public_key);
        let key = key.map_err(|_| decline(Code::UNKNOWN_LOG, "a log without a key".into()))?;
        let kept = match head.direction {
            Direction::ToHq => {
                prove(&gift, &key).map_err(forged)?;
                self.depot.keep(&gift, self.wall.now())
            }
            Direction::ToSite(receiver) => {
                prove(&gift, &key).map_err(forged)?;
                let told = if receiver == self.journal.log() {
                    self.read_note(&gift, &author, &key).map(Some).map_err(forged)?
                } else {
                    None
                };
                let kept = self.depot.keep_note(&gift);
                // Nobody is shown what a restart would forget.
                if let (Ok(()), Some(told)) = (&kept, told) {
                    self.arrivals.announce(head.log, told);
                }
                kept
            }
            Direction::FromHq => {
                prove(&gift, &self.keys.hq).map_err(forged)?;
                self.depot.keep_answer(&gift)
            }
        };
        kept.map_err(|error| decline(Code::STORAGE, error.to_string()))
    }

    /// HQ's answer to this node came.
    fn take_answer(&self, gift: &Gift) -> Result<(), ImportError> {
        let imported = self.bundles.import(&mut Cursor::new(&gift.bytes[..]))?;
        if let Some(lost) = imported.lost() {
            tracing::warn!("{lost}");
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.answer = Some((gift.offer.digest, Instant::now()));
        Ok(())
    }

    fn note(&self, with: &mut Counterpart, signed: SignedAcknowledgement) -> Result<(), Refusal> {
        let said = signed.acknowledgement;
        if signed.verify(&self.keys.hq).is_err() {
            let text = "an acknowledgement came that is not signed by HQ";
            self.accuse(with, text);
            return Err(Refusal::new(Code::FORGED, text));
        }
        if said.log == self.journal.log() {
            // What is wrong with it concerns this node and HQ, not who brought it.
            if let Err(error) = self.bundles.take_word(signed) {
                tracing::warn!("HQ's word that a neighbour brought: {error}");
            }
            return Ok(());
        }
        let known = with.said.entry(said.log).or_insert(said.at);
        *known = said.at.max(*known);
        let own = self.journal.acknowledgement();
        let copies = own.is_some_and(|own| own.acknowledgement.safe > Seq::ZERO);
        if self.carried_log(&self.journal.catalogue(), &said.log).is_ok()
            && let Err(error) = self.depot.note(signed, copies)
        {
            tracing::warn!("HQ's word to a neighbour can't be kept: {error}");
        }
        Ok(())
    }

    fn given(&self, with: &mut Counterpart, offer: &Offer) {
        let head = offer.head;
        match (with.peer, head.direction) {
            (Peer::Neighbour(site, device), Direction::ToHq) if head.log == self.journal.log() => {
                self.own_is_there(with, (site, device), head.last);
            }
            (Peer::Neighbour(site, _), Direction::FromHq | Direction::ToSite(_)) => {
                let to = match head.direction {
                    Direction::ToSite(receiver) => receiver,
                    _ => head.log,
                };
                let catalogue = self.journal.catalogue();
                let is_there = catalogue.site_log(&to).is_some_and(|log| log.site == site);
                if is_there && let Err(error) = self.depot.delivered(offer) {
                    tracing::warn!("what was delivered stays: {error}");
                }
            }
            // HQ's word says what it has, and until when it has to stay here.
            _ => {}
        }
    }

    /// A dispatch note: for this node, or to be carried on.
    fn judge_note(&self, by: Peer, offer: &Offer, receiver: LogId) -> Result<Vec<u8>, Declined> {
        let decline = |code: Code, text: String| Declined::new(offer, Seq::ZERO, code, text);
        let (catalogue, head) = (self.journal.catalogue(), offer.head);
        let author = if receiver == self.journal.log() {
            known_log(&catalogue, &head.log)
        } else {
            self.carried_log(&catalogue, &head.log)
        };
        author.map_err(|(code, text)| decline(code, text))?;
        let noted = self.depot.noted(head.log, receiver);
        if head.log == self.journal.log() || noted >= head.last {
            let text = "as new a note is here, or was";
            return Err(Declined::new(offer, noted, Code::HELD, text));
        }
        // To this node there is one of each log that HQ has told of.
        if receiver != self.journal.log() {
            let room = self.depot.make_room_for_note(offer);
            room.map_err(|error| decline(Code::STORAGE, error.to_string()))?;
        }
        Ok(self.depot.parked(by, offer))
    }

    /// What a sender tells of goods on their way here.
    fn read_note(
        &self,
        gift: &Gift,
        author: &SiteLog,
        key: &VerifyingKey,
    ) -> Result<Vec<Arrival>, BundleError> {
        let facts = read_note(&gift.bytes, key, &self.keys.own)?;
        Ok(dispatch::arrivals(&facts, author.site, self.journal.genesis().site))
    }

    /// Notes to this node that came before the program started.
    fn read_notes_again(&self) {
        let (own, catalogue) = (self.journal.log(), self.journal.catalogue());
        let to_own = |offer: &Offer| offer.head.direction == Direction::ToSite(own);
        let notes: Vec<_> = self.depot.notes().into_iter().filter(to_own).collect();
        for offer in &notes {
            let author = catalogue.site_log(&offer.head.log);
            let key = author.and_then(|log| VerifyingKey::from_bytes(&log.public_key).ok());
            let (Some(author), Some(key), Some(gift)) = (author, key, self.read(offer)) else {
                continue;
            };
            match self.read_note(&gift, author, &key) {
                Ok(told) => self.arrivals.announce(offer.head.log, told),
                Err(error) => tracing::warn!("a dispatch note can't be read: {error}"),
            }
        }
        if !notes.is_empty() {
            let received = self.journal.for_each_fact(Seq(1), |_, fact| {
                if fact.kind() == Some(Kind::TransferReceive)
                    && let Ok(statement) = Statement::parse(fact)
                    && let Some(ship) = statement.received_ship()
                {
                    self.arrivals.receive(ship);
                }
                ControlFlow::Continue(())
            });
            if let Err(error) = received {
                tracing::warn!("what was received can't be looked through: {error}");
            }
        }
    }

    /// This node's own dispatch notes: what it has shipped lately.
    fn next_own_note(&self, with: &Counterpart) -> Option<Gift> {
        let catalogue = self.journal.catalogue();
        let mut dispatch = self.dispatch.lock().unwrap_or_else(PoisonError::into_inner);
        let gifts = dispatch.notes(&self.journal, &catalogue, &self.keys, self.wall.now());
        match gifts {
            Ok(gifts) => gifts.iter().find(|gift| with.is_fresh(&gift.offer)).cloned(),
            Err(error) => {
                tracing::warn!("no dispatch note was made: {error}");
                None
            }
        }
    }

    /// Another site's dispatch note, on its way to its receiver.
    fn next_note(&self, with: &Counterpart, site: SiteNo, away: bool) -> Option<Gift> {
        let catalogue = self.journal.catalogue();
        let goes = |offer: &Offer| {
            let Direction::ToSite(receiver) = offer.head.direction else { return false };
            let site_of = |log: &LogId| catalogue.site_log(log).map(|log| log.site);
            let is_fresh = with.is_fresh(offer);
            let is_there = site_of(&receiver) == Some(site);
            let is_back = site_of(&offer.head.log) == Some(site) || receiver == self.journal.log();
            is_fresh && !is_back && (away || is_there)
        };
        self.depot.notes().iter().filter(|offer| goes(offer)).find_map(|offer| self.read(offer))
    }

    fn own_is_there(&self, with: &mut Counterpart, by: Installation, last: Seq) {
        with.own = with.own.max(last);
        let (site, at) = (by.0, self.wall.now());
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = notes.carried_by.entry(by).or_insert(CarriedBy { site, last, at });
        if known.last < last {
            *known = CarriedBy { site, last, at };
        }
    }

    fn refused(&self, with: &mut Counterpart, offer: &Offer, declined: &Declined) {
        if declined.code != Code::HELD {
            with.offer_again(offer);
        }
        let own = self.journal.log();
        let is_own = offer.head.log == own && offer.head.direction == Direction::ToHq;
        match (with.peer, declined.code) {
            (Peer::Neighbour(site, device), Code::HELD) if is_own => {
                let by = (site, device);
                self.own_is_there(with, by, declined.held.min(self.journal.position().last));
                with.own_due = Instant::now();
            }
            (_, Code::HELD) => {}
            (Peer::Neighbour(..), _) if is_own => {
                if with.named {
                    let why = format!("it does not carry for this node: {}", declined.text);
                    self.accuse(with, &why);
                }
                with.own_due = Instant::now() + 10 * GATHER;
            }
            (Peer::Neighbour(..), _) if offer.head.direction != Direction::ToHq => {}
            (peer, _) => self.not_taken(offer, declined, matches!(peer, Peer::Hq)),
        }
    }

    /// A bundle of another site's was not taken further on. What a neighbour says of it is nothing to
    /// go by: it is kept for HQ.
    fn not_taken(&self, offer: &Offer, declined: &Declined, by_hq: bool) {
        tracing::warn!("bundle {} is not taken: {}", short(&offer.digest), declined.text);
        self.depot.note_problem(offer, &declined.text);
        let is_lost = match declined.code {
            Code::FORGED => !self.is_still_good(offer),
            Code::REVOKED | Code::FORK | Code::BAD_FACTS => by_hq,
            _ => false,
        };
        if is_lost && let Err(error) = self.depot.drop_bundle(offer) {
            tracing::warn!("a bundle that nobody takes stays: {error}");
        }
    }

    /// Whether a bundle is what its author signed; a disk may have changed it.
    fn is_still_good(&self, offer: &Offer) -> bool {
        let Some(gift) = self.read(offer) else { return false };
        let catalogue = self.journal.catalogue();
        let author = catalogue.site_log(&offer.head.log);
        let key = author.and_then(|log| VerifyingKey::from_bytes(&log.public_key).ok());
        key.is_some_and(|key| prove(&gift, &key).is_ok())
    }

    fn accuse(&self, with: &Counterpart, why: &str) {
        let Peer::Neighbour(site, device) = with.peer else {
            return tracing::warn!("HQ: {why}");
        };
        tracing::warn!(%site, %device, "a neighbour: {why}");
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.accused.insert(site, why.to_owned());
    }
}

/// Who writes a log; nothing of whom HQ has revoked is taken any more.
fn known_log(catalogue: &Catalogue, log: &LogId) -> Result<SiteLog, (Code, String)> {
    let Some(author) = catalogue.site_log(log) else {
        let text = format!("HQ has not told this site whose log {} is", log.short());
        return Err((Code::UNKNOWN_LOG, text));
    };
    if author.revoked {
        let SiteLog { site, device, .. } = author;
        let text =
            format!("HQ has revoked the installation {device} of site {site}, which wrote it");
        return Err((Code::REVOKED, text));
    }
    Ok(*author)
}

/// Proves that a bundle is its sender's.
fn prove(gift: &Gift, sender: &VerifyingKey) -> Result<(), BundleError> {
    let mut scan = BundleScan::new();
    scan.push(&gift.bytes)?;
    scan.finish()?.verify(sender).map(drop)
}

/// A post is shared by every meeting of a node.
pub(super) type SharedPost = Arc<Post>;

#[cfg(test)]
mod tests;
