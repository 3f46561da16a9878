//! What documents say of receipts and shipments: invoices and credit notes in the order of their own
//! place, each as far as there is room, and landed cost. Knows no pools.

use std::collections::BTreeMap;

use num_traits::Signed;
use shared::fact::statement::Statement;
use shared::ids::Capture;
use shared::time::Timestamp;

use super::Spot;
use super::admit::Entry;
use super::figure::{Figure, whole};

/// A document's part of what it names.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The invoice or credit note.
    pub document: Capture,
    /// Smallest units that found room; negative where they are credited.
    pub quantity: Figure,
    /// What its goods bear, in minor units for one smallest unit.
    pub price: Figure,
    /// What is owed for them.
    pub owed: Figure,
}

/// Documents by what they name.
pub fn matched(
    happened: &[&Entry],
    by_capture: &BTreeMap<Capture, &Entry>,
) -> BTreeMap<Capture, Vec<Matched>> {
    let mut matched: BTreeMap<Capture, Vec<Matched>> = BTreeMap::new();
    let mut documents: Vec<_> = happened.iter().filter(|entry| by_date(entry).is_some()).collect();
    documents.sort_by_key(|entry| by_date(entry));
    for document in documents {
        let (line, credits) = match &document.statement {
            Statement::SupplierInvoice(line) | Statement::CustomerInvoice(line) => (line, false),
            Statement::CreditNote(line) => (line, true),
            _ => continue,
        };
        let (Some(named), Some(goods)) = (by_capture.get(&line.refers_to), &document.goods) else {
            continue;
        };
        let already = matched.entry(named.capture).or_default();
        let invoiced: Figure = already.iter().map(|each| &each.quantity).sum();
        let quantity = if credits {
            -goods.quantity.clone().min(invoiced)
        } else {
            goods.quantity.clone().min(&named.goods().quantity - invoiced)
        };
        if (credits && quantity.is_negative()) || (!credits && quantity.is_positive()) {
            let price = document.unit_price_at(&line.price, &document.rate_to_goods);
            let owed = document.unit_price(&line.price);
            already.push(Matched { document: document.capture, quantity, price, owed });
        }
    }
    matched
}

/// Where a document stands among those of one receipt: date, recorded-at, log, seq.
fn by_date(document: &Entry) -> Option<(i32, i64, Spot)> {
    let (Statement::SupplierInvoice(line)
    | Statement::CustomerInvoice(line)
    | Statement::CreditNote(line)) = &document.statement
    else {
        return None;
    };
    let own = Timestamp(document.time()).day(document.company.zone);
    Some((line.document_date.unwrap_or(own).0, document.recorded_at, document.spot))
}

/// All landed cost by receipt, less the discounts on its bills, in minor units.
pub fn landed(
    happened: &[&Entry],
    by_capture: &BTreeMap<Capture, &Entry>,
) -> BTreeMap<Capture, Figure> {
    let mut landed = BTreeMap::new();
    let mut add = |receipt, amount: Figure| {
        *landed.entry(receipt).or_insert_with(|| whole(0)) += amount;
    };
    for entry in happened {
        match &entry.statement {
            Statement::LandedCost(stated) => add(stated.refers_to, entry.minor(stated.amount)),
            Statement::CashDiscount(stated) if entry.goods.is_some() => {
                let bill = by_capture.get(&stated.refers_to);
                if let Some(receipt) = bill.and_then(|bill| bill.refers_to()) {
                    add(receipt, -entry.minor(stated.amount));
                }
            }
            _ => {}
        }
    }
    landed
}
