//! Boxes that were copied, or restored from an older image and used on: what each recorded is booked
//! once, whatever comes first and however often it is told.

mod common;

use common::{Hands, Site, init, populate, receipt, sale};
use hq_server::gateway::store::{HqStore as _, Peer, Place};
use hq_server::headquarters::Headquarters;
use shared::fact::statement::CostScope;
use shared::ids::{Capture, CompanyNo, DeviceNo, Head, ItemNo, Seq, SiteNo};
use shared::segment::chain::Genesis;
use shared::segment::context;
use shared::sync::Position;
use tempfile::TempDir;

/// HQ with one site, whose box is enrolled.
async fn enrolled(hands: &Hands) -> (TempDir, Headquarters, Site) {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, hands.clock()).await;
    populate(&hq, 1).await;
    let site = Site::new(1, 2);
    site.enrol(&hq).await;
    (folder, hq, site)
}

/// A box tells all that it recorded after what HQ finds in common; says where its end lies.
async fn tell(hq: &Headquarters, site: &Site, common: Position, facts: u64) -> Place {
    let places = [site.position(), common];
    let opened = hq.open_branch(site.peer, site.log(), places).await.expect("its own log");
    let mut place = opened.1;
    assert_eq!(place.position, opened.0.cursor);
    while place.position.last < site.position().last {
        let first = place.position.last.0 + 1;
        let run = site.run(first, (first + facts - 1).min(site.facts.len() as u64));
        place = hq.accept_branch(site.peer, site.log(), run).await.expect("taken");
    }
    assert_eq!(place.position, site.position());
    let mut posted = hq.posted(&place.log).expect("is there");
    let last = hq.intake().cursor(&place.log).expect("is there").last;
    posted.wait_for(|posted| *posted >= last).await.expect("HQ runs");
    let read = hq.branch_acknowledgement(&site.log(), &place).expect("is there");
    let said = read.acknowledgement;
    assert_eq!(
        (said.log, said.received, said.posted),
        (site.log(), place.position, said.received.last)
    );
    place
}

fn start(site: &Site) -> Position {
    Position { last: Seq(0), head: Head(site.log().0) }
}

fn on_hand(hq: &Headquarters) -> i64 {
    let ledgers = hq.published().ledgers();
    ledgers.books.on_hand(CompanyNo::FIRST, SiteNo(1), ItemNo(1)).0
}

fn branches(hq: &Headquarters) -> usize {
    let logs = hq.intake().logs().into_iter();
    logs.filter(|log| log.record.site != SiteNo::HQ).count() - 1
}

fn assert_whole(hq: &Headquarters) {
    assert_eq!(hq.verify().expect("reads").problems, Vec::<String>::new());
    hq.published().ledgers().books.check().expect("the books hold");
}

fn is_booked(hq: &Headquarters, device: u32, counter: u64) -> bool {
    let capture = Capture { device: DeviceNo(device), counter };
    hq.published().ledgers().books.facts().find(capture).is_some()
}

#[tokio::test]
async fn what_differs_is_a_branch_and_is_booked_once() {
    let hands = Hands::new();
    let (folder, mut hq, mut site) = enrolled(&hands).await;
    for _ in 0..5 {
        site.record(receipt(1, "10", "2"));
    }
    site.send(&hq, 2).await;
    site.posted(&hq).await;
    // An image of three facts is used on: its facts 4 to 6 are others.
    let mut image = site.image(3);
    image.record(receipt(1, "100", "2"));
    image.record(sale(1, "7", "3"));
    let place = tell(&hq, &image, start(&image), 2).await;
    assert_eq!((on_hand(&hq), branches(&hq)), (143, 1));
    assert!(is_booked(&hq, 2, 4) && is_booked(&hq, 3, 4) && is_booked(&hq, 3, 5));
    // Told again, from its beginning, from what was acknowledged, and after a restart.
    for round in 0..4 {
        let common = if round % 2 == 0 { start(&image) } else { place.position };
        assert_eq!(tell(&hq, &image, common, round + 1).await, place);
        assert_eq!((on_hand(&hq), branches(&hq)), (143, 1));
        if round == 1 {
            let state = hq.published().ledgers().books.state_hash();
            hq.close().await;
            drop(hq);
            hq = Headquarters::open(folder.path(), hands.clock()).expect("opens");
            assert_eq!(hq.published().ledgers().books.state_hash(), state);
        }
    }
    // Both go on; a copy of the image leaves its branch, and another one the log.
    let mut copy = image.image(5);
    image.record(receipt(1, "1000", "2"));
    copy.record(receipt(1, "10000", "2"));
    let third = site.image(5);
    site.record(receipt(1, "10", "2"));
    site.send(&hq, 9).await;
    site.posted(&hq).await;
    assert_eq!(tell(&hq, &image, place.position, 9).await.log, place.log);
    assert_ne!(tell(&hq, &copy, start(&copy), 9).await.log, place.log);
    assert_eq!((on_hand(&hq), branches(&hq)), (11_153, 2));
    // An image that recorded nothing differs in nothing.
    assert_eq!(tell(&hq, &third, start(&third), 9).await.log, third.log());
    assert_eq!((on_hand(&hq), branches(&hq)), (11_153, 2));
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn a_reference_within_a_branch_means_the_branch() {
    let (_folder, hq, mut site) = enrolled(&Hands::new()).await;
    let before = site.record(receipt(1, "10", "2"));
    let mut image = site.image(1);
    site.record(receipt(1, "20", "2"));
    site.send(&hq, 9).await;
    let own = image.record(receipt(1, "40", "2"));
    let at = common::START + 3_600_000;
    for named in [own, before] {
        let reversal =
            shared::fact::statement::Statement::Reversal { refers_to: named, reason: None };
        image.state(&reversal, at);
    }
    tell(&hq, &image, start(&image), 9).await;
    assert_eq!(on_hand(&hq), 20, "the fact before the two parted is the log's, the other its own");
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn a_branch_that_was_cut_before_its_first_fact_is_begun_again() {
    let (_folder, hq, mut site) = enrolled(&Hands::new()).await;
    (0..3).for_each(|_| _ = site.record(receipt(1, "10", "2")));
    site.send(&hq, 9).await;
    let (mut image, mut copy) = (site.image(2), site.image(2));
    let common = image.position();
    image.record(receipt(1, "100", "2"));
    copy.record(receipt(1, "1000", "2"));
    // HQ was stopped after it had made room for the image's fact.
    let random = context::hash(context::BRANCH, &image.facts[2].to_bytes());
    let predecessor = Some((site.log(), common.last, common.head));
    let device = DeviceNo(9);
    let genesis = Genesis { random, predecessor, device, ..site.genesis.clone() };
    let peer = Peer { device, ..site.peer };
    hq.register_log(peer, CompanyNo::FIRST, genesis.clone()).await.expect("registered");
    let other = tell(&hq, &copy, start(&copy), 9).await;
    assert_ne!(other.log, genesis.log_id(), "room for another fact");
    assert_eq!(tell(&hq, &image, start(&image), 9).await.log, genesis.log_id());
    assert_eq!((on_hand(&hq), branches(&hq)), (1_130, 2));
    assert!(is_booked(&hq, 9, 3));
    assert_whole(&hq);
    hq.close().await;
}

#[tokio::test]
async fn whoever_owns_no_log_branches_none() {
    let (_folder, hq, mut site) = enrolled(&Hands::new()).await;
    site.record(receipt(1, "10", "2"));
    site.send(&hq, 9).await;
    let stranger = Peer { site: SiteNo(9), ..site.peer };
    let refused = hq.open_branch(stranger, site.log(), [start(&site); 2]).await;
    assert!(refused.is_err_and(|refusal| refusal.code == shared::sync::Code::UNKNOWN_LOG));
    // A run that goes on from nothing that HQ knows.
    let mut other = site.image(0);
    other.record(receipt(1, "11", "2"));
    other.record(receipt(1, "12", "2"));
    let refused = hq.accept_branch(site.peer, site.log(), other.run(2, 2)).await;
    assert!(refused.is_err_and(|refusal| refusal.code == shared::sync::Code::FORK));
    assert_eq!(branches(&hq), 0);
    hq.close().await;
}
