//! What happens at the sites: goods that come, go and come back, and what nobody can take.

use shared::fact::statement::{Measure, Movement, Statement};
use shared::fact::{Fact, Kind, KindNo, Value, field};
use shared::ids::{Capture, DeviceNo, ItemNo, PartnerNo, SiteNo};
use shared::money::Price;

use super::{Group, ITEMS, Made, UNKNOWN_REASON, Writer, kinds, measure, scaled, unit};

impl Writer {
    pub(super) fn site_step(&mut self) {
        let log = 1 + self.random.number(self.shape.sites) as usize;
        let site = self.logs[log].site;
        let lines = if self.chance(1, 4) { 1 + self.random.index(3) } else { 1 };
        // Goods that are not there and go around: circles of cost.
        let around = self.shape.short_ships && self.chance(1, 4);
        let what = if around { 66 + self.random.below(22) } else { self.random.below(100) };
        // What cost belongs to a receipt shows where its goods go back.
        let back_again = self.shape.costs && self.chance(1, 9);
        let what = if back_again { 92 } else { what };
        let trades = self.shape.trade && self.chance(3, 5);
        let what = match trades {
            true if self.chance(2, 5) => 72,
            true => 80,
            false => what,
        };
        let group = match what {
            0..22 => self.goods(Kind::Receipt, lines),
            22..44 => self.goods(Kind::SaleIssue, lines),
            44..48 => self.goods(Kind::Issue, lines),
            48..51 => self.goods(Kind::Scrap, 1),
            51..55 => self.goods(Kind::Adjustment, 1),
            55..60 => self.goods(Kind::Count, lines),
            60..63 => self.goods(Kind::ProductionIn, 1),
            63..66 => self.goods(Kind::ProductionOut, lines),
            66..70 if self.shape.repacks => self.repack(),
            66..70 => self.goods(Kind::ProductionOut, 1),
            70..72 => self.goods(Kind::ServiceSale, 1),
            72..80 => self.ship(site),
            80..88 => self.answer(site, Kind::TransferShip, Kind::TransferReceive),
            88..92 => self.customer_return(site),
            92..95 => self.answer(site, Kind::Receipt, Kind::SupplierReturn),
            95..96 => self.answer(site, Kind::SupplierReturn, Kind::Receipt),
            _ => self.reversal(Some(site)),
        };
        let mut group = group;
        if self.shape.odd_groups && self.chance(1, 6) {
            self.random.shuffle(&mut group);
        }
        if self.shape.odd_groups && self.shape.reversals && self.chance(1, 20) {
            // Takes a companion back at once.
            let (device, counter) = (DeviceNo(site.0 + 1), self.clocks[log].2);
            let counter = counter + self.random.below(group.len() as u64);
            let refers_to = Capture { device, counter };
            group.push(Statement::Reversal { refers_to, reason: None });
        }
        let back = self.back();
        self.in_own_currency(site, &mut group);
        self.write_goods(log, &group, back);
    }

    /// Writes a group and remembers what can be referred to.
    pub(super) fn write_goods(&mut self, log: usize, group: &Group, back: i64) {
        let captures = self.write(log, group, back);
        let site = self.logs[log].site;
        for (capture, statement) in captures.into_iter().zip(group) {
            match statement {
                Statement::Movement(movement) => self.remember(capture, site, movement),
                Statement::Reversal { .. } => {
                    self.made.push(Made {
                        kind: Kind::Reversal,
                        ..Made::bare(capture, site, statement.kind())
                    });
                }
                _ => {}
            }
        }
    }

    pub(super) fn remember(&mut self, capture: Capture, site: SiteNo, movement: &Movement) {
        let unit = movement.quantity.unit.as_str();
        let known = ITEMS.iter().flat_map(|kinds| {
            [Some(kinds.unit), kinds.other_unit.map(|other| other.0)].into_iter().flatten()
        });
        let unit = known.into_iter().find(|known| *known == unit).unwrap_or("EA");
        let units = Self::rough_units(movement);
        let held = self.held.entry((site, movement.item)).or_default();
        match movement.kind {
            Kind::Count => *held = units,
            Kind::Receipt
            | Kind::CustomerReturn
            | Kind::TransferReceive
            | Kind::ProductionIn
            | Kind::RepackIn
            | Kind::Adjustment => *held = held.saturating_add(units),
            _ => *held = held.saturating_sub(units),
        }
        self.made.push(Made {
            item: movement.item,
            quantity: movement.quantity.figure,
            unit,
            other_site: movement.other_site,
            partner: movement.partner,
            priced: movement.price.is_some(),
            invoice_later: movement.invoice_later,
            lot: movement.lot.clone(),
            ..Made::bare(capture, site, movement.kind)
        });
    }

    /// Whole base units, roughly.
    pub(super) fn rough_units(movement: &Movement) -> i64 {
        let figure = movement.quantity.figure;
        let shift = u32::from(figure.exponent().unsigned_abs());
        let base = if figure.exponent() >= 0 {
            figure.mantissa().saturating_mul(10i64.pow(shift))
        } else {
            figure.mantissa() / 10i64.pow(shift)
        };
        let kinds = kinds(movement.item);
        match kinds.other_unit {
            Some((unit, up, down)) if movement.quantity.unit.as_str() == unit => {
                base.saturating_mul(up.cast_signed()) / down.cast_signed()
            }
            _ => base,
        }
    }

    pub(super) fn stocked(&mut self) -> ItemNo {
        ItemNo(1 + self.random.number(self.shape.items - 1))
    }

    pub(super) fn service(&self) -> ItemNo {
        ItemNo(self.shape.items)
    }

    pub(super) fn measure(&mut self, item: ItemNo) -> Measure {
        let kinds = if self.shape.plain_units { ITEMS[0] } else { kinds(item) };
        let other = kinds.other_unit.filter(|_| !self.shape.plain_units);
        if let Some((unit, _, down)) = other
            && self.chance(1, 5)
        {
            // Thirds come in threes: quantities are whole smallest units.
            let figure = self.random.between(1, 3) * if down == 3 { 3 } else { 1 };
            return measure(figure, 0, unit);
        }
        let decimals = if self.shape.plain_units { 0 } else { kinds.decimals };
        let unit = kinds.unit;
        if self.shape.extreme && self.chance(1, 2) {
            return measure(self.extreme(), 0, unit);
        }
        if decimals > 0 && self.chance(2, 3) {
            let digits = self.random.between(1, 20_000);
            return measure(digits, -decimals.cast_signed(), unit);
        }
        measure(self.random.between(1, 24), 0, unit)
    }

    /// Movements without reference, one partner and kind a group.
    pub(super) fn goods(&mut self, kind: Kind, lines: usize) -> Group {
        let partner = self.partner();
        let later = self.chance(1, 4);
        let mut group = Vec::new();
        for _ in 0..lines {
            let item = if kind == Kind::ServiceSale { self.service() } else { self.stocked() };
            let quantity = match kind {
                // Less than nothing: a credit.
                Kind::ServiceSale if self.chance(1, 3) => measure(-2, 0, "EA"),
                Kind::ServiceSale => measure(2, 0, "EA"),
                _ => self.measure(item),
            };
            let mut movement = Movement::new(kind, item, quantity);
            movement.lot = self.lot();
            match kind {
                Kind::Receipt => {
                    movement.partner = Some(partner);
                    movement.price = self.maybe_price(9, 10);
                }
                Kind::SaleIssue => {
                    movement.partner = Some(partner);
                    movement.price = self.maybe_price(4, 5);
                    movement.invoice_later = later;
                }
                Kind::ServiceSale => {
                    movement.partner = Some(partner);
                    movement.price = Some(self.price());
                }
                Kind::Issue | Kind::Scrap => {
                    movement.reason = Some(self.reason());
                    // What is used up answers nothing: no lot follows from what it names.
                    if self.chance(1, 10) {
                        movement.refers_to = self.find(|_| true).map(|made| made.capture);
                    }
                }
                Kind::Adjustment => {
                    movement.reason = Some(self.reason());
                    movement.price = self.maybe_price(1, 4);
                    if self.chance(1, 2) {
                        let figure = movement.quantity.figure;
                        movement.quantity.figure = scaled(-figure.mantissa(), figure.exponent());
                    }
                }
                Kind::Count => {
                    movement.price = self.maybe_price(1, 5);
                    if self.chance(1, 6) {
                        movement.quantity.figure = scaled(0, 0);
                    }
                }
                Kind::ProductionIn => movement.price = self.maybe_price(3, 4),
                _ => {}
            }
            if !matches!(kind, Kind::SaleIssue | Kind::ServiceSale) {
                movement.price = self.abroad(movement.price);
            }
            group.push(Statement::Movement(movement));
        }
        group
    }

    pub(super) fn repack(&mut self) -> Group {
        let stocked = self.shape.items - 1;
        if stocked < 2 && !self.shape.short_ships {
            return self.goods(Kind::ProductionOut, 1);
        }
        let pivot = 1 + self.random.number((stocked - 1).max(1));
        let mut group = Vec::new();
        for kind in [Kind::RepackOut, Kind::RepackIn] {
            for _ in 0..=self.random.below(2) {
                // A pool that feeds itself is a circle: what leaves is of other items than what
                // comes.
                let item = ItemNo(match kind {
                    _ if self.shape.short_ships => 1 + self.random.number(stocked),
                    Kind::RepackOut => 1 + self.random.number(pivot),
                    _ => pivot + 1 + self.random.number(stocked - pivot),
                });
                let quantity = self.measure(item);
                let mut movement = Movement::new(kind, item, quantity);
                movement.lot = self.lot();
                group.push(Statement::Movement(movement));
            }
        }
        group
    }

    pub(super) fn ship(&mut self, site: SiteNo) -> Group {
        let item = self.stocked();
        let mut quantity = self.measure(item);
        if !self.shape.short_ships {
            let held = self.held.get(&(site, item)).copied().unwrap_or(0);
            if held <= 0 {
                return self.goods(Kind::Receipt, 1);
            }
            let unit = if self.shape.plain_units { "EA" } else { kinds(item).unit };
            quantity = measure(self.random.between(1, held.min(40)), 0, unit);
        }
        let mut movement = Movement::new(Kind::TransferShip, item, quantity);
        let mut to = 1 + self.random.number(self.shape.sites);
        if self.shape.trade && SiteNo(to) == site {
            to = 1 + to % self.shape.sites;
        }
        if SiteNo(to) == site {
            return self.goods(Kind::Receipt, 1);
        }
        movement.other_site = Some(SiteNo(to));
        // Between companies at a price; some forget it, some state one within a company.
        let between = self.company_of(SiteNo(to)) != self.company_of(site);
        movement.price = if between { self.maybe_price(14, 15) } else { self.maybe_price(1, 60) };
        movement.lot = self.lot();
        vec![Statement::Movement(movement)]
    }

    /// A movement that refers to an earlier one of another kind.
    pub(super) fn answer(&mut self, site: SiteNo, of: Kind, kind: Kind) -> Group {
        // Goods of one site may go back from another.
        let anywhere = of == Kind::Receipt && self.chance(1, 4);
        let found = self.find(|made| {
            let here = match of {
                Kind::TransferShip => made.other_site == Some(site),
                _ => made.site == site || anywhere,
            };
            made.kind == of && here && made.quantity.mantissa() > 0
        });
        let Some(found) = found else { return self.goods(Kind::Receipt, 1) };
        let figure = self.part_of(found.quantity);
        let quantity = measure(figure.mantissa(), figure.exponent(), found.unit);
        let mut movement = Movement::new(kind, found.item, quantity);
        movement.partner = found.partner.or_else(|| Some(self.partner()));
        movement.refers_to = Some(found.capture);
        movement.lot = self.lot_of(&found, kind);
        if kind == Kind::Receipt {
            movement.price = self.maybe_price(1, 4);
        }
        if kind == Kind::SupplierReturn && self.chance(1, 5) {
            movement.refers_to = None;
        }
        vec![Statement::Movement(movement)]
    }

    /// Also at another site than the sale's.
    pub(super) fn customer_return(&mut self, site: SiteNo) -> Group {
        let anywhere = self.chance(1, 4);
        let found = self.find(|made| {
            matches!(made.kind, Kind::SaleIssue | Kind::Issue) && (anywhere || made.site == site)
        });
        let Some(found) = found else { return self.goods(Kind::SaleIssue, 1) };
        let figure = self.part_of(found.quantity);
        let quantity = measure(figure.mantissa(), figure.exponent(), found.unit);
        let mut movement = Movement::new(Kind::CustomerReturn, found.item, quantity);
        movement.partner = found.partner.or_else(|| Some(self.partner()));
        movement.price = if found.priced { self.maybe_price(3, 4) } else { None };
        movement.refers_to = Some(found.capture);
        movement.lot = self.lot_of(&found, Kind::CustomerReturn);
        if self.chance(1, 5) {
            movement.refers_to = None;
            let cost = self.maybe_price(1, 2);
            movement.cost = self.abroad(cost);
        }
        vec![Statement::Movement(movement)]
    }

    pub(super) fn reversal(&mut self, site: Option<SiteNo>) -> Group {
        // HQ takes back what it stated itself rather than what a site did.
        let own = site.is_some() || self.chance(2, 3);
        let site = if own { Some(site.unwrap_or(SiteNo::HQ)) } else { None };
        let found = self.find(|made| site.is_none_or(|site| made.site == site));
        match found {
            Some(found) if self.shape.reversals => {
                vec![Statement::Reversal { refers_to: found.capture, reason: None }]
            }
            _ => self.goods(Kind::SaleIssue, 1),
        }
    }

    /// Something that can't be taken, alone or with good companions.
    pub(super) fn bad(&mut self) {
        let log = 1 + self.random.number(self.shape.sites) as usize;
        let item = self.stocked();
        let mut movement = Movement::new(Kind::Receipt, item, self.measure(item));
        movement.partner = Some(PartnerNo(1));
        movement.price = Some(self.price());
        let which = self.random.below(12);
        match which {
            0 => movement.item = ItemNo(99),
            1 => movement.quantity.unit = unit("PALLET"),
            2 => movement.quantity = measure(1_234_567, -6, kinds(item).unit),
            3 => {
                let currency = "EUR".parse().expect("a currency code");
                movement.price = movement.price.map(|price| Price { currency, ..price });
            }
            4 => movement.partner = Some(PartnerNo(99)),
            5 => movement.reason = Some(UNKNOWN_REASON),
            6 => movement.item = self.service(),
            7 => {
                movement.refers_to = Some(Capture { device: DeviceNo(1), counter: 1 << 40 });
            }
            8 => movement.quantity = measure(1 << 52, 3, kinds(item).unit),
            _ => {}
        }
        let mut group = vec![Statement::Movement(movement)];
        match which {
            // HQ has no shelves.
            9 => {
                self.write(0, &group, 0);
                return;
            }
            // Only HQ invoices.
            10 => {
                let Some(receipt) = self.find(|made| made.kind == Kind::Receipt) else { return };
                let line = self.invoice_line(&receipt, receipt.capture, receipt.quantity);
                group = vec![Statement::SupplierInvoice(line)];
            }
            11 => {
                let out = self.repack().remove(0);
                group = vec![out];
            }
            _ if self.chance(1, 2) => {
                let companions = self.goods(Kind::SaleIssue, 1);
                group.splice(0..0, companions);
            }
            _ => {}
        }
        self.write(log, &group, 0);
        if self.chance(1, 6) {
            self.of_a_later_version(log);
        }
    }

    /// A kind that this version does not know.
    pub(super) fn of_a_later_version(&mut self, log: usize) {
        let counter = self.clocks[log].2;
        self.clocks[log].2 += 1;
        let mut fact = Fact::with_number(KindNo(31));
        let mut set = |number, value| fact.set(number, value).expect("a legal field");
        set(field::CAPTURE_DEVICE.number, Value::Unsigned(log as u64 + 1));
        set(field::CAPTURE_COUNTER.number, Value::Unsigned(counter));
        set(field::RECORDED_AT.number, Value::Signed(self.clocks[log].0));
        self.logs[log].facts.push(fact);
    }
}
