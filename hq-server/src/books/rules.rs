//! The rules that the books follow have a number. Every change of an effect is another number: the
//! sequence states from where on it holds, so that a rebuild follows each part by its own rules.
//!
//! | rules | what they brought |
//! | --: | --- |
//! | 1 | movements, invoices, payments, costing methods |
//! | 2 | closed months, month-end average, policies of companies, rates, write-downs |

use shared::fact::statement::{CostMethod, MasterData, Statement};

/// The newest rules; a sequence that states none follows these.
pub const RULES: i64 = 2;

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
