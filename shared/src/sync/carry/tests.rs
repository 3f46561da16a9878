use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;

use super::super::bundle::{BundleHead, Direction};
use super::*;
use crate::ids::{Head, HistoryId, LogId, Seq};
use crate::sync::{Acknowledgement, Given, Position, Versions};
use crate::time::Timestamp;

const NOW: Now = Now { moment: Moment(0), wall: Timestamp(7) };

fn gift(number: u8, bytes: usize) -> Gift {
    let head = BundleHead {
        direction: Direction::ToHq,
        history: HistoryId([1; 32]),
        log: LogId([2; 32]),
        after: Seq(0),
        last: Seq(u64::from(number)),
    };
    let bytes: Arc<[u8]> = vec![number; bytes].into();
    let digest = BundleDigest([number; 32]);
    Gift { offer: Offer { head, bytes: bytes.len() as u64, digest }, bytes }
}

fn acknowledgement(last: u64) -> SignedAcknowledgement {
    let received = Position { last: Seq(last), head: Head([3; 32]) };
    let (history, log) = (HistoryId([1; 32]), LogId([2; 32]));
    let key = SigningKey::from_bytes(&[5; 32]);
    let levels = Acknowledgement {
        history,
        log,
        received,
        safe: Seq(0),
        posted: Seq(last),
        at: Timestamp(1),
        given: Given::default(),
    };
    levels.sign(&key)
}

/// A store that is durable as soon as it answers.
#[derive(Default)]
struct Store {
    gives: Vec<Gift>,
    says: Vec<SignedAcknowledgement>,
    held: BTreeMap<BundleDigest, Vec<u8>>,
    unfinished: Option<(Offer, Vec<u8>)>,
    noted: Vec<SignedAcknowledgement>,
    given: BTreeSet<BundleDigest>,
    refused: BTreeSet<BundleDigest>,
    full: bool,
}

impl Store {
    fn answer(&mut self, request: CarryRequest) -> Option<CarryEvent> {
        match request {
            CarryRequest::Next => {
                let done = |gift: &&Gift| {
                    let digest = &gift.offer.digest;
                    !self.given.contains(digest) && !self.refused.contains(digest)
                };
                let next = self.gives.iter().find(done).cloned();
                Some(CarryEvent::Next(std::mem::take(&mut self.says), next))
            }
            CarryRequest::Judge(offer) => Some(CarryEvent::Judged(self.judge(&offer))),
            CarryRequest::Keep(offer, bytes) => {
                assert_eq!(bytes.len() as u64, offer.bytes);
                let twice = self.held.insert(offer.digest, bytes);
                assert_eq!(twice, None, "what is held is not taken again");
                Some(CarryEvent::Kept(Ok(())))
            }
            CarryRequest::Note(signed) => {
                self.noted.push(signed);
                Some(CarryEvent::Noted(Ok(())))
            }
            CarryRequest::Given(offer) => {
                self.given.insert(offer.digest);
                None
            }
            CarryRequest::Refused(offer, _) => {
                self.refused.insert(offer.digest);
                None
            }
        }
    }

    fn judge(&mut self, offer: &Offer) -> Result<Vec<u8>, Declined> {
        if self.held.contains_key(&offer.digest) {
            return Err(Declined::new(offer, offer.head.last, Code::HELD, "it is here"));
        }
        if self.full {
            return Err(Declined::new(offer, Seq(0), Code::STORAGE, "there is no room"));
        }
        let there = self.unfinished.take().filter(|(known, _)| known == offer);
        Ok(there.map_or_else(Vec::new, |(_, bytes)| bytes))
    }
}

struct End {
    session: CarrySession,
    store: Store,
}

impl End {
    fn new() -> Self {
        Self { session: CarrySession::new("test", NOW.moment), store: Store::default() }
    }

    fn connect_again(&mut self) {
        let next = CarrySession::new("test", NOW.moment);
        let unfinished = std::mem::replace(&mut self.session, next).into_unfinished();
        self.store.unfinished = unfinished.or(self.store.unfinished.take());
    }

    fn work(&mut self) {
        while let Some(request) = self.session.poll_request() {
            if let Some(event) = self.store.answer(request) {
                self.session.handle_event(event, NOW.moment);
            }
        }
    }

    fn speak(&mut self) -> Option<Frame> {
        self.work();
        let frame = self.session.poll_frame(NOW)?;
        if let Frame::Carried(digest) = &frame {
            assert!(self.store.held.contains_key(digest), "carried before it is durable");
        }
        let bytes = frame.encode();
        let mut buffer = crate::sync::FrameBuffer::new();
        buffer.push(&bytes);
        let read = crate::sync::next_frame(&mut buffer).expect("a good frame");
        assert_eq!(read.as_ref(), Some(&frame));
        read
    }
}

/// Passes frames until nobody says anything, at most `frames`; the bytes of bundles that went over.
fn talk(ends: &mut [End; 2], frames: usize) -> (usize, usize) {
    let (mut passed, mut bytes) = (0, 0);
    loop {
        let before = passed;
        for (from, to) in [(0, 1), (1, 0)] {
            while passed < frames
                && ends[to].session.wants_frames()
                && let Some(frame) = ends[from].speak()
            {
                passed += 1;
                if let Frame::Piece(_, piece) = &frame {
                    bytes += piece.len();
                }
                ends[to].session.handle_frame(frame, NOW.moment);
                ends[to].work();
            }
        }
        if passed == before {
            return (passed, bytes);
        }
    }
}

#[test]
fn bundles_and_words_go_both_ways_at_once() {
    let mut ends = [End::new(), End::new()];
    ends[0].store.gives = vec![gift(1, 10), gift(2, 3 * PIECE_BYTES), gift(3, PIECE_BYTES + 1)];
    ends[1].store.gives = vec![gift(9, 70_000)];
    ends[1].store.says = vec![acknowledgement(4), acknowledgement(5)];
    talk(&mut ends, usize::MAX);
    for (from, to) in [(0, 1), (1, 0)] {
        for gift in &ends[from].store.gives {
            assert!(ends[from].store.given.contains(&gift.offer.digest));
            assert_eq!(ends[to].store.held.get(&gift.offer.digest), Some(&gift.bytes.to_vec()));
        }
    }
    assert_eq!(ends[0].store.noted, [acknowledgement(4), acknowledgement(5)]);
    // What comes later is asked for once somebody says so.
    ends[0].store.gives.push(gift(4, 100));
    assert_eq!(talk(&mut ends, usize::MAX).0, 0);
    ends[0].session.handle_event(CarryEvent::News, NOW.moment);
    talk(&mut ends, usize::MAX);
    assert!(ends[1].store.held.contains_key(&gift(4, 1).offer.digest));
    assert_eq!(ends[0].session.peer().map(|meet| meet.time), Some(Timestamp(7)));
}

#[test]
fn a_connection_that_ends_anywhere_goes_on_where_it_was() {
    const BYTES: usize = 5 * PIECE_BYTES;
    let mut cut = 1;
    loop {
        let mut ends = [End::new(), End::new()];
        ends[0].store.gives = vec![gift(1, BYTES), gift(2, 10)];
        let (passed, first) = talk(&mut ends, cut);
        if passed < cut {
            return assert!(cut > 10, "the whole is more than {cut} frames");
        }
        for end in &mut ends {
            end.connect_again();
        }
        let (_, second) = talk(&mut ends, usize::MAX);
        assert_eq!(first + second, BYTES + 10, "cut after {cut} frames");
        assert_eq!(ends[1].store.held.len(), 2, "cut after {cut} frames");
        let settled = ends[0].store.given.len() + ends[0].store.refused.len();
        assert_eq!(settled, 2, "cut after {cut} frames");
        cut += 1;
    }
}

#[test]
fn what_is_declined_holds_up_nothing_else() {
    let mut ends = [End::new(), End::new()];
    ends[0].store.gives = vec![gift(1, 10), gift(2, 20)];
    ends[1].store.held.insert(gift(1, 10).offer.digest, vec![1; 10]);
    talk(&mut ends, usize::MAX);
    assert!(ends[1].store.held.contains_key(&gift(2, 20).offer.digest));

    let mut ends = [End::new(), End::new()];
    ends[0].store.gives = vec![gift(1, 10)];
    ends[1].store.full = true;
    talk(&mut ends, usize::MAX);
    assert!(ends[0].store.refused.contains(&gift(1, 10).offer.digest));
    assert!(ends.iter().all(|end| end.session.end().is_none()));
}

#[test]
fn whoever_does_not_keep_to_the_order_is_told_so() {
    let meet = || {
        let program = "test".to_owned();
        Frame::Meet(Meet { versions: VERSIONS, time: Timestamp(7), program })
    };
    let offer = gift(1, 100).offer;
    let other = BundleDigest([9; 32]);
    let cases: Vec<Vec<Frame>> = vec![
        vec![Frame::Offer(offer)],
        vec![meet(), meet()],
        vec![meet(), Frame::Piece(0, vec![1])],
        vec![meet(), Frame::Offer(offer), Frame::Piece(1, vec![1])],
        vec![meet(), Frame::Offer(offer), Frame::Piece(0, vec![1; 101])],
        vec![meet(), Frame::Offer(offer), Frame::Piece(0, vec![])],
        vec![meet(), Frame::Offer(offer), Frame::Offer(offer)],
        vec![meet(), Frame::Want(other, 0)],
        vec![meet(), Frame::Want(gift(7, 50).offer.digest, 50)],
        vec![meet(), Frame::Carried(gift(7, 50).offer.digest)],
        vec![meet(), Frame::Carried(other)],
        vec![meet(), Frame::Declined(Declined::new(&offer, Seq(0), Code::HELD, ""))],
        vec![meet(), Frame::Ping(1)],
    ];
    for (number, frames) in cases.into_iter().enumerate() {
        let mut end = End::new();
        end.store.gives = vec![gift(7, 50)];
        for frame in frames {
            assert!(end.session.end().is_none(), "case {number} ends too early");
            end.session.handle_frame(frame, NOW.moment);
            while end.speak().is_some_and(|frame| !matches!(frame, Frame::Refuse(_))) {}
        }
        let told =
            matches!(end.session.end(), Some(CarryEnd::Broken(why)) if why.code == Code::PROTOCOL);
        assert!(told, "case {number}: {:?}", end.session.end());
    }
}

#[test]
fn another_version_and_silence_end_it() {
    let mut end = End::new();
    let theirs = Versions { lowest: 7, highest: 9 };
    end.session.handle_broken(&FrameError::OtherVersion(theirs));
    assert!(
        matches!(end.session.end(), Some(CarryEnd::Broken(why)) if why.code == Code::WRONG_VERSION)
    );

    let mut ends = [End::new(), End::new()];
    talk(&mut ends, usize::MAX);
    assert_eq!(ends[0].session.timeout(), None, "nothing is awaited");
    ends[0].store.gives = vec![gift(1, 10)];
    ends[0].session.handle_event(CarryEvent::News, Moment(1_000));
    ends[0].work();
    let due = ends[0].session.timeout().expect("an answer is awaited");
    assert!(due > Moment(STALL_MS / 2));
    ends[0].session.handle_timeout(due);
    assert_eq!(ends[0].session.end(), Some(&CarryEnd::Stalled));
    assert_eq!(ends[0].speak(), Some(Frame::Bye(Code::STALLED)));
}

#[test]
fn a_bundle_arrives_however_thin_the_link_is() {
    let mut ends = [End::new(), End::new()];
    let large = 2 * 1024 * 1024;
    ends[0].store.gives = vec![gift(1, large)];
    let mut moment = Moment(0);
    while ends[0].store.given.is_empty() {
        for (from, to) in [(0, 1), (1, 0)] {
            ends[from].work();
            let frame = ends[from].session.poll_frame(Now { moment, ..NOW });
            if matches!(frame, Some(Frame::Piece(..))) {
                moment = moment.after_ms(STALL_MS / 2);
            }
            if let Some(frame) = frame {
                ends[to].session.handle_frame(frame, moment);
            }
            ends[to].work();
        }
        for end in &mut ends {
            end.session.handle_timeout(moment);
            assert_eq!(end.session.end(), None, "at {moment:?}");
        }
    }
    assert!(moment > Moment(10 * STALL_MS));
    assert_eq!(ends[1].store.held.len(), 1);
}

#[test]
fn a_forged_word_ends_it() {
    let mut end = End::new();
    talk(&mut [End::new(), End::new()], usize::MAX);
    let refusal = Refusal::new(Code::FORGED, "not HQ's");
    end.session.handle_event(CarryEvent::Noted(Err(refusal.clone())), NOW.moment);
    assert_eq!(end.session.end(), Some(&CarryEnd::Broken(refusal)));
}
