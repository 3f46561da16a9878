//! What goods were written down to market. The amount is decided in the fact: what happens to the
//! goods later does not change it, nor what the pool says they cost. Knows no accounts.

use std::collections::BTreeMap;

use shared::ids::{CompanyNo, ItemNo, SiteNo};
use shared::quantity::ShortText;
use shared::time::Timestamp;

use super::{Books, Pool};

/// What a pool's goods were written down by, net of what was taken back: by company, site (0 for a
/// company-wide pool), item and lot.
#[derive(Clone, Debug, Default)]
pub struct Allowances(BTreeMap<(CompanyNo, SiteNo, ItemNo, Option<ShortText>), i128>);

impl Allowances {
    /// What stands against a pool's value, minor units.
    pub fn of(&self, pool: &Pool) -> i64 {
        let key = (pool.company, pool.site.unwrap_or(SiteNo::HQ), pool.item, pool.lot.clone());
        let sum = self.0.get(&key).copied().unwrap_or(0);
        // Each is below 2^53 and facts are fewer than 2^32; a sum beyond the range is an absurdity.
        i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
    }
}

impl Books {
    /// What was written down up to a time, that included.
    pub fn allowances(&self, until: Timestamp) -> Allowances {
        let mut sums = BTreeMap::new();
        for id in &self.write_downs {
            let record = &self.facts[*id];
            let Some(item) = record.item.filter(|_| !record.reversed) else { continue };
            if record.key.effective_at() > until {
                continue;
            }
            let site = if record.one_pool { SiteNo::HQ } else { record.site };
            let lot = record.lot.clone().filter(|_| self.is_by_lot(record));
            *sums.entry((record.company, site, item, lot)).or_insert(0) +=
                i128::from(record.stated.unwrap_or(0));
        }
        Allowances(sums)
    }
}
