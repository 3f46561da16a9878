//! What is hashed and signed stays as it is: golden vectors, a second reader written from
//! `FORMAT.md` alone, and generated input. `UPDATE_GOLDEN=1` writes the golden files anew (tests that
//! read them meanwhile may fail: run again without it); a changed line changes what is signed for
//! ever.

#[path = "encoding/vectors.rs"]
mod vectors;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use shared::document::journal::{self, JournalTip};
use shared::fact::statement::PolicyKind;
use shared::fact::{Fact, Kind, KindNo, Malformed, Value, field};
use shared::ids::{ChangeHash, DeviceNo, Head, LogId, Seq, SiteNo};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::seal::{CHUNK_FACTS, Seal, SignedSeal};
use shared::segment::{columns, context, packing};
use tests::decoder::{self, Plain, PlainFact};

const FORMAT_PAGE: &str = include_str!("../../shared/src/fact/FORMAT.md");

/// Hex; a byte that stands 32 times or more in a row is written once, with its count: `[78 x 4096]`.
fn hex(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|first, second| first == second);
    let one = |run: &[u8]| match run.len() {
        32.. => format!("[{:02x} x {}]", run[0], run.len()),
        _ => HEXLOWER.encode(run),
    };
    runs.map(one).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let plain =
        |text: &str| HEXLOWER.decode(text.as_bytes()).expect("golden files hold lower-case hex");
    let mut parts = text.split('[');
    let mut bytes = plain(parts.next().expect("never empty"));
    for part in parts {
        let (run, rest) = part.split_once(']').expect("a run ends");
        let (byte, count) = run.split_once(" x ").expect("a run is a byte and its count");
        bytes.extend(plain(byte).repeat(count.parse().expect("a count")));
        bytes.extend(plain(rest));
    }
    bytes
}

/// A golden file: a comment that says what it holds, then lines of fields between bars.
struct Golden {
    name: &'static str,
    text: String,
}

impl Golden {
    fn new(name: &'static str, comment: &str) -> Self {
        let hex = "bytes in hex, [78 x 40] for 40 times the byte 78";
        Self { name, text: format!("# {comment}; {hex}\n") }
    }

    fn line(&mut self, fields: &[&str]) {
        assert!(fields.iter().all(|field| !field.contains(['|', '\n'])), "{fields:?}");
        writeln!(self.text, "{}", fields.join(" | ")).expect("a string takes everything");
    }

    fn path(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/encoding").join(name)
    }

    /// The file must hold this, or gets it.
    fn settle(self) {
        let path = Self::path(self.name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, self.text).expect("the golden file can be written");
            return;
        }
        let stored = std::fs::read_to_string(path).expect("the golden file is there");
        for (number, (stored, made)) in stored.lines().zip(self.text.lines()).enumerate() {
            assert_eq!(stored, made, "line {} of {} is made otherwise now", number + 1, self.name);
        }
        let counts = (stored.lines().count(), self.text.lines().count());
        assert_eq!(counts.0, counts.1, "lines of {}", self.name);
    }

    /// The fields of each line.
    fn read(name: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(Self::path(name)).expect("the golden file is there");
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(" | ").map(|field| field.trim().to_owned()).collect())
            .collect()
    }
}

fn facts() -> Vec<Fact> {
    vectors::facts().named.into_iter().map(|(_, fact)| fact).collect()
}

fn bytes_of(facts: &[Fact]) -> Vec<u8> {
    facts.iter().flat_map(Fact::to_bytes).collect()
}

/// Fields as the golden file shows them: number, `=`, wire type, value.
fn shown<'a>(fields: impl Iterator<Item = (u64, &'a Plain)>) -> String {
    let field = |(number, value): (u64, &Plain)| match value {
        Plain::Unsigned(value) => format!("{number}=u{value}"),
        Plain::Signed(value) => format!("{number}=s{value}"),
        Plain::Bytes(bytes) => format!("{number}=b{}", hex(bytes)),
    };
    fields.map(field).collect::<Vec<_>>().join(" ")
}

fn plain(fact: &Fact) -> PlainFact {
    let value = |value: Value<'_>| match value {
        Value::Unsigned(value) => Plain::Unsigned(value),
        Value::Signed(value) => Plain::Signed(value),
        Value::Bytes(bytes) => Plain::Bytes(bytes.to_vec()),
    };
    let fields = fact.fields().map(|(tag, found)| (tag.number.into(), value(found)));
    PlainFact { kind: fact.kind_no().0.into(), fields: fields.collect() }
}

fn as_value(plain: &Plain) -> Value<'_> {
    match plain {
        Plain::Unsigned(value) => Value::Unsigned(*value),
        Plain::Signed(value) => Value::Signed(*value),
        Plain::Bytes(bytes) => Value::Bytes(bytes),
    }
}

/// One fact, to its last byte.
fn decode_fact(mut bytes: &[u8]) -> Result<Fact, String> {
    let fact = Fact::decode(&mut bytes).map_err(|refusal| format!("{refusal:?}"))?;
    if bytes.is_empty() { Ok(fact) } else { Err("Trailing".to_owned()) }
}

// What is golden.

#[test]
fn facts_are_as_they_were() {
    let mut golden = Golden::new("facts.txt", "name | kind | fields | canonical bytes");
    for (name, fact) in vectors::facts().named {
        let plain = plain(&fact);
        let fields = shown(plain.fields.iter().map(|(number, value)| (*number, value)));
        golden.line(&[&name, &plain.kind.to_string(), &fields, &hex(&fact.to_bytes())]);
    }
    golden.settle();
}

#[test]
fn facts_read_the_same_by_both_readers() {
    for line in Golden::read("facts.txt") {
        let (name, bytes) = (&line[0], unhex(&line[3]));
        let fact = decode_fact(&bytes).expect(name);
        assert_eq!(fact.to_bytes(), bytes, "{name}");
        let (second, length) = decoder::read_fact(&bytes).expect(name);
        assert_eq!(length, bytes.len(), "{name}");
        assert_eq!(second, plain(&fact), "{name}");
        assert_eq!(second.kind.to_string(), line[1], "{name}");
        assert_eq!(
            shown(second.fields.iter().map(|(number, value)| (*number, value))),
            line[2],
            "{name}"
        );
        assert_eq!(decoder::fact_bytes(&second), bytes, "{name}");
    }
}

#[test]
fn golden_facts_have_every_kind_and_field() {
    let facts = facts();
    let kinds: BTreeSet<_> = facts.iter().map(Fact::kind_no).collect();
    for kind in Kind::ALL {
        assert!(kinds.contains(&kind.number()), "no golden fact is a {kind}");
    }
    let tags: BTreeSet<_> =
        facts.iter().flat_map(|fact| fact.fields().map(|(tag, _)| tag)).collect();
    for (number, name, wire) in field::ALL {
        let known =
            tags.iter().any(|tag| tag.number == *number && format!("{:?}", tag.wire) == *wire);
        assert!(known, "no golden fact has {name}");
    }
}

#[test]
fn malformed_facts_are_refused() {
    let mut golden = Golden::new("malformed_facts.txt", "name | bytes | refusal");
    for (name, bytes) in vectors::malformed_facts() {
        let refusal = decode_fact(&bytes).expect_err(name);
        assert!(decoder::read_fact(&bytes).is_err(), "the second reader takes {name}");
        golden.line(&[name, &hex(&bytes), &refusal]);
    }
    golden.settle();
}

#[test]
fn columns_are_as_they_were() {
    let mut golden = Golden::new("columns.txt", "name | canonical bytes of the facts | columns");
    for (name, run) in vectors::runs(&facts()) {
        golden.line(&[&name, &hex(&bytes_of(&run)), &hex(&columns::encode(&run))]);
    }
    golden.settle();
}

#[test]
fn columns_read_the_same_by_both_readers() {
    for line in Golden::read("columns.txt") {
        let (name, facts, bytes) = (&line[0], unhex(&line[1]), unhex(&line[2]));
        let decoded = columns::decode(&bytes).expect(name);
        assert_eq!(bytes_of(&decoded), facts, "{name}");
        let second = decoder::read_columns(&bytes).expect(name);
        assert_eq!(second, decoded.iter().map(plain).collect::<Vec<_>>(), "{name}");
        assert_eq!(decoder::read_facts(&facts).as_ref(), Ok(&second), "{name}");
        assert_eq!(decoder::columns_of(&second), bytes, "{name}");
    }
}

#[test]
fn malformed_columns_are_refused() {
    let mut golden = Golden::new("malformed_columns.txt", "name | bytes | refusal");
    for (name, bytes) in vectors::malformed_columns() {
        let refusal = columns::decode(&bytes).expect_err(name);
        assert!(decoder::read_columns(&bytes).is_err(), "the second reader takes {name}");
        golden.line(&[name, &hex(&bytes), &format!("{refusal:?}")]);
    }
    golden.settle();
}

/// Packed bytes of any version stay readable; they need not be made the same again.
#[test]
fn packed_columns_stay_readable() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut golden = Golden::new("packing.txt", "name | packed | columns");
        for (name, run) in vectors::runs(&facts()) {
            let columns = columns::encode(&run);
            golden.line(&[&name, &hex(&packing::pack(&columns)), &hex(&columns)]);
        }
        golden.settle();
    }
    for line in Golden::read("packing.txt") {
        let (name, packed, columns) = (&line[0], unhex(&line[1]), unhex(&line[2]));
        assert_eq!(packing::unpack(&packed).as_ref(), Ok(&columns), "{name}");
        assert_eq!(decoder::unpack(&packed).as_ref(), Ok(&columns), "{name}");
        assert_eq!(packing::unpack(&packing::pack(&columns)).as_ref(), Ok(&columns), "{name}");
    }
}

#[test]
fn bytes_beyond_the_tenth_of_a_number_unpack_the_same_by_both_readers() {
    let planes: Vec<u8> = (0x80..0x89).flat_map(|byte| [4, byte]).collect();
    let packed = [&[1, 54][..], &planes, &[16, 0x89, 0x8a, 0x8b, 1]].concat();
    let part = [&(0x80..=0x8b).collect::<Vec<u8>>()[..], &[1]].concat();
    assert_eq!(packing::unpack(&packed).as_ref(), Ok(&part));
    assert_eq!(decoder::unpack(&packed), Ok(part));
}

fn genesis(predecessor: bool) -> Genesis {
    Genesis {
        format: FORMAT,
        site: SiteNo(8),
        device: DeviceNo(3),
        random: *b"thirty-two bytes that are random",
        public_key: key().verifying_key().to_bytes(),
        predecessor: predecessor.then_some((LogId([0x11; 32]), Seq(70_000), Head([0x22; 32]))),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(b"a secret key only golden tests u")
}

/// Places around every edge of a window.
const HEADS_AT: &[usize] = &[0, 1, 2, 63, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 2_100];

#[test]
fn chains_are_as_they_were() {
    let comment = "what | value; fact n of the log is number 1 + (n - 1) mod count of facts.txt";
    let mut golden = Golden::new("chain.txt", comment);
    let facts = facts();
    let log_facts: Vec<_> = (0..2_100).map(|index| facts[index % facts.len()].clone()).collect();
    for (name, genesis) in
        [("genesis", genesis(false)), ("genesis after another log", genesis(true))]
    {
        golden.line(&[name, &hex(&genesis.encode())]);
        golden.line(&[&format!("log id of {name}"), &hex(&genesis.log_id().0)]);
        for at in HEADS_AT {
            let mut chain = Chain::start(genesis.log_id());
            chain.extend(&log_facts[..*at]);
            golden.line(&[&format!("head({at}) of {name}"), &hex(&chain.head().0)]);
        }
    }
    golden.line(&["salt", &hex(&[5; context::SALT_BYTES])]);
    golden.line(&[
        "hash of the text 'Zhang Wei, 仓管'",
        &hex(&context::text_hash(&[5; 16], "Zhang Wei, 仓管")),
    ]);
    golden.settle();
}

#[test]
fn chains_come_out_the_same_by_both_readers() {
    let lines = Golden::read("chain.txt");
    let value = |name: &str| {
        let line = lines.iter().find(|line| line[0] == name).expect(name);
        unhex(&line[1])
    };
    let facts: Vec<_> = Golden::read("facts.txt").iter().map(|line| unhex(&line[3])).collect();
    let log_facts: Vec<_> = (0..2_100).map(|index| facts[index % facts.len()].clone()).collect();
    for (name, expected) in
        [("genesis", genesis(false)), ("genesis after another log", genesis(true))]
    {
        let bytes = value(name);
        assert_eq!(Genesis::decode(&bytes).as_ref(), Ok(&expected));
        let second = decoder::read_genesis(&bytes).expect(name);
        assert_eq!((second.site, second.device, second.public_key), (8, 3, expected.public_key));
        let log = decoder::log_id(&bytes);
        assert_eq!(log.to_vec(), value(&format!("log id of {name}")));
        for at in HEADS_AT {
            let head = decoder::head(log, &log_facts[..*at]);
            assert_eq!(head.to_vec(), value(&format!("head({at}) of {name}")), "head({at})");
        }
    }
    let hash = value("hash of the text 'Zhang Wei, 仓管'");
    assert_eq!(decoder::text_hash(&value("salt"), "Zhang Wei, 仓管").to_vec(), hash);
}

/// Seals in two chunks: (first, columns).
fn sealed_runs() -> Vec<(Seq, Vec<u8>)> {
    let facts = facts();
    let firsts = [1, 2, 22, CHUNK_FACTS - 1, CHUNK_FACTS + 1, CHUNK_FACTS + 3];
    let runs = [&facts[..1], &facts[1..21], &facts[21..], &facts[..2], &facts[..2], &facts[..9]];
    firsts.into_iter().map(Seq).zip(runs.map(columns::encode)).collect()
}

#[test]
fn journal_documents_are_as_they_were() {
    let mut golden = Golden::new("journal.txt", "first | columns | change | hash");
    let log = genesis(false).log_id();
    let mut tip = JournalTip::default();
    for (first, columns) in sealed_runs() {
        let (next, change) = journal::append(&log, &tip, first, &columns);
        let hash = next.head.expect("a change was made");
        golden.line(&[&first.to_string(), &hex(&columns), &hex(&change), &hex(&hash.0)]);
        tip = next;
    }
    golden.settle();
}

#[test]
fn journal_documents_come_out_the_same_by_both_readers_and_automerge() {
    use automerge::{Automerge, ROOT, ReadDoc};
    let log = genesis(false).log_id();
    let mut chunks: Vec<(u64, Vec<GoldenSeal>)> = Vec::new();
    for line in Golden::read("journal.txt") {
        let first: u64 = line[0].parse().expect("a number");
        let chunk = (first - 1) / CHUNK_FACTS;
        if chunks.last().is_none_or(|(last, _)| *last != chunk) {
            chunks.push((chunk, Vec::new()));
        }
        let seals = &mut chunks.last_mut().expect("just pushed").1;
        let before = seals.last().map(|seal| seal.hash);
        let columns = unhex(&line[1]);
        let ordinal = seals.len() as u64 + 1;
        let (change, hash) = decoder::journal_change(&log.0, first, ordinal, before, &columns);
        assert_eq!((hex(&change), hex(&hash)), (line[2].clone(), line[3].clone()), "from {first}");
        seals.push(GoldenSeal { first, columns, change, hash });
    }
    assert_eq!(chunks.len(), 2);
    for (_, seals) in chunks {
        let changes: Vec<_> = seals.iter().map(|seal| seal.change.clone()).collect();
        let document =
            Automerge::load(&journal::export(&changes).expect("exports")).expect("loads");
        let heads: Vec<_> = document.get_heads().iter().map(|head| head.0).collect();
        assert_eq!(heads, [seals.last().expect("not empty").hash]);
        assert_eq!(document.keys(ROOT).count(), seals.len());
        for seal in &seals {
            let found = document.get(ROOT, journal::key(Seq(seal.first))).expect("reads");
            let (value, _) = found.expect("is there");
            assert_eq!(value.as_bytes(), Some(seal.columns.as_slice()));
        }
    }
}

struct GoldenSeal {
    first: u64,
    columns: Vec<u8>,
    change: Vec<u8>,
    hash: [u8; 32],
}

#[test]
fn seals_are_as_they_were() {
    let comment = "what | value; a signed seal is for the first seal of journal.txt and so on";
    let mut golden = Golden::new("seals.txt", comment);
    let log = genesis(false).log_id();
    golden.line(&["secret key", &hex(&key().to_bytes())]);
    golden.line(&["public key", &hex(&key().verifying_key().to_bytes())]);
    let mut tip = JournalTip::default();
    for (first, columns) in sealed_runs() {
        (tip, _) = journal::append(&log, &tip, first, &columns);
        let facts = columns::decode(&columns).expect("just written").len() as u64;
        let seal = Seal {
            log,
            first,
            last: Seq(first.0 + facts - 1),
            head: Head([0x33; 32]),
            document_head: tip.head.expect("a change was made"),
        };
        golden.line(&[&format!("seal from {first}"), &hex(&seal.encode())]);
        golden.line(&[&format!("signed seal from {first}"), &hex(&seal.sign(&key()).encode())]);
    }
    golden.settle();
}

#[test]
fn seals_verify_by_both_readers() {
    let lines = Golden::read("seals.txt");
    let public = key().verifying_key();
    assert_eq!(unhex(&lines[1][1]), public.to_bytes());
    let signed: Vec<_> = lines.iter().filter(|line| line[0].starts_with("signed")).collect();
    assert_eq!(signed.len(), sealed_runs().len());
    for line in signed {
        let bytes = unhex(&line[1]);
        let read = SignedSeal::decode(&bytes).expect(&line[0]);
        read.verify(&public).expect(&line[0]);
        let second = decoder::read_signed_seal(&bytes, &public.to_bytes()).expect(&line[0]);
        let seal = read.seal;
        assert_eq!((second.log, second.head), (seal.log.0, seal.head.0));
        assert_eq!((second.first, second.last), (seal.first.0, seal.last.0));
        assert_eq!(ChangeHash(second.document_head), seal.document_head);
        for place in [0, 33, 40, 120, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[place] ^= 4;
            let accepted =
                SignedSeal::decode(&changed).is_ok_and(|read| read.verify(&public).is_ok());
            assert!(!accepted && decoder::read_signed_seal(&changed, &public.to_bytes()).is_err());
        }
    }
}

// What `FORMAT.md` says.

/// The cells of the table rows under a heading, header rows left out.
fn table(heading: &str) -> Vec<Vec<String>> {
    let section =
        FORMAT_PAGE.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    section
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| {
            line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        })
        .filter(|cells| {
            !cells[0].starts_with("--") && !["number", "name", "bytes"].contains(&cells[0].as_str())
        })
        .collect()
}

#[test]
fn the_page_lists_the_fields_of_the_code() {
    let page: Vec<_> = table("3. Fields")
        .into_iter()
        .map(|cells| (cells[0].clone(), cells[1].trim_matches('`').to_owned(), cells[2].clone()))
        .collect();
    let code: Vec<_> = field::ALL
        .iter()
        .map(|(number, name, wire)| (number.to_string(), (*name).to_owned(), wire.to_lowercase()))
        .collect();
    assert_eq!(page, code, "FORMAT.md section 3 and field.rs");
}

#[test]
fn the_page_lists_the_kinds_of_the_code() {
    let page: Vec<_> = table("4. Kinds")
        .into_iter()
        .map(|cells| (cells[0].clone(), cells[1].trim_matches('`').to_owned()))
        .collect();
    let code: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| (kind.number().0.to_string(), kind.word().to_owned()))
        .collect();
    assert_eq!(page, code, "FORMAT.md section 4 and kind.rs");
}

#[test]
fn the_page_lists_the_policies_of_the_code() {
    let page = table("14. Policies");
    assert_eq!(page.len(), PolicyKind::ALL.len());
    for (cells, policy) in page.iter().zip(PolicyKind::ALL) {
        assert_eq!(cells[0], (*policy as u8).to_string());
        assert_eq!(cells[1].trim_matches('`'), policy.word());
        assert_eq!(cells[2], if policy.is_of_company() { "company" } else { "sites" });
        let choices = (1..).zip(policy.choices()).map(|(number, word)| format!("{number} {word}"));
        let choices = choices.collect::<Vec<_>>().join(", ");
        assert!(cells[3].ends_with(&choices), "{}: {choices}", cells[3]);
    }
}

#[test]
fn the_page_lists_the_contexts_of_the_code() {
    let page: Vec<_> = table("11. Contexts")
        .into_iter()
        .map(|cells| cells[1].trim_matches('`').to_owned())
        .collect();
    assert_eq!(page, context::ALL, "FORMAT.md section 11 and context.rs");
}

#[test]
fn the_example_of_the_page_is_a_fact() {
    let bytes: String =
        table("2. Facts").iter().map(|cells| cells[0].replace(['`', ' '], "")).collect();
    let example = &vectors::facts().named[0];
    assert_eq!(example.0, "example");
    assert_eq!(bytes, hex(&example.1.to_bytes()));
}

// What is true of any input.

fn any_value() -> impl Strategy<Value = Plain> {
    let limit = 1u64 << 53;
    let signed_limit = limit.cast_signed();
    prop_oneof![
        4 => (0u64..300).prop_map(Plain::Unsigned),
        1 => (0..limit).prop_map(Plain::Unsigned),
        1 => Just(Plain::Unsigned(limit - 1)),
        4 => (-200i64..200).prop_map(Plain::Signed),
        1 => (1 - signed_limit..signed_limit).prop_map(Plain::Signed),
        1 => Just(Plain::Signed(1 - signed_limit)),
        3 => proptest::sample::select(vec!["EA", "kg", "箱", "a text of over sixteen bytes"])
            .prop_map(|text| Plain::Bytes(text.as_bytes().to_vec())),
        1 => proptest::collection::vec(any::<u8>(), 1..200).prop_map(Plain::Bytes),
    ]
}

fn any_number() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 1u16..16, 1 => 1u16..=u16::MAX, 1 => Just(u16::MAX)]
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let kind = prop_oneof![6 => 1u16..5, 1 => 1u16..=u16::MAX];
    let fields = proptest::collection::vec((any_number(), any_value()), 0..12);
    (kind, fields).prop_map(|(kind, fields)| {
        let mut fact = Fact::with_number(KindNo(kind));
        for (number, value) in fields {
            match fact.set(number, as_value(&value)) {
                Ok(()) | Err(Malformed::TooLarge) => {}
                Err(refusal) => panic!("a legal field is refused: {refusal}"),
            }
        }
        fact
    })
}

/// Facts that mostly repeat each other, as facts of a log do.
fn any_facts() -> impl Strategy<Value = Vec<Fact>> {
    let alike = (
        proptest::collection::vec(any_fact(), 1..4),
        proptest::collection::vec((0usize..4, 0u64..1_000), 0..150),
    )
        .prop_map(|(kinds_of_facts, picks)| {
            let one = |(index, (pick, number)): (usize, (usize, u64))| {
                let mut fact = kinds_of_facts[pick % kinds_of_facts.len()].clone();
                for (field, value) in [(2, 100 + index as u64), (11, number)] {
                    // No room in a few facts.
                    let _ = fact.set(field, Value::Unsigned(value));
                }
                fact
            };
            picks.into_iter().enumerate().map(one).collect()
        });
    prop_oneof![2 => alike, 1 => proptest::collection::vec(any_fact(), 0..40)]
}

/// Changes to bytes: a place and what happens there.
fn any_changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..5)
}

fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (place, how, byte) in changes {
        if bytes.is_empty() {
            return bytes;
        }
        let place = place.index(bytes.len());
        match how % 6 {
            0 => bytes[place] = *byte,
            1 => bytes[place] ^= 1 << (byte % 8),
            2 => bytes[place] = bytes[place].wrapping_add(1),
            3 => bytes.truncate(place),
            4 => bytes.insert(place, *byte),
            _ => drop(bytes.remove(place)),
        }
    }
    bytes
}

/// Both readers take these columns or neither does, and what is taken has one form.
fn readers_agree_on_columns(bytes: &[u8]) {
    match (columns::decode(bytes), decoder::read_columns(bytes)) {
        (Ok(facts), Ok(second)) => {
            assert_eq!(facts.iter().map(plain).collect::<Vec<_>>(), second);
            assert_eq!(columns::encode(&facts), bytes);
        }
        (Err(_), Err(_)) => {}
        (first, second) => panic!("the readers differ: {first:?}, {second:?}"),
    }
    match (columns::split(bytes), columns::decode(bytes)) {
        (Ok(parts), _) => assert_eq!(parts.concat(), bytes),
        (Err(_), Err(_)) => {}
        (Err(refusal), Ok(_)) => panic!("columns do not split: {refusal}"),
    }
}

proptest! {
    // A failure prints its smallest input; that becomes a test of its own, not a file of seeds.
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_fact_reads_back(fact in any_fact()) {
        let bytes = fact.to_bytes();
        prop_assert_eq!(bytes.len(), fact.encoded_len());
        prop_assert_eq!(decode_fact(&bytes), Ok(fact.clone()));
        let (second, length) = decoder::read_fact(&bytes).expect("a legal fact");
        prop_assert_eq!((second, length), (plain(&fact), bytes.len()));
    }

    #[test]
    fn readers_agree_on_changed_facts(fact in any_fact(), changes in any_changes()) {
        let bytes = changed(fact.to_bytes(), &changes);
        let mut rest = bytes.as_slice();
        match (Fact::decode(&mut rest), decoder::read_fact(&bytes)) {
            (Ok(fact), Ok((second, length))) => {
                prop_assert_eq!(plain(&fact), second);
                prop_assert_eq!(rest.len(), bytes.len() - length);
                prop_assert_eq!(&fact.to_bytes(), &bytes[..length]);
            }
            (Err(_), Err(_)) => {}
            (first, second) => prop_assert!(false, "the readers differ: {:?}, {:?}", first, second),
        }
    }

    #[test]
    fn any_facts_make_one_form_of_columns(facts in any_facts()) {
        let bytes = columns::encode(&facts);
        prop_assert_eq!(columns::decode(&bytes), Ok(facts.clone()));
        let second: Vec<_> = facts.iter().map(plain).collect();
        prop_assert_eq!(decoder::columns_of(&second), bytes.clone());
        readers_agree_on_columns(&bytes);
        let packed = packing::pack(&bytes);
        prop_assert!(packed.len() <= bytes.len() + 1);
        prop_assert_eq!(packing::unpack(&packed), Ok(bytes.clone()));
        prop_assert_eq!(decoder::unpack(&packed), Ok(bytes));
    }

    #[test]
    fn readers_agree_on_changed_columns(facts in any_facts(), changes in any_changes()) {
        readers_agree_on_columns(&changed(columns::encode(&facts), &changes));
    }

    #[test]
    fn readers_agree_on_any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0u8..30) {
        readers_agree_on_columns(&bytes);
        // Most bytes fail at the version, so give them a start.
        bytes.splice(0..0, [1, count, 1, 1]);
        readers_agree_on_columns(&bytes);
        let _ = decode_fact(&bytes);
        let _ = SignedSeal::decode(&bytes);
        let _ = JournalTip::decode(&bytes);
        prop_assert_eq!(Genesis::decode(&bytes).is_ok(), decoder::read_genesis(&bytes).is_ok());
    }

    #[test]
    fn changed_packings_unpack_the_same_or_are_refused(facts in any_facts(), changes in any_changes()) {
        let packed = changed(packing::pack(&columns::encode(&facts)), &changes);
        match (packing::unpack(&packed), decoder::unpack(&packed)) {
            (Ok(first), Ok(second)) => prop_assert_eq!(first, second),
            (Err(_), Err(_)) => {}
            (first, second) => prop_assert!(false, "the readers differ: {:?}, {:?}", first, second),
        }
    }

    #[test]
    fn heads_do_not_depend_on_cuts(facts in any_facts(), repeat in 1usize..30, cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5)) {
        let facts: Vec<_> = facts.iter().cycle().take(facts.len() * repeat).cloned().collect();
        let log = genesis(false).log_id();
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(facts.len() + 1)).collect();
        places.extend([0, facts.len()]);
        places.sort_unstable();
        let mut chain = Chain::start(log);
        for pair in places.windows(2) {
            let (start, head) = chain.window();
            let mut resumed = Chain::resume(log, start, head);
            let start = usize::try_from(start.0).expect("small");
            for fact in &facts[start..pair[0]] {
                resumed.append(&fact.to_bytes());
            }
            prop_assert_eq!(resumed.head(), chain.head());
            resumed.extend(&facts[pair[0]..pair[1]]);
            chain = resumed;
        }
        let bytes: Vec<_> = facts.iter().map(Fact::to_bytes).collect();
        prop_assert_eq!((chain.seq(), chain.head().0), (Seq(facts.len() as u64), decoder::head(log.0, &bytes)));
    }

    #[test]
    fn any_documents_come_out_the_same(runs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..400), 1..20)) {
        let log = LogId([7; 32]);
        let mut tip = JournalTip::default();
        for (index, columns) in runs.iter().enumerate() {
            let first = 1 + index as u64 * 3;
            let before = tip.head.map(|head| head.0);
            let (next, change) = journal::append(&log, &tip, Seq(first), columns);
            let second = decoder::journal_change(&log.0, first, index as u64 + 1, before, columns);
            prop_assert_eq!((change, next.head.map(|head| head.0)), (second.0, Some(second.1)));
            tip = next;
        }
    }
}
