//! What goods under standard cost cost beyond it, where a company lets that go with them: a month's
//! rate is what was there and came of it, by what was there and came at standard. Knows the months
//! whose averages are taken, and no ledger.

use num_traits::{Signed, Zero};
use shared::fact::Kind;
use shared::fact::statement::CostMethod;
use shared::ids::Capture;
use shared::time::Month;

use super::admit::Entry;
use super::figure::{Figure, rounded};
use super::fold::{Pass, pool_no, stays_in_pool};
use super::monthly::{month_of, restates};

/// What a pool carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Variance {
    /// In minor units.
    pub amount: Figure,
    /// The month at hand, or what is left of it after a new standard.
    month: Option<Shared>,
    /// The rate of the last month that has one.
    rate: Option<Figure>,
}

/// How a month is shared.
#[derive(Clone, Debug, PartialEq)]
struct Shared {
    month: Month,
    /// None while the month's averages are not taken: nothing goes along.
    rate: Option<Figure>,
    /// The rate before.
    earlier: Figure,
    /// Who takes what the rate leaves over.
    rest: Option<(Capture, Figure)>,
}

/// What changes a pool in a month, at standard and beyond.
type Moved = (Capture, Figure, Figure);

impl Pass<'_> {
    /// A fact that is the first of its month in its pool decides how the month is shared.
    pub(super) fn begin_sharing(&mut self, entry: &Entry) {
        if pool_no(entry).is_none() {
            return;
        }
        let month = month_of(entry);
        let Some(variance) = &mut self.pool(entry).variance else { return };
        if variance.month.as_ref().is_some_and(|shared| shared.month == month && !restates(entry)) {
            return;
        }
        variance.month = None;
        if restates(entry) {
            return;
        }
        let earlier = variance.rate.clone().unwrap_or_else(Figure::zero);
        let taken = self.facts.averaged.get(&entry.company_no).is_some_and(|last| *last >= month);
        let shared = if taken {
            self.share_month(entry, month, earlier)
        } else {
            Shared { month, rate: None, earlier, rest: None }
        };
        let variance = self.pool(entry).variance.as_mut().expect("looked at above");
        if shared.rate.is_some() {
            variance.rate.clone_from(&shared.rate);
        }
        variance.month = Some(shared);
    }

    fn share_month(&mut self, first: &Entry, month: Month, earlier: Figure) -> Shared {
        let mut trial = self.copy();
        let pool = trial.pool(first);
        let at_first = pool.value.clone();
        let variance = pool.variance.as_mut().expect("the pool carries one");
        let carried = variance.amount.clone();
        let nothing = Some(Figure::zero());
        variance.month =
            Some(Shared { month, rate: nothing, earlier: earlier.clone(), rest: None });
        let (mut own, mut others): (Vec<Moved>, Vec<Moved>) = (Vec::new(), Vec::new());
        for each in self.facts.of_ring.iter().filter(|each| each.key >= first.key) {
            if pool_no(each) != pool_no(first) {
                continue;
            }
            let only_moves = each.statement.kind() == Kind::TransferShip && stays_in_pool(each);
            let leaves = each.goods().method != CostMethod::Standard && !only_moves;
            if month_of(each) != month || restates(each) || leaves {
                break;
            }
            let (standard, beyond) = trial.stands_at(first);
            trial.take_entry(each);
            let (standard_after, beyond_after) = trial.stands_at(first);
            let moved = (each.capture, standard_after - standard, beyond_after - beyond);
            if moved.1.is_zero() && moved.2.is_zero() {
                continue;
            }
            let list = if self.has_own_cost(each, month) { &mut own } else { &mut others };
            list.push(moved);
        }
        let sum = |of: fn(&Moved) -> &Figure| own.iter().map(of).sum::<Figure>();
        let (divisor, dividend) =
            (at_first + sum(|moved| &moved.1), carried + sum(|moved| &moved.2));
        let fits = divisor.is_positive();
        let rate = if fits { &dividend / &divisor } else { earlier.clone() };
        let borne: Figure = others.iter().map(|moved| rounded(&(&moved.1 * &rate))).sum();
        let left = divisor + others.iter().map(|moved| &moved.1).sum::<Figure>();
        let over = dividend + borne - rounded(&(&left * &rate));
        let named = |moved: &Moved| moved.0;
        let last_own = own.last().map(named);
        let last_out = others.iter().rev().find(|moved| moved.1.is_negative()).map(named);
        let last = others.last().map(named);
        let taker = match (fits, left.is_zero()) {
            (true, true) => last_out.or(last_own).or(last),
            (true, false) => None,
            (false, true) => last_own.or(last_out).or(last),
            (false, false) => last_own,
        };
        let rest = taker.map(|taker| (taker, over));
        Shared { month, rate: Some(rate), earlier, rest }
    }

    fn stands_at(&mut self, entry: &Entry) -> (Figure, Figure) {
        let number = pool_no(entry).expect("asked for before");
        let pool = &self.folded.pools[&number];
        let beyond = pool.variance.as_ref().map(|variance| variance.amount.clone());
        (pool.value.clone(), beyond.unwrap_or_else(Figure::zero))
    }

    /// What is carried follows goods that came or went, worth `change` at standard: by what is their
    /// own, else at the month's rate. Gives by how much it changes.
    pub(super) fn carry(&mut self, entry: &Entry, change: &Figure, own: Option<&Figure>) -> Figure {
        let around = self.facts.looped.contains(&entry.capture);
        let pool = self.pool(entry);
        let nothing_left = pool.value.is_zero();
        let Some(variance) = &mut pool.variance else { return Figure::zero() };
        let shared = variance.month.as_ref();
        let moved = match shared.and_then(|shared| Some((shared, shared.rate.as_ref()?))) {
            Some((shared, rate)) => {
                let rate = if around { &shared.earlier } else { rate };
                let moved = own.cloned().unwrap_or_else(|| rounded(&(change * rate)));
                match &shared.rest {
                    Some((taker, over)) if *taker == entry.capture => moved - over,
                    _ => moved,
                }
            }
            None if nothing_left => -variance.amount.clone(),
            None => own.cloned().unwrap_or_else(Figure::zero),
        };
        variance.amount += &moved;
        self.change_beyond(entry.capture, &moved);
        moved
    }
}
