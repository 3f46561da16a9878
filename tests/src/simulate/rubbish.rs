//! Somebody who took over an installation of the first site sends changes of documents that no honest
//! program makes: spoilt in every place, of others, for documents of others. HQ's gate is the real
//! one. Whatever comes, what is not sound lies in quarantine, and every document is as sound as before.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use hq_server::gateway::documents::Documents;
use hq_server::gateway::store::Peer;
use sha2::{Digest as _, Sha256};
use shared::document::field::REMARK;
use shared::document::{Actor, Change, DocumentKey, Replica};
use shared::ids::{ChangeHash, Head, LogId, Seq, SiteNo};
use shared::segment::chain::{FORMAT, Genesis};
use shared::sync::{DocumentChange, Frame, Hello, Position, StateCursor, VERSIONS};
use shared::time::Timestamp;

use super::Wrong;
use super::hostile::{hear, mutated};
use super::hq::bytes;
use super::trace::note;
use super::world::World;
use super::writing::{Shown, at_hq, shown};
use crate::random::Random;

/// The site whose installation it is.
const SITE: SiteNo = SiteNo(1);

/// Magic, checksum.
const HEAD_BYTES: usize = 8;

/// The installation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intruder {
    peer: Peer,
    log: LogId,
}

/// A change that is sent, and whether it can only be refused.
struct Said {
    change: DocumentChange,
    is_bad: bool,
}

/// As if it were right: the checksum holds.
fn named_anew(mut bytes: Vec<u8>) -> (ChangeHash, Vec<u8>) {
    let hash: [u8; 32] = Sha256::digest(bytes.get(HEAD_BYTES..).unwrap_or_default()).into();
    if bytes.len() >= HEAD_BYTES {
        bytes[4..HEAD_BYTES].copy_from_slice(&hash[..4]);
    }
    (ChangeHash(hash), bytes)
}

/// Changes some bytes of what the chunk says.
fn spoilt(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = HEAD_BYTES + random.index(bytes.len() - HEAD_BYTES);
        bytes[at] ^= 1 << random.below(8);
    }
    bytes
}

impl Intruder {
    fn actor(self) -> Actor {
        Actor::of(self.peer.site, self.peer.device, &self.log)
    }

    /// Something about a document, made of what HQ has.
    fn say(self, replica: &Replica, number: u64, random: &mut Random) -> Option<Said> {
        let key = replica.key();
        let written = |actor| {
            let text = format!("rubbish {number}");
            replica.clone().edit(actor, 0, &[(REMARK, text)]).ok()
        };
        let own = written(self.actor())?;
        let others: Vec<_> =
            replica.changes().filter(|change| change.actor != self.actor()).collect();
        let (hash, bytes) = (own.hash, own.bytes().to_vec());
        let is_foreign = !key.id.is_of(SITE);
        let (key, (hash, bytes), is_bad) = match random.below(7) {
            0 => (key, (hash, bytes), is_foreign),
            1 => {
                let spoilt = mutated(&bytes, random);
                let is_bad = spoilt != bytes;
                (key, (hash, spoilt), is_bad)
            }
            // It may be sound by chance.
            2 | 3 => (key, named_anew(spoilt(&bytes, random)), is_foreign),
            4 if !others.is_empty() => {
                let other = random.pick(&others).bytes().to_vec();
                (key, named_anew(spoilt(&other, random)), is_foreign)
            }
            // In the name of whoever wrote there before.
            5 if !others.is_empty() => {
                let other = written(random.pick(&others).actor)?;
                (key, (other.hash, other.bytes().to_vec()), true)
            }
            _ => (key.next(), (hash, bytes), true),
        };
        Some(Said { change: DocumentChange { key, hash, bytes }, is_bad })
    }
}

impl World {
    /// See the module.
    pub(super) fn rubbish(&mut self) -> Result<(), Wrong> {
        if !self.hq_can_let_in() {
            return Ok(());
        }
        self.hq.flush();
        self.hq_turn_soon();
        let intruder = self.intruder()?;
        let documents = self.hq.running.as_ref().expect("it lets in").documents.clone();
        let names = documents.names();
        if names.is_empty() {
            return Ok(());
        }
        let before = everything(&documents)?;
        let mut said = Vec::new();
        for number in 0..=self.random.below(6) {
            let key = *self.random.pick(&names);
            let replica = at_hq(&documents, key)?.replica;
            said.extend(intruder.say(&replica, number, &mut self.random));
        }
        let frames = said.iter().map(|said| Frame::DocumentChange(said.change.clone()).encode());
        let frames = intruder.greeting().into_iter().chain(frames).collect();
        let end = hear(self, intruder.peer, frames);
        note!(self.trace(), "rubbish, {} changes of documents: {end}", said.len());
        self.trace().figures.hostile += 1;
        self.decided()?;
        after_rubbish(&documents, &before, &said)
    }

    fn intruder(&mut self) -> Result<Intruder, Wrong> {
        if let Some(known) = self.intruder {
            return Ok(known);
        }
        let device = self.hq.give_device();
        let key = SigningKey::from_bytes(&bytes(&mut self.random));
        let genesis = Genesis {
            format: FORMAT,
            site: SITE,
            device,
            random: bytes(&mut self.random),
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        self.hq.register(&genesis)?;
        let intruder = Intruder { peer: Peer { site: SITE, device }, log: genesis.log_id() };
        self.intruder = Some(intruder);
        self.back_up();
        Ok(intruder)
    }
}

impl Intruder {
    fn greeting(self) -> [Vec<u8>; 2] {
        let start = Position { last: Seq::ZERO, head: Head(self.log.0) };
        let hello = Frame::Hello(Hello {
            versions: VERSIONS,
            log: self.log,
            position: start,
            state: StateCursor::START,
            witness: None,
            time: Timestamp(0),
            program: "intruder".to_owned(),
        });
        [hello.encode(), Frame::DocumentsTaken(StateCursor::START).encode()]
    }
}

/// What is bad lies in quarantine or waits for ever, and documents of others are as they were.
fn after_rubbish(
    documents: &Documents,
    before: &BTreeMap<DocumentKey, Shown>,
    said: &[Said],
) -> Result<(), Wrong> {
    let after = everything(documents)?;
    let differs = |key: &&DocumentKey| before.get(key) != after.get(key);
    if let Some(key) = after.keys().filter(differs).find(|key| !key.id.is_of(SITE)) {
        return Err(Wrong(format!("rubbish of another site changed {key}")));
    }
    let refused = documents.refused();
    let refused = refused.map_err(|error| Wrong(format!("HQ's quarantine: {error}")))?;
    let held: BTreeSet<_> = refused.iter().map(|change| (change.key, change.hash)).collect();
    // An HQ that was put back may have begun more generations than it knows.
    let waits = |key: DocumentKey| {
        let is_newer =
            |known: &DocumentKey| known.id == key.id && known.generation < key.generation;
        documents.lives().is_some() && after.keys().any(is_newer)
    };
    for Said { change, .. } in said.iter().filter(|said| said.is_bad) {
        if !held.contains(&(change.key, change.hash)) && !waits(change.key) {
            return Err(Wrong(format!("rubbish for {} is not in quarantine", change.key)));
        }
    }
    Ok(())
}

/// What every document shows; each is the same once it is made of its changes alone.
fn everything(documents: &Documents) -> Result<BTreeMap<DocumentKey, Shown>, Wrong> {
    let mut all = BTreeMap::new();
    for key in documents.names() {
        let replica = at_hq(documents, key)?.replica;
        let (shows, changes) = (shown(&replica), replica.changes().map(Change::bytes));
        let made = Replica::load(key, changes).map(|made| shown(&made));
        if made.as_ref() != Ok(&shows) {
            return Err(Wrong(format!("{key} is not what its changes make")));
        }
        all.insert(key, shows);
    }
    Ok(all)
}
