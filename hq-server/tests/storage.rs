//! How many bytes a movement takes at HQ, in allocated pages of both files, indexes and postings
//! included.

mod common;

use common::{Hands, Runs, Site, init, receipt, sale};
use hq_server::gateway::store::HqStore as _;
use hq_server::headquarters::Headquarters;
use hq_server::own_log::{Draft, DraftError, ItemDraft, PartnerDraft};
use shared::fact::statement::CostScope;
use shared::ids::{PartnerNo, SiteNo};

const MOVEMENTS: u64 = 40_000;
const ITEMS: u64 = 500;
const PARTNERS: u64 = 50;

/// Splitmix64, by Sebastiano Vigna: figures without a pattern that packing could find.
fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

async fn populate(hq: &Headquarters) {
    let made = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.site(SiteNo(1), "shop", "Shop")?;
        for number in 1..=ITEMS {
            let (code, name) = (format!("item-{number}"), format!("Item {number}"));
            let (category, unit) = ("goods".to_owned(), "EA".to_owned());
            draft.item(&ItemDraft { code, name, category, unit, ..ItemDraft::default() })?;
        }
        for number in 1..=PARTNERS {
            let (code, name) = (format!("partner-{number}"), format!("Partner {number}"));
            draft.partner(&PartnerDraft { code, name, customer: true, supplier: true })?;
        }
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    made.await.expect("recorded");
}

/// Two sales for each receipt, at seconds apart, over 500 items and 50 partners.
fn trade(site: &mut Site) {
    let mut at = common::START;
    for number in 0..MOVEMENTS {
        let mixed = scatter(number);
        let part = |shift: u32, below: u64| (mixed >> shift) % below;
        at += i64::try_from(part(0, 40_000)).expect("small");
        let item = u32::try_from(part(16, ITEMS) + 1).expect("small");
        let price = format!("{}.{:02}", part(26, 90) + 10, part(34, 100));
        let mut movement = if number % 3 == 0 {
            receipt(item, &(part(42, 90) + 10).to_string(), &price)
        } else {
            sale(item, &(part(42, 9) + 1).to_string(), &price)
        };
        movement.partner = Some(PartnerNo(u32::try_from(part(50, PARTNERS) + 1).expect("small")));
        site.record_at(movement, at);
    }
}

/// Bytes per movement when they come in runs of `run`.
async fn bytes_per_movement(run: u64) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq).await;
    let bytes = |hq: &Headquarters| {
        hq.intake().size().expect("reads").0 + hq.store().size().expect("reads").0
    };
    let before = bytes(&hq);
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    trade(&mut site);
    let mut runs = Runs::new(&site);
    for _ in 0..MOVEMENTS / run {
        hq.accept(site.log(), runs.next(run)).await.expect("taken");
    }
    site.posted(&hq).await;
    let waiting = hq.published().ledgers().books.waiting().count();
    assert_eq!(waiting, 0, "every movement is posted");
    let taken = bytes(&hq) - before;
    hq.close().await;
    taken / MOVEMENTS
}

#[tokio::test]
async fn a_movement_in_runs_of_a_thousand_takes_no_more_than_the_aim() {
    let bytes = bytes_per_movement(1_000).await;
    assert!(bytes <= 25, "{bytes} bytes a movement");
}
