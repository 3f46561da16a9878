use ed25519_dalek::SigningKey;

use super::*;
use crate::fact::{Fact, Kind, field};
use crate::ids::{ChangeHash, Head, SiteNo};
use crate::segment::chain::Chain;
use crate::segment::context;
use crate::segment::seal::Seal;
use crate::sync::{
    Acknowledgement, Code, FactsFrame, Frame, Given, Hello, Outcome, Position, Postings, Run, Span,
    StateBatch, StateCursor, VERSIONS, Welcome,
};
use crate::time::Timestamp;

const LOG: LogId = LogId([7; 32]);
const HISTORY: HistoryId = HistoryId([8; 32]);

fn site_key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn hq_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn fact(number: u64) -> Fact {
    let mut fact = Fact::new(Kind::Receipt);
    field::CAPTURE_COUNTER.put(&mut fact, Some(number)).expect("a legal field");
    // Hashes do not pack, so that some thousand facts fill chunks.
    let noise = context::hash(context::TEXT, &number.to_be_bytes());
    let number = u64::from_be_bytes(noise[..8].try_into().expect("8 bytes")) >> 12;
    field::NUMBER.put(&mut fact, Some(number)).expect("a legal field");
    fact
}

fn head(direction: Direction, after: u64, last: u64) -> BundleHead {
    BundleHead { direction, history: HISTORY, log: LOG, after: Seq(after), last: Seq(last) }
}

fn hello(last: u64) -> Frame {
    Frame::Hello(Hello {
        versions: VERSIONS,
        log: LOG,
        position: Position { last: Seq(last), head: Head([3; 32]) },
        state: StateCursor { handle: 12, at: 900 },
        witness: None,
        time: Timestamp(1_795_519_885_123),
        program: "edge-node 0.1.0".to_owned(),
    })
}

/// Facts in runs of `run`, each with its seal.
fn facts(after: u64, last: u64, run: u64) -> Vec<Frame> {
    let mut chain = Chain::start(LOG);
    chain.extend(&(1..=after).map(fact).collect::<Vec<_>>());
    let mut frames = Vec::new();
    while chain.seq() < Seq(last) {
        let first = chain.seq().next();
        let facts: Vec<_> = (first.0..=last.min(first.0 + run - 1)).map(fact).collect();
        chain.extend(&facts);
        let run = Run::new(first, facts, chain.head()).expect("a run");
        frames.push(Frame::Facts(FactsFrame::pack(&run)));
        let seal = Seal {
            log: LOG,
            first,
            last: run.last,
            head: run.head,
            document_head: ChangeHash([5; 32]),
        };
        frames.push(Frame::Seal(seal.sign(&site_key())));
    }
    frames
}

fn bundle(
    head: &BundleHead,
    sender: SigningKey,
    receiver: &SigningKey,
    frames: &[Frame],
) -> Vec<u8> {
    let seed = Seed([9; 32]);
    let mut writer = BundleWriter::new(head, &receiver.verifying_key(), sender, &seed)
        .expect("a key to encrypt to");
    let mut bytes = Vec::new();
    for frame in frames {
        writer.push(frame);
        bytes.extend(writer.take());
    }
    bytes.extend(writer.finish());
    bytes
}

fn to_hq(after: u64, last: u64, run: u64) -> (Vec<Frame>, Vec<u8>) {
    let mut frames = vec![hello(last)];
    frames.extend(facts(after, last, run));
    let bytes = bundle(&head(Direction::ToHq, after, last), site_key(), &hq_key(), &frames);
    (frames, bytes)
}

fn scan(bytes: &[u8], step: usize) -> Result<Scanned, BundleError> {
    let mut scan = BundleScan::new();
    bytes.chunks(step).try_for_each(|piece| scan.push(piece))?;
    scan.finish()
}

/// Both passes; the frames but for the last good-bye.
fn read(
    bytes: &[u8],
    step: usize,
    sender: &SigningKey,
    receiver: &SigningKey,
) -> Result<Vec<Frame>, BundleError> {
    let verified = scan(bytes, step)?.verify(&sender.verifying_key())?;
    read_verified(verified, bytes, step, receiver)
}

fn read_verified(
    verified: Verified,
    bytes: &[u8],
    step: usize,
    receiver: &SigningKey,
) -> Result<Vec<Frame>, BundleError> {
    let mut reader = BundleReader::new(verified, receiver)?;
    let mut frames = Vec::new();
    for piece in bytes.chunks(step) {
        reader.push(piece)?;
        while let Some(frame) = reader.next_frame()? {
            frames.push(frame);
        }
    }
    reader.finish()?;
    assert_eq!(frames.pop(), Some(Frame::Bye(Code::LEAVING)));
    Ok(frames)
}

#[test]
fn what_goes_in_comes_out_however_the_file_is_cut() {
    let (frames, bytes) = to_hq(10, 40, 7);
    for step in [1, 2, 3, 61, 997, bytes.len()] {
        assert_eq!(read(&bytes, step, &site_key(), &hq_key()), Ok(frames.clone()), "by {step}");
    }
    let scanned = scan(&bytes, 100).expect("whole");
    assert_eq!(*scanned.head(), head(Direction::ToHq, 10, 40));
    assert_eq!((scanned.bytes(), scanned.head().facts()), (bytes.len() as u64, 30));
}

#[test]
fn many_facts_go_chunk_by_chunk() {
    let (frames, bytes) = to_hq(0, 30_000, 4_000);
    assert!(bytes.len() > 3 * CHUNK_BYTES, "{} bytes are several chunks", bytes.len());
    let read = read(&bytes, 10_007, &site_key(), &hq_key()).expect("good");
    assert!(read == frames, "{} frames", read.len());
}

#[test]
fn the_answer_goes_the_other_way() {
    let received = Position { last: Seq(40), head: Head([3; 32]) };
    let acknowledgement = Acknowledgement {
        history: HISTORY,
        log: LOG,
        received,
        safe: Seq(30),
        posted: Seq(40),
        at: Timestamp(5),
        given: Given::default(),
    };
    let cursor = |at| StateCursor { handle: 12, at };
    let state = StateBatch::new(SiteNo(3), cursor(900), cursor(901), 901, &[fact(1)]);
    let frames = [
        Frame::Welcome(Welcome {
            version: 1,
            history: HISTORY,
            cursor: received,
            sealed: Seq(40),
            time: Timestamp(5),
            program: "hq-server 0.1.0".to_owned(),
        }),
        Frame::Acknowledgement(acknowledgement.sign(&hq_key())),
        postings(LOG, 40),
        Frame::State(state.sign(&hq_key())),
    ];
    let bytes = bundle(&head(Direction::FromHq, 0, 40), hq_key(), &site_key(), &frames);
    assert_eq!(read(&bytes, 64, &hq_key(), &site_key()), Ok(frames.to_vec()));
    let scanned = scan(&bytes, 64).expect("whole");
    assert_eq!(scanned.check_direction(Direction::FromHq), Ok(()));
    let expected = Err(BundleError::WrongWay(Direction::FromHq));
    assert_eq!(scanned.check_direction(Direction::ToHq), expected);
}

/// What became of the facts of a log up to one.
fn postings(log: LogId, last: u64) -> Frame {
    let mut told = Postings::new(HISTORY, log, Seq(1));
    let span = Span { groups: last, facts_each: 1, outcome: Outcome::NoVoucher };
    assert!(told.push(span));
    Frame::Postings(told.sign(&hq_key()))
}

#[test]
fn an_answer_tells_of_its_own_facts_alone() {
    let received = Position { last: Seq(40), head: Head([3; 32]) };
    let (safe, posted, at, given) = (Seq(30), Seq(40), Timestamp(5), Given::default());
    let said = Acknowledgement { history: HISTORY, log: LOG, received, safe, posted, at, given };
    let welcome = Frame::Welcome(Welcome {
        version: 2,
        history: HISTORY,
        cursor: received,
        sealed: Seq(40),
        time: at,
        program: "hq-server 0.1.0".to_owned(),
    });
    let said = Frame::Acknowledgement(said.sign(&hq_key()));
    for (told, is_good) in [
        (postings(LOG, 40), true),
        (postings(LOG, 41), false),
        (postings(LogId([9; 32]), 4), false),
    ] {
        let frames = [welcome.clone(), said.clone(), told];
        let bytes = bundle(&head(Direction::FromHq, 0, 40), hq_key(), &site_key(), &frames);
        let read = read(&bytes, 64, &hq_key(), &site_key());
        assert_eq!(read.is_ok(), is_good, "{read:?}");
    }
    let frames = [welcome, postings(LOG, 40), said];
    let bytes = bundle(&head(Direction::FromHq, 0, 40), hq_key(), &site_key(), &frames);
    assert!(read(&bytes, 64, &hq_key(), &site_key()).is_err(), "before HQ said what it has");
}

#[test]
fn every_byte_is_under_the_signature() {
    let (_, bytes) = to_hq(0, 12, 5);
    for index in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= change;
            let verified =
                scan(&changed, 64).and_then(|scanned| scanned.verify(&site_key().verifying_key()));
            let error = verified.expect_err("a changed byte is seen before anything is decrypted");
            let named = match index {
                0..16 => error == BundleError::NotABundle,
                16 => matches!(error, BundleError::OtherVersion(_) | BundleError::Outside(_)),
                _ => matches!(
                    error,
                    BundleError::BadSignature
                        | BundleError::Outside(_)
                        | BundleError::Truncated
                        | BundleError::Trailing
                ),
            };
            assert!(named, "byte {index} changed by {change}: {error}");
        }
    }
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let (_, bytes) = to_hq(0, 12, 5);
    for length in 0..bytes.len() {
        let error = scan(&bytes[..length], 50).expect_err("cut");
        let expected = if length < 16 { BundleError::NotABundle } else { BundleError::Truncated };
        assert_eq!(error, expected, "cut at {length}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(scan(&longer, 50).map(drop), Err(BundleError::Trailing));
}

#[test]
fn a_file_that_ends_with_a_full_chunk_is_not_whole() {
    // A sender whose program wrongly ends its file at a chunk, and signs that.
    let (_, bytes) = to_hq(0, 30_000, 4_000);
    let mut cutter = outside::Cutter::new();
    cutter.push(&bytes);
    let mut kept = BundleHead::encode(&head(Direction::ToHq, 0, 30_000));
    let mut chunks = 0;
    while let Some(part) = cutter.next().expect("good parts") {
        match part {
            outside::Part::Head(_, encapsulated) => kept.extend(encapsulated),
            outside::Part::Chunk(sealed, _) => {
                chunks += 1;
                if chunks == 2 {
                    kept.extend(outside::chunk_bytes(&sealed, true));
                    break;
                }
                kept.extend(outside::chunk_bytes(&sealed, false));
            }
            outside::Part::Signature(_) => unreachable!("there are more chunks"),
        }
    }
    kept.extend(context::sign(&site_key(), SIGNATURE, &context::hash(CONTENT, &kept)));
    let read = read(&kept, 4_096, &site_key(), &hq_key());
    assert_eq!(read.map(drop), Err(BundleError::Changed));
}

#[test]
fn only_the_receiver_reads_it() {
    let (frames, bytes) = to_hq(0, 12, 5);
    let stranger = SigningKey::from_bytes(&[3; 32]);
    assert_eq!(read(&bytes, 64, &site_key(), &stranger), Err(BundleError::OtherReceiver));
    assert_eq!(read(&bytes, 64, &site_key(), &site_key()), Err(BundleError::OtherReceiver));
    assert_eq!(read(&bytes, 64, &stranger, &hq_key()), Err(BundleError::BadSignature));
    for frame in frames {
        let plain = frame.encode();
        let shown = bytes.windows(plain.len()).any(|window| window == plain);
        assert!(!shown, "a {} frame stands outside", frame.name());
    }
}

#[test]
fn a_file_that_changes_between_the_passes_is_refused() {
    let (_, bytes) = to_hq(0, 12, 5);
    let verified = scan(&bytes, 64).and_then(|scanned| scanned.verify(&site_key().verifying_key()));
    let verified = verified.expect("good");
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let read = read_verified(verified.clone(), &changed, 64, &hq_key());
        // The signature itself was looked at in the first pass.
        let is_signature = index >= bytes.len() - 64;
        assert!(read.is_err() || is_signature, "byte {index}");
    }
    let (_, other) = to_hq(0, 13, 5);
    assert_eq!(read_verified(verified, &other, 64, &hq_key()), Err(BundleError::Changed));
}

#[test]
fn frames_that_are_not_what_stands_outside_are_refused() {
    let facts_of = |after, last| facts(after, last, 5).remove(0);
    let cases = [
        vec![],
        vec![facts_of(0, 5)],
        vec![hello(9)],
        vec![hello(12), hello(12)],
        vec![hello(12), facts_of(0, 5)],
        vec![hello(12), facts_of(1, 5)],
        vec![hello(12), facts_of(0, 5), facts_of(0, 5)],
        vec![hello(12), Frame::Ping(1)],
        vec![hello(12), Frame::Bye(Code::LEAVING)],
    ];
    for (number, frames) in cases.into_iter().enumerate() {
        let bytes = bundle(&head(Direction::ToHq, 0, 12), site_key(), &hq_key(), &frames);
        let read = read(&bytes, 64, &site_key(), &hq_key());
        assert!(matches!(read, Err(BundleError::Inside(_))), "case {number}: {read:?}");
    }
}

#[test]
fn hostile_bytes_are_refused_and_take_no_memory() {
    let start = || BundleHead::encode(&head(Direction::ToHq, 0, 12));
    let after_key = |more: &[u8]| [start(), vec![0; 32], more.to_vec()].concat();
    let cases: Vec<Vec<u8>> = vec![
        vec![0; 1_000_000],
        b"warebook bundle".to_vec(),
        [&BUNDLE_MAGIC[..], &[0xff; 100]].concat(),
        after_key(&[0, 0xff, 0xff, 0xff, 0x7f]),
        after_key(&[1, 15]),
        after_key(&[0, 20]),
        after_key(&[2]),
    ];
    for (number, bytes) in cases.into_iter().enumerate() {
        assert!(scan(&bytes, 4_096).is_err(), "case {number}");
    }
    let mut later = start();
    later[16] = 2;
    assert_eq!(scan(&later, 64).map(drop), Err(BundleError::OtherVersion(2)));
}

#[test]
fn a_dispatch_note_is_read_by_its_receiver_alone() {
    let (receiver, stranger) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
    let head = head(Direction::ToSite(LogId([6; 32])), 0, 40);
    let facts: Vec<_> = (1..=150).map(fact).collect();
    let to = receiver.verifying_key();
    let bytes = write_note(&head, &to, site_key(), &Seed([9; 32]), &facts).expect("a note");
    let from = site_key().verifying_key();
    assert_eq!(read_note(&bytes, &from, &receiver), Ok(facts.clone()));
    assert_eq!(scan(&bytes, 64).map(|scanned| *scanned.head()), Ok(head));
    assert_eq!(read_note(&bytes, &from, &stranger), Err(BundleError::OtherReceiver));
    assert_eq!(
        read_note(&bytes, &hq_key().verifying_key(), &receiver),
        Err(BundleError::BadSignature)
    );
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        assert!(read_note(&changed, &from, &receiver).is_err(), "byte {index}");
    }
    let (_, other) = to_hq(0, 12, 5);
    let wrong = Err(BundleError::WrongWay(Direction::ToHq));
    assert_eq!(read_note(&other, &from, &receiver), wrong);
    let many: Vec<_> = (0..=NOTE_FACTS_MAX as u64).map(fact).collect();
    let bytes = write_note(&head, &to, site_key(), &Seed([9; 32]), &many).expect("a note");
    assert!(matches!(read_note(&bytes, &from, &receiver), Err(BundleError::Inside(_))));
}

#[test]
fn contexts_are_nobody_elses() {
    let own = [CONTENT, SIGNATURE, KEY];
    let all: std::collections::BTreeSet<_> = context::ALL.iter().chain(&own).collect();
    assert_eq!(all.len(), context::ALL.len() + own.len());
}
