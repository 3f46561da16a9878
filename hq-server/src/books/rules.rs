//! The rules that the books follow have a number. Every change of an effect is another number: the
//! sequence states from where on it holds, so that a rebuild follows each part by its own rules.
//!
//! | rules | what they brought |
//! | --: | --- |
//! | 1 | movements, invoices, payments, costing methods |
//! | 2 | closed months, month-end average, policies of companies, rates, write-downs |
//! | 3 | transfers between companies |

use shared::fact::statement::{CostMethod, MasterData, Statement};

/// The newest rules; a sequence that states none follows these.
pub const RULES: i64 = 3;

/// The rules that first tell whose the site is that goods go to.
pub(super) const BETWEEN_COMPANIES: i64 = 3;

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
        _ => 1,
    }
}
