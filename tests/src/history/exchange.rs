//! Prices in another currency, and what HQ states of rates: spans that leave days out, overlap, come
//! late or are stated anew.

use shared::fact::statement::{MasterData, Money, PolicyKind, Statement};
use shared::ids::{CompanyNo, SiteNo};
use shared::money::{Currency, Price};
use shared::time::{OffsetMinutes, Timestamp};

use super::{DAY, Group, SECOND, START, Writer, scaled};

fn other_currency() -> Currency {
    "EUR".parse().expect("a currency code")
}

impl Writer {
    /// The price, now and then in another currency.
    pub(super) fn abroad(&mut self, price: Option<Price>) -> Option<Price> {
        if !self.shape.foreign || !self.chance(1, 3) {
            return price;
        }
        let currency = other_currency();
        price.map(|price| Price { currency, ..price })
    }

    /// The same of an amount.
    pub(super) fn amount_abroad(&mut self, amount: Money) -> Money {
        if !self.shape.foreign || !self.chance(1, 4) {
            return amount;
        }
        let digits = amount.figure.mantissa();
        Money { figure: scaled(digits, -2), currency: other_currency() }
    }

    /// What a company's books are kept in.
    pub(super) fn currency_of(&self, company: CompanyNo) -> Currency {
        let abroad = company == SECOND && self.shape.second_abroad;
        if abroad { other_currency() } else { self.currency }
    }

    /// What a site of another currency states, in that.
    pub(super) fn in_own_currency(&self, site: SiteNo, group: &mut Group) {
        let own = self.currency_of(self.company_of(site));
        if own == self.currency {
            return;
        }
        for statement in group {
            let Statement::Movement(movement) = statement else { continue };
            for price in [&mut movement.price, &mut movement.cost].into_iter().flatten() {
                price.currency = if price.currency == own { self.currency } else { own };
            }
        }
    }

    fn rate(&mut self, until: i64) -> MasterData {
        let part = if self.shape.second_abroad { 2 } else { 1 };
        let second = self.shape.second_company && self.chance(part, 3);
        let company = if second { SECOND } else { CompanyNo::FIRST };
        let rate = match self.random.below(4) {
            0 => scaled(self.random.between(1, 9), 0),
            1 => scaled(self.random.between(1, 99), 1),
            _ => scaled(self.random.between(1, 99_999), -4),
        };
        let own = self.currency_of(company);
        let currency = if own == self.currency { other_currency() } else { self.currency };
        MasterData::Rate { company, currency, rate, until: Timestamp(until) }
    }

    /// From the beginning a rate for most of the days; some companies choose who bears it.
    pub(super) fn rates(&mut self, all: &mut Vec<MasterData>) {
        if !self.shape.foreign && !self.shape.second_abroad {
            return;
        }
        for _ in 0..if self.shape.second_abroad { 4 } else { 2 } {
            if self.chance(2, 3) {
                let days = self.random.between(-10, 40);
                all.push(self.rate(START + days * DAY));
            }
        }
        if self.chance(1, 2) {
            all.push(self.receipt_fx());
        }
    }

    fn receipt_fx(&mut self) -> MasterData {
        let setting = if self.chance(2, 3) { 2 } else { 1 };
        let (company, policy) = (Some(CompanyNo::FIRST), PolicyKind::ReceiptFx);
        MasterData::Policy { company, site: None, policy, setting }
    }

    /// HQ states a rate from a day on, mostly a day that is past, or who bears one.
    pub(super) fn change_a_rate(&mut self) {
        let today = Timestamp(self.now).day(OffsetMinutes(480)).start(OffsetMinutes(480));
        let from = today.0 - self.random.between(0, 30) * DAY;
        let data = if self.chance(1, 6) {
            self.receipt_fx()
        } else {
            let days = self.random.between(1, 40);
            self.rate(from + days * DAY)
        };
        let valid_from = (!self.chance(1, 8)).then_some(Timestamp(from));
        self.write(0, &[Statement::MasterData { valid_from, data }], 0);
    }
}
