//! Which pools pass costs on to which: those that pass them around to each other form a ring.
//! Knows no costs.

use std::collections::{BTreeMap, BTreeSet};

use shared::fact::Kind;
use shared::ids::Capture;

use super::admit::Entry;
use super::fold::{PoolNo, pool_no};

/// Pools that pass costs around to each other, before those that they pass costs on to.
pub fn rings(entries: &[Entry]) -> Vec<BTreeSet<PoolNo>> {
    let mut reach: BTreeMap<PoolNo, BTreeSet<PoolNo>> = BTreeMap::new();
    for pool in entries.iter().filter_map(pool_no) {
        reach.entry(pool.clone()).or_default().insert(pool);
    }
    let links = links(entries);
    loop {
        let mut grown = reach.clone();
        for (from, to) in &links {
            let further = reach[to].clone();
            for known in grown.values_mut().filter(|known| known.contains(from)) {
                known.extend(further.iter().cloned());
            }
        }
        if grown == reach {
            break;
        }
        reach = grown;
    }
    let ring = |pool: &PoolNo| -> BTreeSet<PoolNo> {
        reach[pool].iter().filter(|other| reach[*other].contains(pool)).cloned().collect()
    };
    let rings: BTreeSet<BTreeSet<PoolNo>> = reach.keys().map(ring).collect();
    let mut rings: Vec<_> = rings.into_iter().collect();
    // Whoever passes costs on reaches more pools than those it passes them on to.
    rings.sort_by_key(|ring| ring.first().map(|pool| std::cmp::Reverse(reach[pool].len())));
    rings
}

/// From which pool to which costs go: to what arrives, comes back, or becomes of something.
fn links(entries: &[Entry]) -> BTreeSet<(PoolNo, PoolNo)> {
    let pools: BTreeMap<Capture, Option<PoolNo>> =
        entries.iter().map(|entry| (entry.capture, pool_no(entry))).collect();
    let mut taken_apart: BTreeMap<Capture, Vec<Capture>> = BTreeMap::new();
    for out in entries.iter().filter(|entry| entry.statement.kind() == Kind::RepackOut) {
        taken_apart.entry(out.group).or_default().push(out.capture);
    }
    let mut links = BTreeSet::new();
    for to in entries {
        let from = match to.statement.kind() {
            Kind::RepackIn => taken_apart.get(&to.group).cloned().unwrap_or_default(),
            // What another company paid is a price, whatever the goods cost it.
            Kind::TransferReceive if to.bought.is_some() && to.at_price => continue,
            Kind::TransferReceive | Kind::CustomerReturn | Kind::SupplierReturn | Kind::Receipt => {
                to.refers_to().into_iter().collect()
            }
            _ => continue,
        };
        for from in from {
            if let (Some(Some(from)), Some(to)) = (pools.get(&from), pool_no(to)) {
                links.insert((from.clone(), to));
            }
        }
    }
    links
}
