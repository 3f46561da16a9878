//! Quantities without a value: what moved at a time in doubt, and what waits for that to be placed. It
//! is on hand all the same. Changes nothing, and knows nothing of money.
//!
//! What nobody can place in time still has its place in its log, and a site's own log tells in which
//! order things happened there: a count found what was there after everything before it in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use shared::fact::effective::LogRank;
use shared::fact::reversals::{Reversals, Toggled};
use shared::fact::statement::{CostScope, Movement, Statement};
use shared::fact::{Kind, field};
use shared::ids::{Capture, CompanyNo, ItemNo, Seq, SiteNo};
use shared::quantity::ShortText;
use shared::time::Timestamp;

use super::fact_table::{FactRecord, PoolStep};
use super::follow::is_repack;
use super::pool::Pool;
use super::prepare::pool_step;
use super::settings::smallest_units;
use super::{Books, Waiting, Waits};

/// Master data as they stand now: when goods moved is not known.
const NOW: Timestamp = Timestamp(i64::MAX);

/// Goods of one kind at a site, of one lot where lots are costed apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The company.
    pub company: CompanyNo,
    /// The site.
    pub site: SiteNo,
    /// The item.
    pub item: ItemNo,
    /// The lot, where each lot is a pool.
    pub lot: Option<ShortText>,
}

/// What a fact does to the units at its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    By(i128),
    /// So many are there after it.
    To(i128),
}

impl Moves {
    fn of(step: PoolStep, units: i64) -> Option<Self> {
        let units = i128::from(units);
        match step {
            PoolStep::In | PoolStep::MoveIn => Some(Self::By(units)),
            PoolStep::Out | PoolStep::MoveOut => Some(Self::By(-units.abs())),
            PoolStep::Count => Some(Self::To(units)),
            PoolStep::None | PoolStep::Revalue | PoolStep::Restate | PoolStep::AddLate => None,
        }
    }
}

/// What is found while the waiting groups are walked through.
#[derive(Default)]
struct Walk {
    units: BTreeMap<Held, i128>,
    moved: BTreeMap<Capture, (Held, i128)>,
    /// What each reversal among them names.
    names: BTreeMap<Capture, Capture>,
    /// Which facts count: those that wait, and those in the books that what waits speaks of.
    reversals: Reversals<Capture>,
    /// Repacks that wait: the facts of each that have effect together.
    repacks: BTreeMap<Capture, Rc<[Capture]>>,
    /// What the books have of a log in a pool, by place.
    placed: BTreeMap<(Held, LogRank), BTreeMap<Seq, Moves>>,
}

/// Goods that left at a time in doubt, for another site.
#[derive(Clone, Debug)]
pub struct ShipInDoubt {
    /// The site they left.
    pub from: SiteNo,
    /// What was recorded.
    pub movement: Movement,
    /// They left before this.
    pub until: Timestamp,
    /// How many units nobody has received yet.
    pub left: i64,
}

impl Books {
    /// The ship with this capture, or that a receive with it names, where its time is in doubt.
    pub fn ship_in_doubt(&self, capture: Capture) -> Option<(Capture, ShipInDoubt)> {
        let groups = self.waits_for_a_time();
        let movements = groups.iter().flat_map(|group| {
            let stated = group.facts.iter().filter_map(|fact| {
                let Ok(Statement::Movement(movement)) = Statement::parse(fact) else { return None };
                Some((*group, field::capture(fact)?, movement))
            });
            stated.collect::<Vec<_>>()
        });
        let movements: BTreeMap<Capture, (&Waiting, Movement)> =
            movements.map(|(group, capture, movement)| (capture, (group, movement))).collect();
        let (_, named) = movements.get(&capture)?;
        let ship = match named.kind {
            Kind::TransferShip => capture,
            Kind::TransferReceive => named.refers_to?,
            _ => return None,
        };
        let (group, movement) = movements.get(&ship)?;
        let units = |of: &(&Waiting, Movement)| match self.held(of.0.site, &of.1)?.1 {
            Moves::By(units) => Some(units.abs()),
            Moves::To(_) => None,
        };
        let received = movements.values().filter(|(_, other)| {
            other.kind == Kind::TransferReceive && other.refers_to == Some(ship)
        });
        let received: i128 = received.filter_map(units).sum();
        let left = (units(&movements[&ship])? - received).max(0);
        let ship_in_doubt = ShipInDoubt {
            from: group.site,
            movement: movement.clone(),
            until: group.received_at,
            left: i64::try_from(left).ok()?,
        };
        Some((ship, ship_in_doubt))
    }

    /// By how many units more or less is on hand than the pools say, where that is so.
    pub fn without_value(&self) -> BTreeMap<Held, i128> {
        let mut walk = Walk::default();
        let (mut told, mut early) = (BTreeSet::new(), Vec::new());
        for group in self.waits_for_a_time() {
            let repack = group.facts.iter().filter(|fact| fact.kind().is_some_and(is_repack));
            let repack: Rc<[Capture]> = repack.filter_map(field::capture).collect();
            walk.repacks.extend(repack.iter().map(|capture| (*capture, Rc::clone(&repack))));
            for (seq, fact) in (group.first.0..).zip(&group.facts) {
                let Some(capture) = field::capture(fact).filter(|it| told.insert(*it)) else {
                    continue;
                };
                match Statement::parse(fact) {
                    Ok(Statement::Movement(movement)) => {
                        let at = (group.site, group.log, Seq(seq));
                        self.move_without_value(&mut walk, at, capture, &movement);
                    }
                    Ok(Statement::Reversal { refers_to, .. }) => {
                        if told.contains(&refers_to) || self.facts.find(refers_to).is_some() {
                            self.take_back_without_value(&mut walk, capture, refers_to);
                        } else {
                            early.push((capture, refers_to));
                        }
                    }
                    _ => {}
                }
            }
        }
        // HQ's own log comes first, and so its reversals before what they name.
        for (capture, refers_to) in early {
            self.take_back_without_value(&mut walk, capture, refers_to);
        }
        walk.units.retain(|_, units| *units != 0);
        walk.units
    }

    /// Groups in doubt and those that wait for them, and so on, in the order of their logs.
    fn waits_for_a_time(&self) -> Vec<&Waiting> {
        let captures = |group: &Waiting| -> Vec<Capture> {
            group.facts.iter().filter_map(field::capture).collect()
        };
        let in_doubt = |group: &&Waiting| group.why == Waits::TimeInDoubt;
        let mut found: Vec<&Waiting> = self.waiting.values().filter(in_doubt).collect();
        let mut at = 0;
        while let Some(group) = found.get(at) {
            for capture in captures(group) {
                let waiting = self.waiting_for.get(&capture).into_iter().flatten();
                found.extend(waiting.filter_map(|number| self.waiting.get(number)));
            }
            at += 1;
        }
        found.sort_by_key(|group| (group.site, group.log, group.first));
        found
    }

    fn move_without_value(
        &self,
        walk: &mut Walk,
        (site, log, seq): (SiteNo, LogRank, Seq),
        capture: Capture,
        movement: &Movement,
    ) {
        let Some((held, own)) = self.held(site, movement) else { return };
        let of_log = walk.placed.entry((held.clone(), log));
        let of_log = of_log.or_insert_with(|| self.placed_of(&held, log));
        let later = of_log.range(seq.next()..).map(|(_, moves)| *moves);
        let mut since = 0;
        for moves in later {
            match moves {
                Moves::By(units) => since += units,
                // A later count found what is there, whatever this one did.
                Moves::To(_) => return,
            }
        }
        let units = walk.units.entry(held.clone()).or_default();
        let before = *units;
        *units = match own {
            Moves::By(change) => before + change,
            Moves::To(counted) => counted - (self.units_of(&held) - since),
        };
        let change = *units - before;
        walk.moved.insert(capture, (held, change));
    }

    /// A reversal that waits: what counts no more, or counts again, takes its units along.
    fn take_back_without_value(&self, walk: &mut Walk, reversal: Capture, named: Capture) {
        let Walk { units, moved, names, reversals, repacks, .. } = walk;
        names.insert(reversal, named);
        let together = |fact| self.together(repacks, fact);
        let named_by = |fact| names.get(&fact).copied().or_else(|| self.reversed_by(fact));
        let mut chain = vec![named];
        while let Some(earlier) = chain.last().and_then(|fact| named_by(*fact)) {
            if chain.contains(&earlier) {
                break;
            }
            chain.push(earlier);
        }
        for member in chain.into_iter().flat_map(together) {
            self.know_of(reversals, member);
        }
        for Toggled { fact, undone } in reversals.reverse(reversal, named, together, named_by) {
            let change = moved.get(&fact).cloned().or_else(|| self.moved_by(fact));
            if let Some((held, change)) = change {
                *units.entry(held).or_default() += if undone { -change } else { change };
            }
        }
    }

    /// What the books say of a fact of theirs, and of the reversals that name it, and so on.
    fn know_of(&self, reversals: &mut Reversals<Capture>, fact: Capture) {
        let mut open = vec![fact];
        while let Some(fact) = open.pop() {
            let Some(id) = self.facts.find(fact) else { continue };
            let dependents = self.facts.dependents(id).iter().map(|other| &self.facts[*other]);
            let named_by = dependents.filter(|other| other.kind == Kind::Reversal);
            let named_by: Vec<Capture> = named_by.map(|other| other.capture).collect();
            if reversals.know(fact, named_by.iter().copied(), self.facts[id].reversed) {
                open.extend(named_by);
            }
        }
    }

    /// What a reversal in the books names.
    fn reversed_by(&self, reversal: Capture) -> Option<Capture> {
        let record = &self.facts[self.facts.find(reversal)?];
        let origin = record.origin.filter(|_| record.kind == Kind::Reversal)?;
        Some(self.facts[origin].capture)
    }

    /// The facts that have effect together with one.
    fn together(&self, repacks: &BTreeMap<Capture, Rc<[Capture]>>, fact: Capture) -> Vec<Capture> {
        let in_books = |id| self.effect_group(id).into_iter().map(|id| self.facts[id].capture);
        repacks.get(&fact).map_or_else(
            || self.facts.find(fact).map_or_else(|| vec![fact], |id| in_books(id).collect()),
            |repack| repack.to_vec(),
        )
    }

    /// What a movement in the books does.
    fn moved_by(&self, capture: Capture) -> Option<(Held, i128)> {
        let record = &self.facts[self.facts.find(capture)?];
        match Moves::of(record.step, record.quantity.0)? {
            Moves::By(units) => Some((self.held_of(record)?, units)),
            Moves::To(_) => None,
        }
    }

    /// What a movement is about; `None` where nobody can tell yet.
    fn held(&self, site: SiteNo, movement: &Movement) -> Option<(Held, Moves)> {
        let settings = &self.settings;
        let company_no = settings.site(site, NOW)?.company;
        let company = settings.company(company_no, NOW)?;
        let item = settings.item(movement.item, NOW)?;
        let factor = settings.unit_factor(movement.item, &movement.quantity.unit, NOW)?;
        let units = smallest_units(movement.quantity.figure, factor, item.decimals).ok()?;
        let one_pool = company.scope == CostScope::Company;
        let moves = Moves::of(pool_step(movement.kind, units, one_pool), units)?;
        let by_lot = settings.method(company_no, item.category, NOW).by_lot();
        let lot = movement.lot.clone().filter(|_| by_lot);
        Some((Held { company: company_no, site, item: movement.item, lot }, moves))
    }

    fn held_of(&self, record: &FactRecord) -> Option<Held> {
        let pool = &self.pools[record.pool?.index()];
        let (company, site, lot) = (record.company, record.site, pool.lot.clone());
        Some(Held { company, site, item: pool.item, lot })
    }

    fn pools_of<'a>(&'a self, held: &'a Held) -> impl Iterator<Item = &'a Pool> {
        self.pools.iter().filter(|pool| {
            (pool.company, pool.item, &pool.lot) == (held.company, held.item, &held.lot)
                && pool.site.is_none_or(|site| site == held.site)
        })
    }

    fn units_of(&self, held: &Held) -> i128 {
        self.pools_of(held).map(|pool| i128::from(pool.state.on_hand(held.site))).sum()
    }

    fn placed_of(&self, held: &Held, log: LogRank) -> BTreeMap<Seq, Moves> {
        let facts = self.pools_of(held).flat_map(|pool| pool.history.iter());
        let records = facts.map(|id| &self.facts[*id]);
        let of_log = records.filter(|record| {
            let is_there = record.is_active() && record.site == held.site;
            is_there && record.key.own_place().log == log
        });
        of_log
            .filter_map(|record| Some((record.seq, Moves::of(record.step, record.quantity.0)?)))
            .collect()
    }
}
