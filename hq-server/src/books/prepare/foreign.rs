//! What is stated in another currency gets the rate of its day: a movement that of its effective time,
//! a document that of its own day, in the company's zone. As its parent: changes no books.

use shared::fact::Kind;
use shared::fact::statement::Money;
use shared::money::{Currency, Price, exact_minor};
use shared::quantity::{ScaleError, Scaled};
use shared::time::Timestamp;

use super::super::exchange::{Foreign, Rate};
use super::super::fact_table::FactRecord;
use super::super::settings::Settings;
use super::{Draft, Preparation, Waits};

impl Preparation<'_> {
    /// What a currency costs the company at a time.
    pub(super) fn rate(
        &self,
        draft: &Draft<'_>,
        currency: Currency,
        at: Timestamp,
    ) -> Result<Rate, Waits> {
        let rate = self.settings.rate(draft.company_no, currency, at);
        rate.ok_or(Waits::NoRate { currency, day: at.day(draft.company.zone) })
    }
}

/// An amount in another currency; it needs no rounding there.
pub(super) fn foreign_amount(money: Money) -> Result<Foreign, Waits> {
    let currency = money.currency;
    exact_minor(money.figure, currency).map_err(|why| match why {
        ScaleError::TooManyDecimals { .. } => Waits::TooManyDecimals(currency),
        ScaleError::TooLarge => Waits::TooMuchMoney,
    })?;
    let price = Price { figure: money.figure, currency };
    let one = Scaled::new(1, 0).expect("one is a figure");
    Ok(Foreign { price, quantity: one, unit: None })
}

/// The rate for what a record states in another currency: what takes effect later than it happened
/// has the rate of when it happened.
pub(in super::super) fn rate_of(settings: &Settings, record: &FactRecord) -> Option<Rate> {
    let currency = record.foreign.as_ref()?.price.currency;
    let effective = record.key.effective_at();
    let at = match record.kind {
        Kind::SupplierInvoice | Kind::CreditNote | Kind::LandedCost => {
            record.document_day.start(settings.company(record.company, effective)?.zone)
        }
        _ => record.moved_at().effective_at(),
    };
    settings.rate(record.company, currency, at)
}

/// What a receiver's books take one unit of the sender's currency for, and its decimals; none where
/// both keep theirs in one.
pub(in super::super) fn rate_between(
    settings: &Settings,
    ship: &FactRecord,
    receive: &FactRecord,
) -> Option<(Rate, u8)> {
    if ship.company == receive.company {
        return None;
    }
    let sender = settings.company(ship.company, ship.key.effective_at())?.currency;
    let receiver = settings.company(receive.company, receive.key.effective_at())?.currency;
    if sender == receiver {
        return None;
    }
    let rate = settings.rate(receive.company, sender, receive.moved_at().effective_at())?;
    Some((rate, sender.decimals()))
}

/// Sets what a rate makes of what a record states in another currency.
pub(in super::super) fn convert(record: &mut FactRecord, rate: Rate) {
    // What another company sold is shared over what arrived of it.
    let Some(foreign) = record.foreign.as_ref().filter(|_| !record.between) else { return };
    let amount = foreign.worth(rate);
    record.unit_cost = foreign.unit.map(|_| foreign.unit_cost(rate));
    record.stated = Some(amount);
    match record.kind {
        Kind::SupplierInvoice => record.document_target = (-amount, 0),
        Kind::CreditNote => record.document_target = (amount, 0),
        // What is accrued is owed to nobody yet.
        Kind::LandedCost if record.partner.is_some() => record.document_target = (-amount, amount),
        _ => {}
    }
}
