//! HQ restored from a backup: no number that it had given means something else afterwards, and what
//! nodes are witnesses of is stated.

mod common;

use std::path::Path;

use common::{Hands, Site, init, populate, receipt, sale};
use hq_server::gateway::store::HqStore as _;
use hq_server::headquarters::{Headquarters, restore};
use hq_server::own_log::{Draft, DraftError, ItemDraft};
use hq_server::report::words::Language;
use hq_server::web::desk::Desk as _;
use shared::catalogue::Catalogue;
use shared::document::Actor;
use shared::fact::statement::CostScope;
use shared::ids::{Capture, CompanyNo, DeviceNo, Head, ItemNo, Seq, SiteNo};
use shared::sync::{Code, Position, SignedAcknowledgement, SignedStateBatch, StateCursor};
use tempfile::TempDir;

/// HQ with one site that recorded something, and a backup of both.
struct Company {
    folder: TempDir,
    hands: Hands,
    site: Site,
    lives: u32,
}

impl Company {
    async fn new() -> (Self, Headquarters) {
        let folder = tempfile::tempdir().expect("a folder");
        let hands = Hands::new();
        let hq = init(&folder.path().join("0"), CostScope::Site, hands.clock()).await;
        populate(&hq, 1).await;
        let mut site = Site::new(1, 2);
        site.enrol(&hq).await;
        site.record(receipt(1, "10", "2"));
        site.send(&hq, 9).await;
        site.posted(&hq).await;
        hq.backup(&folder.path().join("backup")).expect("copied");
        hands.move_ms(3_600_000);
        (Self { folder, hands, site, lives: 0 }, hq)
    }

    /// HQ as it was when the backup was made.
    async fn restored(&mut self, hq: Headquarters) -> Headquarters {
        hq.close().await;
        drop(hq);
        self.lives += 1;
        let to = self.folder.path().join(self.lives.to_string());
        let now = self.hands.clock().now();
        restore(&self.folder.path().join("backup"), &to, now).expect("restored");
        self.open(&to)
    }

    fn open(&self, at: &Path) -> Headquarters {
        Headquarters::open(at, self.hands.clock()).expect("opens")
    }
}

/// A new item, with its number and the capture that states it.
async fn item(hq: &Headquarters, code: &str) -> (ItemNo, Capture) {
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        let number = draft.item(&ItemDraft {
            code: code.to_owned(),
            name: code.to_owned(),
            category: "goods".to_owned(),
            unit: "EA".to_owned(),
            ..ItemDraft::default()
        })?;
        Ok::<_, DraftError>((draft.into_groups(), number))
    });
    let (captures, number) = stated.await.expect("recorded");
    (number, captures[0])
}

/// An image of the site's box is used on; the number of its branch.
async fn branch(hq: &Headquarters, site: &Site) -> DeviceNo {
    let mut image = site.image(0);
    image.record(receipt(1, "7", "3"));
    let start = Position { last: Seq::ZERO, head: Head(image.log().0) };
    hq.open_branch(image.peer, image.log(), [image.position(), start]).await.expect("its log");
    let run = image.run(1, 1);
    let place = hq.accept_branch(image.peer, image.log(), run).await.expect("taken");
    hq.intake().log(&place.log).expect("is there").record.device
}

fn held(hq: &Headquarters, site: &Site) -> SignedAcknowledgement {
    hq.acknowledgement(&site.log()).expect("known")
}

fn assert_whole(hq: &Headquarters) {
    assert_eq!(hq.verify().expect("reads").problems, Vec::<String>::new());
    hq.published().ledgers().books.check().expect("the books hold");
}

#[tokio::test]
async fn a_restored_hq_writes_in_documents_as_somebody_else() {
    let (mut company, mut hq) = Company::new().await;
    let mut writers = Vec::new();
    for _ in 0..3 {
        let sender = hq.document_sender();
        // What it writes now is lost, and lies at the sites under its author's next number.
        let id = "notes:1".parse().expect("a name");
        let puts = [("topic/gate", "closed".to_owned())];
        hq.documents().edit(id, &sender, company.hands.clock().now(), &puts).expect("written");
        writers.push(Actor::of(sender.site, sender.device, &sender.log));
        hq = company.restored(hq).await;
    }
    writers.sort_unstable();
    writers.dedup();
    assert_eq!(writers.len(), 3, "each life of HQ numbers its changes for itself");
}

#[tokio::test]
async fn no_number_is_given_twice() {
    let (mut company, mut hq) = Company::new().await;
    let mut given = Vec::new();
    // The second life is lost as well; the third is opened twice.
    for life in 0..4 {
        if life == 3 {
            hq.close().await;
            drop(hq);
            hq = company.open(&company.folder.path().join("2"));
        } else if life > 0 {
            hq = company.restored(hq).await;
        }
        let branch = if life < 3 { Some(branch(&hq, &company.site).await) } else { None };
        given.push((item(&hq, &format!("late-{life}")).await, branch));
        assert_whole(&hq);
        company.hands.move_ms(3_600_000);
    }
    for (at, ((item, capture), branch)) in given.iter().enumerate() {
        for ((other_item, other_capture), other_branch) in &given[..at] {
            assert_ne!(item, other_item, "{given:?}");
            assert_ne!(capture, other_capture, "{given:?}");
            assert!(branch.is_none() || branch != other_branch, "{given:?}");
            assert_ne!(Some(capture.device), *other_branch, "{given:?}");
        }
    }
    // Whoever opens HQ again goes on with the log of its present life.
    assert_eq!(given[2].0.1.device, given[3].0.1.device);
    hq.close().await;
}

#[tokio::test]
async fn vouchers_go_on_above_what_nodes_saw() {
    let (mut company, hq) = Company::new().await;
    for _ in 0..6 {
        company.site.record(sale(1, "1", "5"));
    }
    company.site.send(&hq, 9).await;
    company.site.posted(&hq).await;
    for code in ["a", "b", "c"] {
        item(&hq, code).await;
    }
    let held_then = held(&hq, &company.site);
    let last = |hq: &Headquarters| {
        hq.published().ledgers().books.voucher_counts().map(|(.., last)| last).max()
    };
    assert_eq!(last(&hq), Some(7));
    let hq = company.restored(hq).await;
    hq.hear_witness(held_then).await;
    hq.hear_witness(held_then).await;
    company.site.record(sale(1, "1", "5"));
    company.site.send(&hq, 9).await;
    company.site.posted(&hq).await;
    let losses = hq.published().ledgers().books.losses().clone();
    let [loss] = losses.vouchers() else { panic!("{losses:?}") };
    assert_eq!((loss.company, loss.first, loss.last), (CompanyNo::FIRST, 2, 7));
    let [restored, told] = losses.own() else { panic!("{losses:?}") };
    assert_eq!((restored.lost, restored.skipped), (None, 1_060));
    assert_eq!(told.lost, Some(held_then.acknowledgement.given.stated));
    assert_eq!((told.log, told.after, told.skipped), (restored.log, restored.after, 0));
    assert_whole(&hq);
    let status = hq.desk().vouchers(None, 1).expect("reads");
    let sentences: Vec<_> =
        status.lost.iter().flat_map(|lost| lost.sentences(Language::English.words())).collect();
    assert!(sentences.iter().any(|each| each.contains("JV-0007")), "{sentences:?}");
    hq.close().await;
}

/// All keyed state that a site is told, as HQ signs it.
fn told(hq: &Headquarters) -> Vec<SignedStateBatch> {
    let mut batches: Vec<SignedStateBatch> = Vec::new();
    let mut at = StateCursor::START;
    while let Some(batch) = hq.intake().state_since(SiteNo(1), at, 3) {
        at = batch.batch.to;
        batches.push(batch);
    }
    batches
}

#[tokio::test]
async fn what_nodes_know_is_stated_again_under_its_numbers() {
    let (mut company, mut hq) = Company::new().await;
    let (first, _) = item(&hq, "first").await;
    // The clock stands still.
    let early = told(&hq);
    let (second, _) = item(&hq, "second").await;
    rename(&hq, "first", "First of all").await;
    let late = told(&hq);
    // The restored one's clock is a day behind.
    company.hands.move_ms(-86_400_000);
    // Whichever comes back first, in one life or over two of them.
    for order in [[&early, &late], [&late, &early]] {
        hq = company.restored(hq).await;
        let (other, _) = item(&hq, "second").await;
        assert_ne!(other, second);
        for batch in order.into_iter().flatten() {
            hq.take_back(batch.clone()).await;
        }
        let own = hq.intake().given().stated;
        for batch in order.into_iter().flatten() {
            hq.take_back(batch.clone()).await;
        }
        assert_eq!(hq.intake().given().stated, own, "what is known is not stated again");
        let catalogue = hq.published().catalogue();
        let named = |number| catalogue.item(number).map(|item| (item.code.as_str(), &*item.name));
        assert_eq!(named(first), Some(("first", "First of all")));
        assert_eq!(named(second), Some((&*format!("second-{second}"), "second")));
        assert_eq!(named(other), Some(("second", "second")), "a person decides");
        drop(catalogue);
        assert_whole(&hq);
    }
    let mut forged = late[0].clone();
    forged.signature[0] ^= 1;
    let own = hq.intake().given().stated;
    hq.take_back(forged).await;
    assert_eq!(hq.intake().given().stated, own, "what HQ did not sign is left");
    hq.close().await;
}

/// Another site may carry for site 1: so site 1 is told of logs.
async fn let_carry(hq: &Headquarters) {
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.site(SiteNo(7), "seven", "Seven")?;
        let own = draft.known().site(SiteNo(1)).expect("it is populated").code.clone();
        draft.carrier(&own, "seven", true)?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    stated.await.expect("recorded");
}

#[tokio::test]
async fn who_was_revoked_after_the_backup_is_revoked_again_once_a_neighbour_tells() {
    let (mut company, hq) = Company::new().await;
    let mut late = Site::new(1, 3);
    late.enrol(&hq).await;
    late.record(receipt(1, "1", "2"));
    let_carry(&hq).await;
    let early = told(&hq);
    hq.authority().site_revoke(SiteNo(1), hq.clock().now()).expect("a site");
    assert_eq!(hq.agree_on_revoked().await.expect("stated"), 2);
    assert_eq!(hq.agree_on_revoked().await.expect("stated"), 0, "once");
    let told = told(&hq);

    let hq = company.restored(hq).await;
    let (known, forgotten) = (company.site.peer, late.peer);
    assert_eq!(hq.authority().revocation(known), None, "the backup is older");
    for batch in told.iter().chain(&early) {
        hq.take_back(batch.clone()).await;
    }
    for peer in [known, forgotten] {
        assert!(hq.published().catalogue().is_revoked(peer.site, peer.device));
        assert!(hq.authority().revocation(peer).is_some());
    }
    let introduced = hq.register_log(forgotten, CompanyNo::FIRST, late.genesis.clone()).await;
    assert_eq!(introduced.map_err(|refusal| refusal.code), Err(Code::REVOKED));
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn who_was_revoked_and_comes_first_is_let_in_until_a_neighbour_tells() {
    let (mut company, hq) = Company::new().await;
    let mut late = Site::new(1, 3);
    late.enrol(&hq).await;
    late.record(receipt(1, "1", "2"));
    let_carry(&hq).await;
    hq.authority().site_revoke(SiteNo(1), hq.clock().now()).expect("a site");
    assert_eq!(hq.agree_on_revoked().await.expect("stated"), 2);
    let batches = told(&hq);

    company.hands.move_ms(1_000);
    let hq = company.restored(hq).await;
    let introduced = hq.register_log(late.peer, CompanyNo::FIRST, late.genesis.clone()).await;
    introduced.expect("HQ has forgotten all of it");
    for batch in &batches {
        hq.take_back(batch.clone()).await;
    }
    assert!(hq.authority().revocation(late.peer).is_some());
    // Neighbours hear of it too, whichever statement is the newer one.
    let mut catalogue = Catalogue::new();
    for batch in told(&hq) {
        batch.batch.facts().expect("HQ's own").iter().for_each(|fact| catalogue.apply(fact));
    }
    assert!(catalogue.site_log(&late.log()).is_some_and(|log| log.revoked));
    assert_whole(&hq);
    hq.close().await;
}

async fn rename(hq: &Headquarters, code: &str, name: &str) {
    let stated = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.item_change(&ItemDraft {
            code: code.to_owned(),
            name: name.to_owned(),
            category: "goods".to_owned(),
            unit: "EA".to_owned(),
            ..ItemDraft::default()
        })?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    stated.await.expect("recorded");
}
