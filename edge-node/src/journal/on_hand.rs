//! What is on hand by the node's own log, per item and lot. Advice to the keeper and the stock
//! policy's check; HQ's books decide. Knows units only as smallest units.
//!
//! Invariant: what is on hand is the newest count (by when it happened) plus what moved after it.
//! Where a clock was in doubt the log's order says what came after what, as it does at HQ until
//! somebody says when it happened.

use std::collections::{BTreeMap, BTreeSet};

use shared::catalogue::{Catalogue, UnitError};
use shared::fact::kind::Kind;
use shared::fact::reversals::{Reversals, Toggled};
use shared::fact::statement::{Movement, Stamp, Statement};
use shared::fact::{Fact, field};
use shared::ids::{DeviceNo, ItemNo, Seq};
use shared::quantity::{Quantity, ShortText};
use shared::sync::StockLevel;
use shared::time::Timestamp;
use shared::varint;

/// What is counted apart: an item and a lot of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// The item.
    pub item: ItemNo,
    /// Its lot, where the movement named one.
    pub lot: Option<ShortText>,
}

/// The version of a snapshot's bytes.
const LAYOUT: u8 = 4;

/// When something happened, as the log says: (occurred-at, recorded-at, seq). Of what was recorded by
/// a clock in doubt: after everything before it in the log whose time counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Where it stands in the log.
    pub seq: Seq,
}

/// What a movement does to its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds, or takes away where negative.
    Move(Quantity),
    /// States what is there.
    Count(Quantity),
}

/// A movement's bucket and what it does to it; `None` where it moves no stock.
pub fn change_of(
    movement: &Movement,
    catalogue: &Catalogue,
    at: Timestamp,
) -> Result<Option<(Bucket, Change)>, UnitError> {
    let Some(item) = catalogue.item(movement.item) else { return Ok(None) };
    let sign = match movement.kind {
        Kind::Receipt
        | Kind::CustomerReturn
        | Kind::TransferReceive
        | Kind::Adjustment
        | Kind::ProductionIn
        | Kind::RepackIn
        | Kind::Count => 1,
        Kind::SaleIssue
        | Kind::Issue
        | Kind::SupplierReturn
        | Kind::TransferShip
        | Kind::Scrap
        | Kind::ProductionOut
        | Kind::RepackOut => -1,
        _ => return Ok(None),
    };
    if item.service {
        return Ok(None);
    }
    let quantity = catalogue.to_smallest(item, &movement.quantity, at)?;
    let bucket = Bucket { item: movement.item, lot: movement.lot.clone() };
    let change = match movement.kind {
        Kind::Count => Change::Count(quantity),
        _ => Change::Move(Quantity(sign * quantity.0)),
    };
    Ok(Some((bucket, change)))
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    quantity: i64,
    /// The newest count. No count is older than every time: a clock may say 1969.
    count: Option<Place>,
    /// The newest of all that changed it.
    newest: Option<Place>,
}

/// What is on hand, folded fact by fact.
#[derive(Clone, Debug, Default)]
pub struct OnHand {
    at: Seq,
    /// The newest time at which something happened by a clock that was not in doubt.
    trusted: Timestamp,
    levels: BTreeMap<Bucket, Level>,
    /// Which facts of this log count.
    reversals: Reversals<Seq>,
    /// Where a count came that is older than what moved since: to be folded again.
    stale: BTreeSet<Bucket>,
    /// A fact named an item or unit that the catalogue doesn't have.
    incomplete: bool,
}

/// One line of a stock list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockLine {
    /// Item and lot.
    pub bucket: Bucket,
    /// In smallest units.
    pub quantity: Quantity,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it was last counted.
    pub counted_at: Option<Timestamp>,
}

impl OnHand {
    /// The last fact taken in.
    pub const fn at(&self) -> Seq {
        self.at
    }

    /// Whether every fact so far could be read.
    pub const fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Whether some bucket waits for [`OnHand::fold_again`].
    pub fn is_stale(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Whether this bucket waits for [`OnHand::fold_again`].
    pub fn is_stale_at(&self, bucket: &Bucket) -> bool {
        self.stale.contains(bucket)
    }

    /// Whether a reversal undid this fact.
    pub fn is_reversed(&self, seq: Seq) -> bool {
        self.reversals.is_undone(seq)
    }

    /// How much is there.
    pub fn quantity(&self, bucket: &Bucket) -> Quantity {
        Quantity(self.levels.get(bucket).map_or(0, |level| level.quantity))
    }

    /// Everything that ever moved here, by item and lot.
    pub fn lines(&self) -> impl Iterator<Item = StockLine> {
        self.levels.iter().map(|(bucket, level)| StockLine {
            bucket: bucket.clone(),
            quantity: Quantity(level.quantity),
            changed_at: level.newest.map_or(Timestamp(0), |newest| newest.occurred_at),
            counted_at: level.count.map(|count| count.occurred_at),
        })
    }

    /// Takes the next fact of the log. `referred` reads an earlier fact, for reversals.
    pub fn apply(
        &mut self,
        seq: Seq,
        fact: &Fact,
        device: DeviceNo,
        catalogue: &Catalogue,
        referred: impl Fn(Seq) -> Option<Fact>,
    ) {
        self.at = seq;
        let effect = Effect::of(seq, fact, device, catalogue, self.trusted);
        self.trusted = self.trusted.max(trusted_time(fact));
        match effect {
            Effect::None => {}
            Effect::Unreadable => self.incomplete = true,
            Effect::Stock(place, bucket, change) => self.change(place, bucket, change),
            Effect::Reverse(target) => self.reverse(seq, target, device, catalogue, referred),
        }
    }

    fn change(&mut self, place: Place, bucket: Bucket, change: Change) {
        let level = self.levels.entry(bucket.clone()).or_default();
        match change {
            Change::Move(quantity) if Some(place) > level.count => {
                level.quantity = level.quantity.saturating_add(quantity.0);
            }
            Change::Move(_) => {}
            Change::Count(quantity) if Some(place) >= level.newest => {
                level.quantity = quantity.0;
                level.count = Some(place);
            }
            Change::Count(_) => {
                self.stale.insert(bucket);
            }
        }
        level.newest = level.newest.max(Some(place));
    }

    /// A reversal takes effect: what it names did not happen. Where that is a reversal, what that one
    /// named happened again, and so on.
    fn reverse(
        &mut self,
        reversal: Seq,
        target: Seq,
        device: DeviceNo,
        catalogue: &Catalogue,
        referred: impl Fn(Seq) -> Option<Fact>,
    ) {
        let trusted = self.trusted;
        let effect = |seq| {
            let fact = referred(seq);
            fact.map_or(Effect::Unreadable, |it| Effect::of(seq, &it, device, catalogue, trusted))
        };
        let has_own_place = |seq| referred(seq).is_some_and(|fact| !is_in_doubt(&fact));
        let named_by = |seq| match effect(seq) {
            Effect::Reverse(earlier) => Some(earlier).filter(|it| *it < seq),
            _ => None,
        };
        let together = |seq| together(seq, &referred);
        for Toggled { fact, undone } in self.reversals.reverse(reversal, target, together, named_by)
        {
            match effect(fact) {
                Effect::None | Effect::Reverse(_) => {}
                Effect::Unreadable => self.incomplete = true,
                Effect::Stock(place, bucket, Change::Move(quantity))
                    if undone && has_own_place(fact) =>
                {
                    self.change(place, bucket, Change::Move(Quantity(-quantity.0)));
                }
                // A count, what happened again, or what has its place by the log before it: rare. Its
                // bucket is folded again.
                Effect::Stock(_, bucket, _) => {
                    self.stale.insert(bucket);
                }
            }
        }
    }

    /// Folds the stale buckets again from `opening` and the whole log, which `feed` gives in order.
    pub fn fold_again<E>(
        &mut self,
        opening: &Self,
        device: DeviceNo,
        catalogue: &Catalogue,
        feed: impl FnOnce(&mut dyn FnMut(Seq, &Fact)) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut changes: BTreeMap<Bucket, BTreeMap<Place, Change>> = BTreeMap::new();
        let mut trusted = opening.trusted;
        feed(&mut |seq, fact| {
            let effect = Effect::of(seq, fact, device, catalogue, trusted);
            trusted = trusted.max(trusted_time(fact));
            if let Effect::Stock(place, bucket, change) = effect
                && self.stale.contains(&bucket)
                && !self.reversals.is_undone(seq)
            {
                changes.entry(bucket).or_default().insert(place, change);
            }
        })?;
        for bucket in std::mem::take(&mut self.stale) {
            let level = opening.levels.get(&bucket).cloned().unwrap_or_default();
            self.levels.insert(bucket.clone(), level);
            for (place, change) in changes.remove(&bucket).into_iter().flatten() {
                self.change(place, bucket.clone(), change);
            }
        }
        assert!(
            self.stale.is_empty(),
            "in order of events no count is older than what came before"
        );
        Ok(())
    }

    /// The bytes of a snapshot; `None` while it would hold less than the log says.
    pub fn encode(&self) -> Option<Vec<u8>> {
        if self.incomplete || !self.stale.is_empty() {
            return None;
        }
        let mut out = vec![LAYOUT];
        varint::write_unsigned(&mut out, self.at.0);
        varint::write_signed(&mut out, self.trusted.0);
        let (named, undone) = self.reversals.parts();
        varint::write_unsigned(&mut out, undone.len() as u64);
        for seq in undone {
            varint::write_unsigned(&mut out, seq.0);
        }
        varint::write_unsigned(&mut out, named.len() as u64);
        for (target, reversals) in named {
            varint::write_unsigned(&mut out, target.0);
            varint::write_unsigned(&mut out, reversals.len() as u64);
            for seq in reversals {
                varint::write_unsigned(&mut out, seq.0);
            }
        }
        varint::write_unsigned(&mut out, self.levels.len() as u64);
        for (bucket, level) in &self.levels {
            let lot = bucket.lot.as_deref().unwrap_or_default();
            varint::write_unsigned(&mut out, bucket.item.into());
            varint::write_unsigned(&mut out, lot.len() as u64);
            out.extend_from_slice(lot);
            varint::write_signed(&mut out, level.quantity);
            for place in [level.count, level.newest] {
                varint::write_unsigned(&mut out, place.is_some().into());
                let Some(place) = place else { continue };
                varint::write_signed(&mut out, place.occurred_at.0);
                varint::write_signed(&mut out, place.recorded_at.0);
                varint::write_unsigned(&mut out, place.seq.0);
            }
        }
        Some(out)
    }

    /// Reads a snapshot; `None` where it is none of this version: then the log is folded again.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut input) = bytes.split_first()?;
        (*version == LAYOUT).then_some(())?;
        let input = &mut input;
        let at = Seq(varint::read_unsigned(input).ok()?);
        let trusted = Timestamp(varint::read_signed(input).ok()?);
        let mut found = Self { at, trusted, ..Self::default() };
        let (mut named, mut undone) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..varint::read_unsigned(input).ok()? {
            undone.insert(Seq(varint::read_unsigned(input).ok()?));
        }
        for _ in 0..varint::read_unsigned(input).ok()? {
            let target = Seq(varint::read_unsigned(input).ok()?);
            let reversals: &mut BTreeSet<Seq> = named.entry(target).or_default();
            for _ in 0..varint::read_unsigned(input).ok()? {
                reversals.insert(Seq(varint::read_unsigned(input).ok()?));
            }
        }
        found.reversals = Reversals::from_parts(named, undone);
        for _ in 0..varint::read_unsigned(input).ok()? {
            let item = ItemNo(u32::try_from(varint::read_unsigned(input).ok()?).ok()?);
            let length = usize::try_from(varint::read_unsigned(input).ok()?).ok()?;
            let lot = input.get(..length)?;
            let lot = (length > 0).then(|| ShortText::from_slice(lot));
            *input = &input[length..];
            let quantity = varint::read_signed(input).ok()?;
            let mut place = || -> Option<Option<Place>> {
                if varint::read_unsigned(input).ok()? == 0 {
                    return Some(None);
                }
                Some(Some(Place {
                    occurred_at: Timestamp(varint::read_signed(input).ok()?),
                    recorded_at: Timestamp(varint::read_signed(input).ok()?),
                    seq: Seq(varint::read_unsigned(input).ok()?),
                }))
            };
            let (count, newest) = (place()?, place()?);
            found.levels.insert(Bucket { item, lot }, Level { quantity, count, newest });
        }
        input.is_empty().then_some(found)
    }

    /// What HQ says is on hand, as the opening of a log.
    pub fn of_levels(levels: &[StockLevel]) -> Self {
        let mut opening = Self::default();
        for StockLevel { item, lot, quantity } in levels {
            let bucket = Bucket { item: *item, lot: lot.clone() };
            let level = opening.levels.entry(bucket).or_default();
            level.quantity = level.quantity.saturating_add(quantity.0);
        }
        opening
    }

    /// The same levels as the opening of a log that follows: at its beginning, without reversals.
    #[must_use]
    pub fn as_opening(&self) -> Self {
        let levels = self.levels.iter().map(|(bucket, level)| {
            let quantity = level.quantity;
            (bucket.clone(), Level { quantity, ..Level::default() })
        });
        Self { levels: levels.collect(), ..Self::default() }
    }
}

enum Effect {
    None,
    Unreadable,
    Stock(Place, Bucket, Change),
    Reverse(Seq),
}

impl Effect {
    /// `trusted`: the newest time that counts before it in the log.
    fn of(
        seq: Seq,
        fact: &Fact,
        device: DeviceNo,
        catalogue: &Catalogue,
        trusted: Timestamp,
    ) -> Self {
        let Some(kind) = fact.kind().filter(|kind| kind.is_movement()) else { return Self::None };
        let (Ok(stamp), Ok(statement)) = (Stamp::parse(fact), Statement::parse(fact)) else {
            return Self::Unreadable;
        };
        let happened = if stamp.time_in_doubt == 0 { stamp.occurred_at } else { trusted };
        // Recorded-at never goes back within a log.
        let place = Place { occurred_at: happened, recorded_at: stamp.recorded_at, seq };
        match statement {
            Statement::Movement(movement) => {
                if catalogue.item(movement.item).is_none() {
                    return Self::Unreadable;
                }
                match change_of(&movement, catalogue, stamp.occurred_at) {
                    Ok(Some((bucket, change))) => Self::Stock(place, bucket, change),
                    Ok(None) => Self::None,
                    Err(_) => Self::Unreadable,
                }
            }
            Statement::Reversal { refers_to, .. } if refers_to.device == device => {
                Self::Reverse(Seq(refers_to.counter))
            }
            _ => {
                debug_assert!(kind == Kind::Reversal, "other movements are movements");
                Self::None
            }
        }
    }
}

fn is_in_doubt(fact: &Fact) -> bool {
    field::TIME_IN_DOUBT.of(fact).unwrap_or(0) != 0
}

/// When a fact happened, where its clock was not in doubt; else the beginning of time.
fn trusted_time(fact: &Fact) -> Timestamp {
    let happened = field::OCCURRED_AT.of(fact).or_else(|| field::RECORDED_AT.of(fact));
    let happened = happened.filter(|_| !is_in_doubt(fact));
    happened.map(Timestamp).unwrap_or_default()
}

/// The facts that have effect together with one: both sides of a repack.
fn together(seq: Seq, referred: &impl Fn(Seq) -> Option<Fact>) -> Vec<Seq> {
    let is_repack = |fact: &Fact| matches!(fact.kind(), Some(Kind::RepackIn | Kind::RepackOut));
    let Some(fact) = referred(seq).filter(is_repack) else { return vec![seq] };
    let left = group_left(&fact);
    let is_of_group =
        |at: &u64| referred(Seq(*at)).is_some_and(|it| group_left(&it) == left + seq.0 - at);
    let group = (1..seq.0).rev().take_while(is_of_group).chain(seq.0..=seq.0 + left);
    group.map(Seq).filter(|member| referred(*member).is_some_and(|it| is_repack(&it))).collect()
}

/// How many facts of its group follow this one.
pub(super) fn group_left(fact: &Fact) -> u64 {
    field::GROUP_LEFT.of(fact).unwrap_or(0)
}
