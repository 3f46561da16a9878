//! The rules that the books follow have a number. Every change of an effect is another number: the
//! sequence states from where on it holds, so that a rebuild follows each part by its own rules.
//!
//! | rules | what they brought |
//! | --: | --- |
//! | 1 | movements, invoices, payments, costing methods |
//! | 2 | closed months, month-end average, policies of companies, rates, write-downs |
//! | 3 | transfers between companies, variances from a standard that stock carries |
//! | 4 | voucher numbers that a lost history of HQ gave are left out; what was told twice has effect once |
//! | 5 | what a clock in doubt recorded has no value until a retime says when it happened |
//! | 6 | cash discounts that suppliers grant |

use shared::fact::statement::{CostMethod, MasterData, Role, Statement};

/// The newest rules; a sequence that states none follows these.
pub const RULES: i64 = 6;

/// The rules that first tell whose the site is that goods go to.
pub(super) const BETWEEN_COMPANIES: i64 = 3;

/// The rules from which on stock carries its variances where a company so chose.
pub(super) const CARRIED_VARIANCES: i64 = 3;

/// The rules that first let facts in doubt wait for a retime.
pub(super) const RETIMES: i64 = 5;

/// The rules that first take cash discounts.
const CASH_DISCOUNTS: i64 = 6;

/// The rules that first gave a statement its effect.
pub(super) const fn first_rules(statement: &Statement) -> i64 {
    match statement {
        Statement::PeriodAction(_)
        | Statement::WriteDown(_)
        | Statement::MasterData {
            data:
                MasterData::Costing { method: CostMethod::MonthEndAverage, .. }
                | MasterData::Policy { company: Some(_), .. }
                | MasterData::Rate { .. },
            ..
        } => 2,
        Statement::MasterData {
            data: MasterData::Mapping { role: Role::StockVariance, .. },
            ..
        } => CARRIED_VARIANCES,
        Statement::SameAs { .. }
        | Statement::MasterData { data: MasterData::VoucherGap { .. }, .. } => 4,
        Statement::Retime(_) => RETIMES,
        Statement::CashDiscount(_)
        | Statement::MasterData {
            data: MasterData::Mapping { role: Role::CashDiscount, .. },
            ..
        } => CASH_DISCOUNTS,
        _ => 1,
    }
}
