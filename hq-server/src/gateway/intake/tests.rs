//! The intake as its callers see it.

use redb::backends::InMemoryBackend;
use shared::document::journal::{self, JournalTip};
use shared::fact::Kind;
use shared::fact::statement::Measure;
use shared::fact::statement::{Movement, Stamp, Statement};
use shared::ids::{Capture, ItemNo, ReasonNo};
use shared::quantity::{Scaled, Unit};
use shared::segment::chain::{Chain, FORMAT};
use shared::segment::columns;
use shared::segment::seal::{Seal, last_sealable};
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
        let key = SigningKey::from_bytes(&[mark; 32]);
        let genesis = Genesis {
            format: FORMAT,
            site: SITE,
            device: DEVICE,
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
                capture: Capture { device: DEVICE, counter },
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
        let first = Seq(self.sealed + 1);
        let last = last_sealable(first, Seq(self.facts.len() as u64));
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
        let mut site = Site::new(mark);
        site.genesis.device = DeviceNo(mark.into());
        site.record(200);
        for fact in &mut site.facts {
            shared::fact::field::CAPTURE_DEVICE.put(fact, Some(u64::from(mark))).expect("fits");
        }
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
