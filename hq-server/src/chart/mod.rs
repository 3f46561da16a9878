//! Charts of accounts that an installation can start with, as data, and the policies that go with
//! them. Knows no books.
//!
//! Invariant: every role has an account, and an account that a subledger proves has one role only.

mod generic;
pub mod policies;

use shared::fact::Kind;
use shared::fact::statement::{AccountType, Role};

pub use generic::GENERIC;

/// An account of a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartAccount {
    /// Its code.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is in the statements.
    pub account_type: AccountType,
    /// The roles it takes.
    pub roles: &'static [Role],
}

/// A reason of a chart, with the account that takes its adjustments where that is not the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartReason {
    /// Its code.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The only movement kind it is for.
    pub movement: Option<Kind>,
    /// The account for stock adjustments with this reason.
    pub account: Option<&'static str>,
}

/// Accounts, default mapping and reasons.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Its name on the command line.
    pub name: &'static str,
    /// The accounts, by code.
    pub accounts: &'static [ChartAccount],
    /// The reasons.
    pub reasons: &'static [ChartReason],
    /// Item categories: code and name.
    pub categories: &'static [(&'static str, &'static str)],
    /// What its standards choose of the company's policies.
    pub policies: &'static [policies::Choice],
}

/// Every chart that can be chosen.
pub const CHARTS: &[&Chart] = &[&GENERIC];

/// The chart with this name.
pub fn find(name: &str) -> Option<&'static Chart> {
    CHARTS.iter().copied().find(|chart| chart.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::books::is_control;

    #[test]
    fn every_role_has_one_account_and_codes_ascend() {
        for chart in CHARTS {
            for role in Role::ALL {
                let holders = chart.accounts.iter().filter(|account| account.roles.contains(role));
                assert_eq!(holders.count(), 1, "{} in {}", role.word(), chart.name);
            }
            assert!(chart.accounts.is_sorted_by(|one, next| one.code < next.code));
        }
    }

    #[test]
    fn a_proved_account_has_one_role() {
        for account in CHARTS.iter().flat_map(|chart| chart.accounts) {
            let proved = account.roles.iter().any(|role| is_control(*role));
            assert!(!proved || account.roles.len() == 1, "{}", account.code);
        }
    }

    #[test]
    fn reasons_name_accounts_of_their_chart() {
        for chart in CHARTS {
            let codes: BTreeSet<_> = chart.accounts.iter().map(|account| account.code).collect();
            let named = chart.reasons.iter().filter_map(|reason| reason.account);
            assert!(named.clone().all(|code| codes.contains(code)));
        }
    }
}
