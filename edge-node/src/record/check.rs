//! The checks of the edge, line by line: texts become a typed statement, or the first fault in
//! order of precedence is named. Pure: catalogue and time come as arguments.

use shared::catalogue::{Catalogue, Item, OpenTransfer, Partner};
use shared::decimal::{self, DecimalError};
use shared::fact::kind::Kind;
use shared::fact::record::FIELD_BYTES_MAX;
use shared::fact::statement::{Measure, Movement, PolicyKind, Statement};
use shared::ids::{Capture, PartnerNo, ReasonNo, SiteNo};
use shared::money::{Currency, Price};
use shared::quantity::{ScaleError, Scaled, ShortText, Unit};
use shared::time::{Day, OffsetMinutes, Timestamp};
use shared::varint;

use super::arrivals::Arrival;
use super::input::{GroupInput, LineInput, Moment};
use super::refusal::{Refusal, Refused};
use crate::journal::Line;

/// A price or cost may have this many decimals: more are a slip of a spreadsheet. Fewer are taken
/// exactly as written.
pub const PRICE_DECIMALS_MAX: u8 = 8;

/// The longest lot, serial number or document number.
const TEXT_BYTES_MAX: usize = 100;

/// A clock may be this much behind the one that stated a date.
const AHEAD_MS: i64 = 5 * 60_000;

/// Who records: it has its own limit for old dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A keeper, or a program at the site.
    Keeper,
    /// An import of what happened elsewhere.
    Import,
}

/// What the checks know beside the input.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Master data.
    pub catalogue: &'a Catalogue,
    /// This site.
    pub site: SiteNo,
    /// By the node's clock.
    pub now: Timestamp,
    /// The site's zone.
    pub offset: OffsetMinutes,
    /// Who records.
    pub origin: Origin,
    /// Transfers on their way here that HQ has not told of.
    pub arrivals: &'a [Arrival],
}

/// Checks a group and gives its lines as statements.
pub fn check_group(context: &Context<'_>, group: &GroupInput) -> Result<Vec<Line>, Refused> {
    let check = |(index, line): (usize, &LineInput)| {
        let moment = line.occurred_at.or(group.occurred_at);
        check_line(context, line, moment).map_err(|why| Refused::Line { line: index, why })
    };
    let lines: Vec<Line> = group.lines.iter().enumerate().map(check).collect::<Result<_, _>>()?;
    match one_sided_repack(&lines) {
        Some(line) => Err(Refused::Line { line, why: Refusal::OneSidedRepack }),
        None => Ok(lines),
    }
}

/// The first line of a repack without its other side.
fn one_sided_repack(lines: &[Line]) -> Option<usize> {
    let find = |kind| lines.iter().position(|line| line.statement.kind() == kind);
    match (find(Kind::RepackOut), find(Kind::RepackIn)) {
        (Some(line), None) | (None, Some(line)) => Some(line),
        _ => None,
    }
}

fn check_line(
    context: &Context<'_>,
    line: &LineInput,
    moment: Option<Moment>,
) -> Result<Line, Refusal> {
    let kind = Kind::from_word(&line.kind)
        .filter(|kind| kind.is_movement())
        .ok_or_else(|| Refusal::UnknownKind(line.kind.clone()))?;
    let statement = match kind {
        Kind::Reversal => reversal(context, line)?,
        _ => Statement::Movement(movement(context, kind, line)?),
    };
    check_date(context, moment)?;
    Ok(Line { statement, occurred_at: moment.map(|moment| moment.at) })
}

fn reversal(context: &Context<'_>, line: &LineInput) -> Result<Statement, Refusal> {
    let kind = Kind::Reversal;
    let reason = reason(context, kind, line)?;
    let refers_to = capture(line.refers_to.as_deref())?;
    let refers_to = refers_to.ok_or(Refusal::Missing { kind, field: "refers_to" })?;
    Ok(Statement::Reversal { refers_to, reason })
}

fn movement(context: &Context<'_>, kind: Kind, line: &LineInput) -> Result<Movement, Refusal> {
    let transfer = match kind {
        Kind::TransferReceive => open_transfer(context, line)?,
        _ => None,
    };
    let item = item(context, kind, line, transfer)?;
    let partner = partner(context, kind, line)?;
    let reason = reason(context, kind, line)?;
    let other_site = other_site(context, kind, line)?.or(transfer.map(|transfer| transfer.from));
    let quantity = quantity(context, kind, item, line, transfer)?;
    let mut movement = Movement::new(kind, item.item, quantity);
    movement.price = price(context, "price", line.price.as_deref(), line)?;
    movement.cost = price(context, "cost", line.cost.as_deref(), line)?;
    for (field, price) in [("price", movement.price), ("cost", movement.cost)] {
        check_amount(field, price, movement.quantity.figure)?;
    }
    movement.partner = partner;
    movement.reason = reason;
    movement.other_site = other_site;
    check_transfer_price(context, &movement)?;
    movement.refers_to = match (kind, capture(line.refers_to.as_deref())?) {
        (Kind::TransferReceive, None) => transfer.map(|transfer| transfer.ship),
        (_, stated) => stated,
    };
    movement.order = capture(line.order.as_deref())?;
    check_reference(&movement, item, transfer, context.catalogue)?;
    movement.lot = short("lot", line.lot.as_deref())?
        .or_else(|| transfer.and_then(|transfer| transfer.lot.clone()));
    movement.serial = short("serial", line.serial.as_deref())?;
    movement.document = short("document", line.document.as_deref())?;
    movement.expiry = day(line.expiry.as_deref())?;
    movement.tax_code = tax_code(line.tax_code.as_deref())?;
    movement.status = status(line.status.as_deref())?;
    movement.invoice_later = line.invoice_later;
    movement.check().map_err(Refusal::Form)?;
    Ok(movement)
}

/// The transfer that a receive answers: the one named, or the only one of the item on its way.
///
/// A named transfer that neither HQ nor its sender has told of yet is taken on the keeper's word.
fn open_transfer<'a>(
    context: &Context<'a>,
    line: &LineInput,
) -> Result<Option<&'a OpenTransfer>, Refusal> {
    let announced = || context.arrivals.iter().map(|arrival| &arrival.transfer);
    if let Some(ship) = capture(line.refers_to.as_deref())? {
        let told = context.catalogue.open_transfer(ship);
        return Ok(told.or_else(|| announced().find(|transfer| transfer.ship == ship)));
    }
    let code = line.item.as_deref();
    let code = code.ok_or(Refusal::Missing { kind: Kind::TransferReceive, field: "refers_to" })?;
    let Some(item) = context.catalogue.item_by_code(code) else { return Ok(None) };
    let coming = || {
        let mine =
            |transfer: &&OpenTransfer| transfer.to == context.site && transfer.item == item.item;
        context.catalogue.open_transfers().chain(announced()).filter(mine)
    };
    match coming().count() {
        0 => Err(Refusal::NoOpenTransfer(code.to_owned())),
        1 => Ok(coming().next()),
        _ => {
            let which: Vec<String> = coming().map(|each| each.ship.to_string()).collect();
            Err(Refusal::WhichTransfer { item: code.to_owned(), which: which.join(", ") })
        }
    }
}

fn item<'a>(
    context: &Context<'a>,
    kind: Kind,
    line: &LineInput,
    transfer: Option<&OpenTransfer>,
) -> Result<&'a Item, Refusal> {
    let item = match (&line.item, transfer) {
        (Some(code), _) => context
            .catalogue
            .item_by_code(code)
            .ok_or_else(|| Refusal::UnknownItem(code.clone()))?,
        (None, Some(transfer)) => context
            .catalogue
            .item(transfer.item)
            .ok_or_else(|| Refusal::UnknownItem(format!("number {}", transfer.item)))?,
        (None, None) => return Err(Refusal::Missing { kind, field: "item" }),
    };
    match kind {
        Kind::ServiceSale if !item.service => Err(Refusal::GoodsAsService(item.code.clone())),
        Kind::ServiceSale => Ok(item),
        _ if item.service => Err(Refusal::ServiceMoved { item: item.code.clone(), kind }),
        _ => Ok(item),
    }
}

fn partner(
    context: &Context<'_>,
    kind: Kind,
    line: &LineInput,
) -> Result<Option<PartnerNo>, Refusal> {
    type HasRole = fn(&Partner) -> bool;
    let role: Option<(&str, HasRole)> = match kind {
        Kind::Receipt | Kind::SupplierReturn => Some(("supplier", |partner| partner.supplier)),
        Kind::SaleIssue | Kind::CustomerReturn | Kind::ServiceSale => {
            Some(("customer", |partner| partner.customer))
        }
        _ => None,
    };
    let Some(code) = &line.partner else {
        return match role {
            Some(_) => Err(Refusal::Missing { kind, field: "partner" }),
            None => Ok(None),
        };
    };
    let partner = context.catalogue.partner_by_code(code);
    let partner = partner.ok_or_else(|| Refusal::UnknownPartner(code.clone()))?;
    match role {
        Some((role, has_role)) if !has_role(partner) => {
            Err(Refusal::PartnerRole { partner: code.clone(), role })
        }
        _ => Ok(Some(partner.partner)),
    }
}

fn reason(
    context: &Context<'_>,
    kind: Kind,
    line: &LineInput,
) -> Result<Option<ReasonNo>, Refusal> {
    let Some(code) = &line.reason else {
        return match kind {
            Kind::Adjustment | Kind::Scrap => Err(Refusal::Missing { kind, field: "reason" }),
            _ => Ok(None),
        };
    };
    let reason = context.catalogue.reason_by_code(code);
    let reason = reason.ok_or_else(|| Refusal::UnknownReason(code.clone()))?;
    match reason.movement {
        Some(belongs) if belongs != kind => {
            Err(Refusal::ReasonKind { reason: code.clone(), belongs, kind })
        }
        _ => Ok(Some(reason.reason)),
    }
}

fn other_site(
    context: &Context<'_>,
    kind: Kind,
    line: &LineInput,
) -> Result<Option<SiteNo>, Refusal> {
    let Some(code) = &line.site else {
        return match kind {
            Kind::TransferShip => Err(Refusal::Missing { kind, field: "site" }),
            _ => Ok(None),
        };
    };
    let site = context.catalogue.site_by_code(code);
    let site = site.ok_or_else(|| Refusal::UnknownSite(code.clone()))?.site;
    if site == context.site { Err(Refusal::OwnSite(code.clone())) } else { Ok(Some(site)) }
}

fn quantity(
    context: &Context<'_>,
    kind: Kind,
    item: &Item,
    line: &LineInput,
    transfer: Option<&OpenTransfer>,
) -> Result<Measure, Refusal> {
    let measure = match (&line.quantity, transfer) {
        (Some(text), _) => {
            let figure = decimal::parse(text).map_err(Refusal::Quantity)?;
            Measure { figure, unit: unit(item, line)? }
        }
        (None, Some(transfer)) => transfer.quantity.clone(),
        (None, None) => return Err(Refusal::Missing { kind, field: "quantity" }),
    };
    context
        .catalogue
        .to_smallest(item, &measure, context.now)
        .map_err(|why| Refusal::Unit(Box::new(why)))?;
    Ok(measure)
}

fn unit(item: &Item, line: &LineInput) -> Result<Unit, Refusal> {
    match &line.unit {
        None => Ok(item.unit.clone()),
        Some(text) => {
            Unit::from_bytes(text.as_bytes()).map_err(|_| Refusal::NotAUnit(text.clone()))
        }
    }
}

fn price(
    context: &Context<'_>,
    field: &'static str,
    text: Option<&str>,
    line: &LineInput,
) -> Result<Option<Price>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let too_many = || Refusal::PriceDecimals {
        field,
        text: text.to_owned(),
        why: ScaleError::TooManyDecimals { allowed: PRICE_DECIMALS_MAX },
    };
    let figure = decimal::parse(text).map_err(|why| match why {
        DecimalError::OutOfRange { why: ScaleError::TooManyDecimals { .. }, .. } => too_many(),
        why => Refusal::Price { field, why },
    })?;
    if figure.exponent() < -i8::try_from(PRICE_DECIMALS_MAX).expect("8 fits") {
        return Err(too_many());
    }
    let currency = match &line.currency {
        Some(code) => code.parse().map_err(|_| Refusal::Currency(code.clone()))?,
        None => company_currency(context).ok_or(Refusal::NoCurrency)?,
    };
    Ok(Some(Price { figure, currency }))
}

/// HQ could not post an amount beyond its limit, and a fact that was signed stays.
fn check_amount(field: &'static str, price: Option<Price>, of: Scaled) -> Result<(), Refusal> {
    let Some(price) = price else { return Ok(()) };
    match price.extend(of, price.currency.decimals()) {
        Ok(amount) if amount.0.unsigned_abs() < varint::LIMIT => Ok(()),
        _ => Err(Refusal::AmountTooLarge { field }),
    }
}

/// Goods go to a site of another company at a price, in the currency of the sender's books, and to
/// one of the same company at what they cost.
fn check_transfer_price(context: &Context<'_>, movement: &Movement) -> Result<(), Refusal> {
    let to = movement.other_site.filter(|_| movement.kind == Kind::TransferShip);
    let Some(to) = to.and_then(|to| context.catalogue.site(to)) else { return Ok(()) };
    let Some(own) = context.catalogue.site(context.site) else { return Ok(()) };
    match (own.company == to.company, movement.price) {
        (true, Some(_)) => Err(Refusal::PriceWithin(to.code.clone())),
        (false, None) => Err(Refusal::NoPriceBetween(to.code.clone())),
        (false, Some(price)) => match company_currency(context) {
            Some(currency) if price.currency != currency => {
                Err(Refusal::TransferCurrency(currency))
            }
            _ => Ok(()),
        },
        (true, None) => Ok(()),
    }
}

fn company_currency(context: &Context<'_>) -> Option<Currency> {
    let company = context.catalogue.site(context.site)?.company;
    context.catalogue.company(company).map(|company| company.currency)
}

fn check_reference(
    movement: &Movement,
    item: &Item,
    transfer: Option<&OpenTransfer>,
    catalogue: &Catalogue,
) -> Result<(), Refusal> {
    let kind = movement.kind;
    if let Some(transfer) = transfer.filter(|transfer| transfer.item != item.item) {
        let belongs = catalogue.item(transfer.item);
        return Err(Refusal::TransferItem {
            transfer: transfer.ship,
            belongs: belongs.map_or_else(|| transfer.item.to_string(), |item| item.code.clone()),
            item: item.code.clone(),
        });
    }
    let referred = movement.refers_to.is_some();
    match kind {
        Kind::CustomerReturn if !referred && movement.cost.or(item.fallback_cost).is_none() => {
            Err(Refusal::MissingReference { kind, field: "the sale (refers_to) or a cost" })
        }
        Kind::SupplierReturn if !referred && movement.price.is_none() => {
            Err(Refusal::MissingReference { kind, field: "the receipt (refers_to) or a price" })
        }
        _ => Ok(()),
    }
}

fn capture(text: Option<&str>) -> Result<Option<Capture>, Refusal> {
    text.map(|text| text.trim().parse().map_err(Refusal::NotACapture)).transpose()
}

fn short(field: &'static str, text: Option<&str>) -> Result<Option<ShortText>, Refusal> {
    const { assert!(TEXT_BYTES_MAX <= FIELD_BYTES_MAX) }
    match text.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) if text.len() > TEXT_BYTES_MAX => {
            Err(Refusal::TooLong { field, max: TEXT_BYTES_MAX })
        }
        text => Ok(text.map(|text| ShortText::from_slice(text.as_bytes()))),
    }
}

fn day(text: Option<&str>) -> Result<Option<Day>, Refusal> {
    text.map(|text| text.parse().map_err(Refusal::NotADate)).transpose()
}

fn tax_code(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let parse = |text: &str| text.parse::<u32>().map_err(|_| Refusal::TaxCode(text.to_owned()));
    text.map(|text| parse(text).map(u64::from)).transpose()
}

fn status(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    Ok(match text {
        None => None,
        Some("in_use") => Some(1),
        Some("held") => Some(2),
        Some("blocked") => Some(3),
        Some(other) => return Err(Refusal::UnknownStatus(other.to_owned())),
    })
}

fn check_date(context: &Context<'_>, moment: Option<Moment>) -> Result<(), Refusal> {
    let Some(moment) = moment else { return Ok(()) };
    let (date, now) = (moment.at.day(moment.offset), context.now.day(context.offset));
    if moment.at.0 > context.now.0 + AHEAD_MS {
        return Err(Refusal::FutureDate { date, now });
    }
    let (policy_kind, policy) = match context.origin {
        Origin::Keeper => (PolicyKind::BackdatingDays, "backdating_days"),
        Origin::Import => (PolicyKind::ImportBackdatingDays, "import_backdating_days"),
    };
    let limit = context.catalogue.policy(policy_kind, context.site, context.now);
    match limit {
        Some(days_max) if i64::from(now.0) - i64::from(date.0) > days_max => {
            Err(Refusal::TooFarBack { date, days_max, policy })
        }
        _ => Ok(()),
    }
}
