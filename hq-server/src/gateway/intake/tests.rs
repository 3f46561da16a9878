//! The intake as its callers see it.

use redb::backends::InMemoryBackend;
use shared::document::journal::{self, JournalTip};
use shared::fact::Kind;
use shared::fact::statement::Measure;
use shared::fact::statement::{Movement, Stamp, Statement};
use shared::ids::{Capture, ItemNo, ReasonNo};
use shared::quantity::{Scaled, Unit};
use shared::segment::chain::{Chain, FORMAT};
use shared::segment::seal::{Seal, last_sealable};
use shared::segment::{SEGMENT_FACTS_MAX, columns};
use shared::time::OffsetMinutes;

use super::*;

const SITE: SiteNo = SiteNo(4);
const DEVICE: DeviceNo = DeviceNo(3);

fn options() -> IntakeOptions {
    IntakeOptions {
        key: SigningKey::from_bytes(&[1; 32]),
        history: HistoryId([2; 32]),
        clock: Clock::from_fn(|| Timestamp(1_795_519_885_000)),
        cache_bytes: 1 << 20,
    }
}

/// A site's log as its writer holds it.
struct Site {
    key: SigningKey,
    genesis: Genesis,
    facts: Vec<Fact>,
    tip: JournalTip,
    sealed: u64,
}

impl Site {
    fn new(mark: u8) -> Self {
        Self::of(mark, DEVICE)
    }

    fn of(mark: u8, device: DeviceNo) -> Self {
        let key = SigningKey::from_bytes(&[mark; 32]);
        let genesis = Genesis {
            format: FORMAT,
            site: SITE,
            device,
            random: [mark; 32],
            public_key: key.verifying_key().to_bytes(),
            predecessor: None,
        };
        Self { key, genesis, facts: Vec::new(), tip: JournalTip::start(0), sealed: 0 }
    }

    fn log(&self) -> LogId {
        self.genesis.log_id()
    }

    fn record(&mut self, count: u64) {
        for _ in 0..count {
            let counter = self.facts.len() as u64 + 1;
            let stamp = Stamp {
                capture: Capture { device: self.genesis.device, counter },
                recorded_at: Timestamp(1_795_519_880_000 + counter.cast_signed()),
                occurred_at: Timestamp(1_795_519_880_000 + counter.cast_signed()),
                utc_offset: OffsetMinutes(480),
                group_left: 0,
                person: None,
                time_in_doubt: 0,
                company: None,
            };
            let quantity = Measure {
                figure: Scaled::new(counter.cast_signed(), 0).expect("in range"),
                unit: Unit::from_bytes(b"EA").expect("a unit"),
            };
            let mut movement = Movement::new(Kind::Adjustment, ItemNo(7), quantity);
            movement.reason = Some(ReasonNo(1));
            self.facts.push(Statement::Movement(movement).to_fact(&stamp).expect("fits"));
        }
    }

    fn head(&self, last: u64) -> Head {
        let mut chain = Chain::start(self.log());
        chain.extend(&self.facts[..usize::try_from(last).expect("small")]);
        chain.head()
    }

    fn part(&self, first: u64, last: u64) -> (Seq, Vec<Fact>, Head) {
        let range =
            usize::try_from(first - 1).expect("small")..usize::try_from(last).expect("small");
        (Seq(first), self.facts[range].to_vec(), self.head(last))
    }

    fn seal(&mut self) -> SignedSeal {
        self.seal_to(self.facts.len() as u64)
    }

    fn seal_to(&mut self, last: u64) -> SignedSeal {
        let first = Seq(self.sealed + 1);
        let last = last_sealable(first, Seq(last));
        let (_, facts, head) = self.part(first.0, last.0);
        let log = self.log();
        (self.tip, _) = journal::append(&log, &self.tip, first, &columns::encode(&facts));
        self.sealed = last.0;
        let document_head = self.tip.head.expect("a change was appended");
        Seal { log, first, last, head, document_head }.sign(&self.key)
    }
}

async fn send(
    intake: &Intake,
    site: &Site,
    first: u64,
    last: u64,
) -> Result<Position, IntakeError> {
    let (first, facts, head) = site.part(first, last);
    intake.accept(&site.log(), first, facts, head).await
}

fn refused(result: Result<Position, IntakeError>) -> RunRefused {
    match result {
        Err(IntakeError::Run(refused)) => refused,
        other => panic!("expected a refused run, got {other:?}"),
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("starts").block_on(test)
}

fn intake() -> Intake {
    Intake::open_backend(InMemoryBackend::new(), options()).expect("opens")
}

#[test]
fn facts_are_taken_once_in_order() {
    run(async {
        let (intake, mut site) = (intake(), Site::new(9));
        site.record(3_000);
        let unknown = send(&intake, &site, 1, 1).await;
        assert!(matches!(unknown, Err(IntakeError::UnknownLog(_))));
        let no = intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        assert_eq!(intake.register(SITE, DEVICE, &site.genesis).await.expect("again"), no);

        let position = send(&intake, &site, 1, 1_500).await.expect("taken");
        assert_eq!(position, Position { last: Seq(1_500), head: site.head(1_500) });
        for (first, last) in [(1, 1_500), (1, 7), (1_000, 1_024), (1_400, 1_500)] {
            assert_eq!(send(&intake, &site, first, last).await.expect("harmless"), position);
        }
        assert_eq!(
            refused(send(&intake, &site, 1_502, 1_600).await),
            RunRefused::Gap { expected: Seq(1_501), first: Seq(1_502) }
        );
        let position = send(&intake, &site, 1_000, 3_000).await.expect("the new part is taken");
        assert_eq!(position.last, Seq(3_000));
        assert_eq!(intake.cursor(&site.log()), Some(position));
        let fact = intake.fact(no, Seq(2_999)).expect("reads");
        assert_eq!(fact.as_ref(), Some(&site.facts[2_998]));
        let acknowledged = intake.acknowledgement(&site.log()).expect("is known");
        acknowledged.verify(&options().key.verifying_key()).expect("signed by HQ");
        assert_eq!(acknowledged.acknowledgement.received, position);
    });
}

#[test]
fn another_history_is_refused_and_shown() {
    run(async {
        let (intake, mut site) = (intake(), Site::new(9));
        site.record(20);
        intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        send(&intake, &site, 1, 20).await.expect("taken");
        let mut clone = Site::new(9);
        clone.record(30);
        clone.facts.swap(3, 4);
        assert_eq!(refused(send(&intake, &clone, 1, 20).await), RunRefused::Fork(Seq(20)));
        assert_eq!(refused(send(&intake, &clone, 21, 30).await), RunRefused::Fork(Seq(30)));
        assert_eq!(refused(send(&intake, &clone, 1, 10).await), RunRefused::Fork(Seq(10)));
        assert!(intake.log(&site.log()).expect("is known").refusal.is_some());
        site.record(1);
        send(&intake, &site, 21, 21).await.expect("the true one goes on");
    });
}

#[test]
fn seals_are_proved_before_they_are_kept() {
    run(async {
        let (intake, mut site) = (intake(), Site::new(9));
        let no = intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        for last in 1..=100 {
            site.record(1);
            send(&intake, &site, last, last).await.expect("taken");
        }
        let good = site.seal();
        let mut forged = good;
        forged.signature[0] ^= 1;
        let other_head = Seal { head: Head([0; 32]), ..good.seal }.sign(&site.key);
        let document_head = shared::ids::ChangeHash([0; 32]);
        let other_document = Seal { document_head, ..good.seal }.sign(&site.key);
        let beyond = Seal { last: Seq(101), ..good.seal }.sign(&site.key);
        let gap = Seal { first: Seq(2), ..good.seal }.sign(&site.key);
        let cases = [
            (forged, SealRefused::BadSignature { first: Seq(1), last: Seq(100) }),
            (gap, SealRefused::Gap { expected: Seq(1), first: Seq(2) }),
            (beyond, SealRefused::Beyond { last: Seq(101), received: Seq(100) }),
            (other_head, SealRefused::OtherHead(Seq(100))),
            (other_document, SealRefused::OtherDocument(Seq(100))),
        ];
        for (seal, expected) in cases {
            match intake.accept_seal(seal).await {
                Err(IntakeError::Seal(refused)) => assert_eq!(refused, expected),
                other => panic!("expected {expected:?}, got {other:?}"),
            }
        }
        intake.accept_seal(good).await.expect("taken");
        intake.accept_seal(good).await.expect("harmless");
        let other = Seal { last: Seq(50), head: site.head(50), ..good.seal }.sign(&site.key);
        let other = intake.accept_seal(other).await;
        assert!(matches!(other, Err(IntakeError::Seal(SealRefused::OtherSeal(Seq(1))))));
        assert_eq!(intake.seals(no, Seq(70), 9).expect("reads"), [good]);
        assert_eq!(intake.log(&site.log()).expect("is known").sealed, Seq(100));
        let piece = intake.shared.file.piece(no, Seq(5)).expect("reads").expect("is there");
        assert_eq!((piece.first, piece.last), (Seq(1), Seq(100)), "sealed facts lie together");
        assert_eq!(piece.facts, site.facts);
        site.record(5);
        send(&intake, &site, 101, 105).await.expect("taken");
        intake.accept_seal(site.seal()).await.expect("taken");
    });
}

#[test]
fn everything_is_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("intake.redb");
    let mut site = Site::new(9);
    site.record(5_000);
    run(async {
        let intake = Intake::create(&path, options()).expect("is made");
        intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        let in_use = Intake::open(&path, options()).expect_err("one process at a time");
        assert!(matches!(in_use, FileError::InUse));
        send(&intake, &site, 1, 1_100).await.expect("taken");
        send(&intake, &site, 1_101, 5_000).await.expect("taken");
        intake.accept_seal(site.seal()).await.expect("taken");
        intake.close();
    });
    run(async {
        let intake = Intake::open(&path, options()).expect("opens");
        let position = Position { last: Seq(5_000), head: site.head(5_000) };
        assert_eq!(intake.cursor(&site.log()), Some(position));
        site.record(100);
        send(&intake, &site, 4_990, 5_100).await.expect("taken");
        intake.accept_seal(site.seal()).await.expect("taken");
        assert_eq!(intake.next_device(), DeviceNo(4));
        intake.close();
        assert!(matches!(send(&intake, &site, 1, 5).await, Err(IntakeError::Stopped)));
    });
}

#[test]
fn an_installation_has_one_log() {
    run(async {
        let intake = intake();
        intake.register(SITE, DEVICE, &Site::new(9).genesis).await.expect("registers");
        let second = intake.register(SITE, DEVICE, &Site::new(8).genesis).await;
        let expected = RegisterRefused::DeviceHasLog(DEVICE);
        assert!(matches!(second, Err(IntakeError::Register(refused)) if refused == expected));
        let other_site = intake.register(SiteNo(5), DEVICE, &Site::new(9).genesis).await;
        assert!(matches!(other_site, Err(IntakeError::Register(RegisterRefused::OtherGenesis))));
    });
}

#[test]
fn many_senders_share_commits() {
    let intake = intake();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("starts");
    let mut sites = Vec::new();
    for mark in 1..=20 {
        let mut site = Site::of(mark, DeviceNo(mark.into()));
        site.record(200);
        sites.push(site);
    }
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for site in sites {
            let intake = intake.clone();
            tasks.push(tokio::spawn(async move {
                intake.register(SITE, site.genesis.device, &site.genesis).await.expect("registers");
                for last in 1..=200 {
                    send(&intake, &site, last, last).await.expect("taken");
                }
            }));
        }
        for task in tasks {
            task.await.expect("ends");
        }
    });
    assert!(intake.logs().iter().all(|log| log.received.last == Seq(200)));
}

/// Three logs: one with facts in a piece and after them in its tail, one in a tail alone, and one
/// that came to more than a tail holds.
async fn with_tails(intake: &Intake) -> Vec<Site> {
    let mut sites: Vec<Site> = (1..=3).map(|mark| Site::of(mark, DeviceNo(mark.into()))).collect();
    for (site, facts) in sites.iter_mut().zip([310, 5, 1_400]) {
        intake.register(SITE, site.genesis.device, &site.genesis).await.expect("registers");
        site.record(facts);
    }
    send(intake, &sites[0], 1, 300).await.expect("taken");
    for last in 1..=5 {
        send(intake, &sites[0], 300 + last * 2 - 1, 300 + last * 2).await.expect("taken");
        send(intake, &sites[1], last, last).await.expect("taken");
    }
    for last in 1..=14 {
        send(intake, &sites[2], last * 100 - 99, last * 100).await.expect("taken");
    }
    sites
}

fn tail_of(intake: &Intake, site: &Site) -> Option<(Seq, Seq)> {
    let no = intake.log_no(&site.log()).expect("is known");
    let tail = intake.shared.file.tails().joined(no)?;
    Some((tail.first, tail.last))
}

/// Every way of reading gives what was sent.
fn prove(intake: &Intake, sites: &[Site]) {
    for site in sites {
        let count = site.facts.len() as u64;
        let status = intake.log(&site.log()).expect("is known");
        assert_eq!(status.received, Position { last: Seq(count), head: site.head(count) });
        let no = status.record.no;
        for (first, last) in [(1, count), (count - 3, count - 1), (count / 2, count), (299, 303)] {
            let (first, last) = (first.min(count), last.min(count));
            let facts = intake.facts(no, Seq(first), Seq(last)).expect("reads");
            assert_eq!(facts, site.part(first, last).1, "facts {first} to {last}");
            let head = intake.head_at(&site.log(), Seq(last)).expect("reads");
            assert_eq!(head, Some(site.head(last)));
        }
        assert_eq!(intake.facts(no, Seq(count + 1), Seq(count + 9)).expect("reads"), []);
    }
}

#[test]
fn small_runs_are_read_like_all_others_and_are_there_after_opening_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("intake.redb");
    let (sites, tails) = run(async {
        let intake = Intake::create(&path, options()).expect("is made");
        let sites = with_tails(&intake).await;
        prove(&intake, &sites);
        let tails: Vec<_> = sites.iter().map(|site| tail_of(&intake, site)).collect();
        intake.close();
        (sites, tails)
    });
    assert_eq!(tails[..2], [Some((Seq(301), Seq(310))), Some((Seq(1), Seq(5)))]);
    let (first, last) = tails[2].expect("some runs came after the last piece");
    assert!(first > Seq(400) && last == Seq(1_400), "from {first} to {last}");
    run(async {
        let intake = Intake::open(&path, options()).expect("opens");
        prove(&intake, &sites);
        let again: Vec<_> = sites.iter().map(|site| tail_of(&intake, site)).collect();
        assert_eq!(again, tails);
        // Another history is told from the true one inside a tail, too.
        let mut clone = Site::of(2, DeviceNo(2));
        clone.record(5);
        clone.facts.swap(2, 3);
        assert_eq!(refused(send(&intake, &clone, 1, 4).await), RunRefused::Fork(Seq(4)));
        send(&intake, &sites[1], 1, 5).await.expect("harmless");
        intake.close();
    });
}

#[test]
fn a_seal_and_a_large_run_make_pieces_of_a_tail() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("intake.redb");
    let mut sites = run(async {
        let intake = Intake::create(&path, options()).expect("is made");
        let mut sites = with_tails(&intake).await;
        for site in &mut sites {
            intake.accept_seal(site.seal()).await.expect("taken");
            assert_eq!(tail_of(&intake, site), None);
            site.record(1);
            let last = site.facts.len() as u64;
            send(&intake, site, last, last).await.expect("taken");
            assert_eq!(tail_of(&intake, site), Some((Seq(last), Seq(last))));
        }
        prove(&intake, &sites);
        intake.close();
        sites
    });
    run(async {
        let intake = Intake::open(&path, options()).expect("opens");
        prove(&intake, &sites);
        for site in &mut sites {
            let first = site.facts.len() as u64 + 1;
            site.record(256);
            send(&intake, site, first, first + 255).await.expect("taken");
            assert_eq!(tail_of(&intake, site), None);
            let no = intake.log_no(&site.log()).expect("is known");
            let piece = intake.piece(no, Seq(first)).expect("reads").expect("is there");
            assert_eq!((piece.first, piece.last), (Seq(first), Seq(first + 255)));
            let stored = intake.shared.file.piece(no, Seq(first)).expect("reads");
            assert_eq!(stored.expect("is there").first, Seq(first - 1), "the tail lies before it");
        }
        prove(&intake, &sites);
        assert_eq!(intake.shared.file.tails().last_block(), tails::BlockNo(0), "no block is left");
        intake.close();
    });
    run(async {
        let intake = Intake::open(&path, options()).expect("opens");
        prove(&intake, &sites);
        intake.close();
    });
}

#[test]
fn a_copy_has_the_tails_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("intake.redb"), folder.path().join("copy.redb"));
    let mut sites = run(async {
        let intake = Intake::create(&path, options()).expect("is made");
        let sites = with_tails(&intake).await;
        intake.copy_to(&copy).expect("copies");
        intake.close();
        sites
    });
    let cursors = Intake::cursors_of(&copy).expect("reads");
    let lasts: Vec<Seq> = cursors.into_iter().map(|(_, last)| last).collect();
    assert_eq!(lasts, [Seq(310), Seq(5), Seq(1_400)]);
    run(async {
        let intake = Intake::open(&copy, options()).expect("opens");
        prove(&intake, &sites);
        for site in &mut sites {
            site.record(2);
            let last = site.facts.len() as u64;
            send(&intake, site, last - 1, last).await.expect("taken");
            intake.accept_seal(site.seal()).await.expect("taken");
        }
        prove(&intake, &sites);
        intake.close();
    });
}

/// The pieces of a log's file, in order.
fn pieces(intake: &Intake, no: LogNo) -> Vec<Arc<Piece>> {
    let (mut next, mut pieces) = (Seq(1), Vec::new());
    while let Some(piece) = intake.shared.file.piece(no, next).expect("reads") {
        next = piece.last.next();
        pieces.push(piece);
    }
    pieces
}

#[test]
fn seals_join_pieces_and_cut_none() {
    run(async {
        let (intake, mut site) = (intake(), Site::new(9));
        let no = intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        // A group lies across the end of the first seal.
        site.record(4_200);
        let left = shared::fact::field::GROUP_LEFT;
        left.put(&mut site.facts[4_095], Some(1_u64)).expect("fits");
        for last in 1..=42 {
            send(&intake, &site, last * 100 - 99, last * 100).await.expect("taken");
        }
        let before = pieces(&intake, no).len();
        let seal = site.seal();
        assert_eq!(seal.seal.last, Seq(4_096));
        intake.accept_seal(seal).await.expect("taken");
        let after = pieces(&intake, no);
        assert!(after.len() == 2 && before > 4, "{before} pieces became {}", after.len());
        assert!(after.iter().all(|piece| piece.facts.len() <= SEGMENT_FACTS_MAX));
        assert!(after.iter().all(|piece| piece.head == site.head(piece.last.0)));
        let is_whole = |piece: &Arc<Piece>| left.of(&piece.facts[piece.facts.len() - 1]).is_none();
        assert!(after.iter().all(is_whole), "a group is cut");
        intake.accept_seal(site.seal()).await.expect("taken");
        prove(&intake, &[site]);
    });
}

#[test]
fn large_pieces_stay_and_small_ones_are_joined_seldom() {
    run(async {
        let (intake, mut site) = (intake(), Site::new(9));
        let no = intake.register(SITE, DEVICE, &site.genesis).await.expect("registers");
        site.record(4_000);
        send(&intake, &site, 1, 4_000).await.expect("taken");
        let sizes = |intake: &Intake| -> Vec<usize> {
            pieces(intake, no).iter().map(|piece| piece.facts.len()).collect()
        };
        intake.accept_seal(site.seal_to(900)).await.expect("taken");
        assert_eq!(sizes(&intake), [4_000], "a seal inside a piece changes nothing");
        // Runs of 300 and seals that end inside them.
        for turn in 0..20 {
            site.record(300);
            let last = 4_300 + turn * 300;
            send(&intake, &site, last - 299, last).await.expect("taken");
            intake.accept_seal(site.seal_to(last - 100)).await.expect("taken");
        }
        let sizes = sizes(&intake);
        assert!(sizes[0] == 4_000 && sizes.len() <= 11, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= SEGMENT_FACTS_MAX));
        prove(&intake, &[site]);
    });
}
