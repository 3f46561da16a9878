//! Inputs to begin with: one of each kind that is right, for the fuzzer to change.

use ed25519_dalek::SigningKey;
use shared::document::{Change, Outcome};
use shared::ids::{ChangeHash, DeviceNo, Head, HistoryId, LogId, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::seal::Seal;
use shared::segment::{columns, packing};
use shared::sync::bundle::{BundleHead, BundleWriter, Direction, Seed};
use shared::sync::{Code, FactsFrame, Frame, PostingsAsked, Refusal, StateCursor};
use shared::time::Timestamp;
use shared::varint;

use crate::targets::{
    acknowledgement, chunk, disputed, edited, fact, given_documents, hello, key, lives, position,
    postings, run, state, welcome,
};

/// (target, name, bytes).
pub fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let facts: Vec<_> = (1..=9).map(fact).collect();
    let mut bytes = Vec::new();
    facts.iter().for_each(|fact| fact.encode(&mut bytes));
    seeds.push(("facts", "receipts".to_owned(), bytes));
    for text in ["wb1.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.7.aaaaaaaaaaaaaaaaaaaaaaaaaa", "-12.50"] {
        seeds.push(("facts", format!("text-{}", text.len()), text.as_bytes().to_vec()));
    }
    let packed = columns::encode(&facts);
    seeds.push(("segments", "packed".to_owned(), packing::pack(&packed)));
    seeds.push(("segments", "columns".to_owned(), packed));
    let Head(head) = position(9).head;
    let seal = Seal {
        log: LogId([3; 32]),
        first: Seq(1),
        last: Seq(9),
        head: Head(head),
        document_head: ChangeHash([0; 32]),
    };
    let seal = seal.sign(&key(1));
    seeds.push(("segments", "seal".to_owned(), seal.encode().to_vec()));
    let genesis = Genesis {
        format: 1,
        site: SiteNo(7),
        device: DeviceNo(3),
        random: [5; 32],
        public_key: key(1).verifying_key().to_bytes(),
        predecessor: None,
    };
    seeds.push(("segments", "genesis".to_owned(), genesis.encode()));
    let frames = [
        hello(9),
        welcome(4, 9),
        Frame::Refuse(Refusal::new(Code::BUSY, "later")),
        Frame::Facts(FactsFrame::pack(&run(1, 9))),
        Frame::Seal(seal),
        Frame::Acknowledgement(acknowledgement(9)),
        Frame::State(state(0, 3)),
        Frame::StateTaken(StateCursor { handle: 9, at: 3 }),
        Frame::Ping(4),
        Frame::Pong(4, Timestamp(5)),
        Frame::Bye(Code::LEAVING),
        Frame::Branch(position(4)),
        Frame::AskPostings(PostingsAsked { first: Seq(1), last: Seq(9) }),
        Frame::Postings(postings(1, 9).sign(&key(2))),
        Frame::AskDocuments(lives()),
        Frame::GivenDocuments(Box::new(given_documents())),
        Frame::DocumentsBack(StateCursor { handle: 8, at: 3 }, true),
        Frame::Renew(vec![1, 2, 3]),
        Frame::Renewed(vec![vec![1], vec![2]], Timestamp(9)),
    ];
    for frame in &frames {
        let encoded = frame.encode();
        let body = encoded.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
        seeds.push(("frames", frame.name().replace(' ', "-"), encoded[body..].to_vec()));
    }
    let document = disputed();
    let settled = edited(&document, 3, &[("remark", "dried"), ("topic/door", "sticks")]);
    let unseen = edited(&document, 4, &[("topic/door", "mended"), ("item/7", "caps come loose")]);
    let mut changes = Vec::new();
    for change in [settled, unseen] {
        // Magic and checksum, type, length: the fuzzer writes those anew.
        let mut contents = &change.bytes()[9..];
        let length: u64 = varint::read_unsigned(&mut contents).expect("a length");
        assert_eq!(length, contents.len() as u64);
        let read = Change::read(&chunk(contents)).expect("the same change");
        assert_eq!(document.clone().admit([read]).outcomes, [Outcome::Taken]);
        changes.extend(u16::try_from(length).expect("a short change").to_le_bytes());
        changes.extend_from_slice(contents);
    }
    seeds.push(("documents", "two".to_owned(), changes));
    seeds.push(("documents", "key".to_owned(), document.key().encode()));
    seeds.push(("documents", "name".to_owned(), b"transfer:3-1042:5:7".to_vec()));
    seeds.push(("bundles", "to-hq".to_owned(), bundle(key(1), &frames)));
    seeds.push(("edge_session", "usual".to_owned(), EDGE.to_vec()));
    seeds.push(("hq_session", "usual".to_owned(), HQ.to_vec()));
    seeds
}

fn bundle(sender: SigningKey, frames: &[Frame]) -> Vec<u8> {
    let head = BundleHead {
        direction: Direction::ToHq,
        history: HistoryId([1; 32]),
        log: LogId([3; 32]),
        after: Seq(0),
        last: Seq(9),
    };
    let receiver = key(2).verifying_key();
    let mut writer =
        BundleWriter::new(&head, &receiver, sender, &Seed([8; 32])).expect("a good key");
    frames[..5].iter().for_each(|frame| writer.push(frame));
    writer.finish()
}

/// Nine facts; HQ has four, hears the rest, tells state and postings.
const EDGE: &[u8] =
    &[9, 2, 4, 10, 10, 10, 10, 3, 9, 10, 10, 4, 0, 3, 10, 10, 5, 0, 8, 10, 10, 6, 39, 9];

/// Four facts are stored; an edge with nine says hello and sends the rest in two runs, one twice.
const HQ: &[u8] =
    &[4, 2, 9, 10, 3, 4, 1, 3, 4, 1, 3, 6, 2, 10, 10, 10, 10, 8, 10, 5, 20, 7, 6, 1, 9, 10];
