//! What the standards that a chart stands for choose of a company's policies. Each column chooses
//! all of them, so that a company's log says what it began with.
//!
//! Source: `ARCHITECTURE`, "Policies of a company": CAS 1 and 企业会计准则讲解 for China, the Taiwanese
//! adoption of IFRS, and IAS 2 and 21.

use shared::fact::statement::{
    DoubtfulTime, LateCost, Permission, PolicyKind, PurchaseCashDiscount, ReceiptFx,
    StandardVariance,
};

/// A policy and the number of its choice.
pub type Choice = (PolicyKind, i64);

/// 企业会计准则.
pub const CHINA: &[Choice] = &[
    (PolicyKind::ReceiptFx, ReceiptFx::Exchange as i64),
    (PolicyKind::StandardVariance, StandardVariance::Allocate as i64),
    (PolicyKind::LateCost, LateCost::Forward as i64),
    (PolicyKind::Lifo, Permission::Barred as i64),
    (PolicyKind::WriteDownReversal, Permission::Allowed as i64),
    (PolicyKind::DoubtfulTime, DoubtfulTime::WithinDay as i64),
    (PolicyKind::PurchaseCashDiscount, PurchaseCashDiscount::Finance as i64),
];

/// IFRS as Taiwan adopted it.
pub const TAIWAN: &[Choice] = &[
    (PolicyKind::ReceiptFx, ReceiptFx::Exchange as i64),
    (PolicyKind::StandardVariance, StandardVariance::Allocate as i64),
    (PolicyKind::LateCost, LateCost::Trace as i64),
    (PolicyKind::Lifo, Permission::Barred as i64),
    (PolicyKind::WriteDownReversal, Permission::Allowed as i64),
    (PolicyKind::DoubtfulTime, DoubtfulTime::WithinDay as i64),
    (PolicyKind::PurchaseCashDiscount, PurchaseCashDiscount::Cost as i64),
];

/// No standard in particular: nothing is barred.
pub const GENERIC: &[Choice] = &[
    (PolicyKind::ReceiptFx, ReceiptFx::Exchange as i64),
    (PolicyKind::StandardVariance, StandardVariance::Expense as i64),
    (PolicyKind::LateCost, LateCost::Trace as i64),
    (PolicyKind::Lifo, Permission::Allowed as i64),
    (PolicyKind::WriteDownReversal, Permission::Allowed as i64),
    (PolicyKind::DoubtfulTime, DoubtfulTime::WithinDay as i64),
    (PolicyKind::PurchaseCashDiscount, PurchaseCashDiscount::Cost as i64),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_chooses_every_policy_of_a_company_once() {
        let of_company = PolicyKind::ALL.iter().copied().filter(|policy| policy.is_of_company());
        let of_company: Vec<_> = of_company.collect();
        for column in [CHINA, TAIWAN, GENERIC] {
            let chosen: Vec<_> = column.iter().map(|(policy, _)| *policy).collect();
            assert_eq!(chosen, of_company);
            assert!(column.iter().all(|(policy, setting)| policy.word_of(*setting).is_some()));
        }
    }
}
