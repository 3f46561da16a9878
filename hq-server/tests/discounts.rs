//! A cash discount at HQ's desk: shared over the lines of its bill, within what is owed, and whose it is
//! by the policy of its day.

mod common;

use common::{Hands, Site, init, populate, receipt};
use hq_server::headquarters::Headquarters;
use hq_server::own_log::{
    AllocationDraft, Desk, DiscountDraft, Draft, DraftError, FinanceError, Group, InvoiceDraft,
    InvoiceLineDraft, PaymentDraft,
};
use shared::fact::statement::{CostScope, PolicyKind, Role};
use shared::ids::{Capture, CompanyNo};

/// Records what the desk makes of a draft; returns the captures.
async fn record(
    hq: &Headquarters,
    make: impl Fn(&Desk<'_>, Capture) -> Result<Group, FinanceError>,
) -> Vec<Capture> {
    let now = hq.clock().now();
    let recorded = hq.own_log().record(|published, next| {
        let (ledgers, catalogue) = (published.ledgers(), published.catalogue());
        let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, now)?;
        Ok::<_, FinanceError>((vec![make(&desk, next)?], ()))
    });
    recorded.await.expect("recorded").0
}

/// Why the desk refuses a discount.
fn refused(hq: &Headquarters, draft: &DiscountDraft) -> Option<FinanceError> {
    let (ledgers, catalogue) = (hq.published().ledgers(), hq.published().catalogue());
    let desk = Desk::new(&catalogue, &ledgers.books, CompanyNo::FIRST, hq.clock().now());
    desk.expect("a company").cash_discount(draft).err()
}

fn part(of: Capture, amount: &str) -> AllocationDraft {
    AllocationDraft { of: of.to_string(), amount: amount.to_owned() }
}

fn balances(hq: &Headquarters, roles: [Role; 4]) -> [i128; 4] {
    roles.map(|role| hq.published().ledgers().books.role_balance(role))
}

#[tokio::test]
async fn a_discount_is_shared_over_the_lines_of_its_bill_and_is_whose_the_policy_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let hq = init(folder.path(), CostScope::Site, Hands::new().clock()).await;
    populate(&hq, 1).await;
    let mut site = Site::new(1, 2);
    site.register(&hq).await;
    let received =
        [("1", "100"), ("2", "100")].map(|(units, price)| site.record(receipt(1, units, price)));
    site.send(&hq, 100).await;
    site.posted(&hq).await;
    let lines = received.map(|of| InvoiceLineDraft {
        of: of.to_string(),
        price: "100".to_owned(),
        ..InvoiceLineDraft::default()
    });
    let invoice = InvoiceDraft {
        partner: "acme".to_owned(),
        lines: lines.to_vec(),
        ..InvoiceDraft::default()
    };
    let bill = record(&hq, |desk, _| desk.supplier_invoice(&invoice)).await[0];
    // Paid with 1.00 less: a third of it is the first line's, the rest the second's.
    let payment = PaymentDraft {
        partner: "acme".to_owned(),
        amount: "290".to_owned(),
        allocations: vec![part(bill, "290")],
        discounts: vec![part(bill, "1")],
        ..PaymentDraft::default()
    };
    let captures = record(&hq, |desk, next| desk.payment(&payment, next)).await;
    let shares: Vec<_> = {
        let ledgers = hq.published().ledgers();
        let facts = ledgers.books.facts();
        let shares = captures[2..].iter().map(|capture| facts.find(*capture));
        shares.map(|id| facts[id.expect("in the books")].stated).collect()
    };
    assert_eq!(shares, [Some(33), Some(67)]);
    let roles = [Role::Inventory, Role::Payable, Role::LandedCostClearing, Role::CashDiscount];
    assert_eq!(balances(&hq, roles), [29_900, -900, 0, 0]);
    let chosen = hq.own_log().record(|published, _| {
        let mut draft = Draft::new(&published.catalogue());
        draft.policy(PolicyKind::PurchaseCashDiscount, "finance", None)?;
        Ok::<_, DraftError>((draft.into_groups(), ()))
    });
    chosen.await.expect("recorded");
    let discount = DiscountDraft { of: part(bill, "2"), ..DiscountDraft::default() };
    record(&hq, |desk, _| desk.cash_discount(&discount)).await;
    assert_eq!(balances(&hq, roles), [29_900, -700, 0, -200]);
    let too_much = DiscountDraft { of: part(bill, "7.01"), ..discount.clone() };
    let owed = "7.00 CNY".to_owned();
    assert_eq!(refused(&hq, &too_much), Some(FinanceError::MoreThanOwed { bill, owed }));
    let no_bill = DiscountDraft { of: part(received[0], "1"), ..discount };
    assert!(matches!(refused(&hq, &no_bill), Some(FinanceError::WrongKind { .. })));
    hq.close().await;
}
