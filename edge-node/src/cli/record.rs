//! `edge-node record`: arguments become a group of movements. Checks nothing but their form.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::CliError;
use crate::record::{GroupInput, LineInput, Moment};

#[derive(Debug, Subcommand)]
pub(super) enum RecordCommand {
    /// Goods from a supplier; the price is their cost.
    #[command(
        alias = "receive",
        after_help = "Example:\n  edge-node record receipt PEN-01=500@1.15 INK=2box@48 --partner S-1 --document DN-17"
    )]
    Receipt(MovementArgs),
    /// Goods sold and handed over; the price is the selling price.
    #[command(
        alias = "sale",
        alias = "sale_issue",
        after_help = "Example:\n  edge-node record sale-issue PEN-01=12@3.20 --partner C-1"
    )]
    SaleIssue(MovementArgs),
    /// Goods taken for own use or a project.
    #[command(after_help = "Example:\n  edge-node record issue PEN-01=5 --reason OFFICE")]
    Issue(MovementArgs),
    /// Goods a customer brings back; the price is the selling price.
    #[command(
        alias = "customer_return",
        after_help = "Example:\n  edge-node record customer-return PEN-01=2@3.20 --partner C-1 --refers-to 3-1042"
    )]
    CustomerReturn(MovementArgs),
    /// Goods sent back to the supplier.
    #[command(
        alias = "supplier_return",
        after_help = "Example:\n  edge-node record supplier-return PEN-01=10 --partner S-1 --refers-to 3-1040"
    )]
    SupplierReturn(MovementArgs),
    /// Goods on their way to another site (--site).
    #[command(
        alias = "transfer_ship",
        after_help = "Example:\n  edge-node record transfer-ship PEN-01=100 --site BJ\n\nTo a site of \
                      another company at the price that it pays:\n  edge-node record transfer-ship \
                      PEN-01=100 --site HK --price 1.80"
    )]
    TransferShip(MovementArgs),
    /// Goods arrived from another site; without lines all that is on its way (--refers-to).
    #[command(
        alias = "transfer_receive",
        after_help = "Example:\n  edge-node record transfer-receive --refers-to 4-77     (see edge-node transfers)"
    )]
    TransferReceive(MovementArgs),
    /// What is on hand, counted.
    #[command(after_help = "Example:\n  edge-node record count PEN-01=487")]
    Count(MovementArgs),
    /// A signed correction (--reason).
    #[command(after_help = "Example:\n  edge-node record adjustment PEN-01=-3 --reason LOST")]
    Adjustment(MovementArgs),
    /// Goods thrown away (--reason).
    #[command(after_help = "Example:\n  edge-node record scrap PEN-01=3 --reason BROKEN")]
    Scrap(MovementArgs),
    /// Goods made; the price is their cost.
    #[command(
        alias = "production_in",
        after_help = "Example:\n  edge-node record production-in KIT=10@25.00"
    )]
    ProductionIn(MovementArgs),
    /// Materials used up in making goods.
    #[command(
        alias = "production_out",
        after_help = "Example:\n  edge-node record production-out PEN-01=20"
    )]
    ProductionOut(MovementArgs),
    /// Goods that become other goods: --out and --in.
    #[command(after_help = "Example:\n  edge-node record repack --out INK=1box --in INK-S=12")]
    Repack(RepackArgs),
    /// A sale that moves no stock.
    #[command(
        alias = "service_sale",
        after_help = "Example:\n  edge-node record service-sale FIT=1@80 --partner C-1"
    )]
    ServiceSale(MovementArgs),
    /// An earlier movement did not happen.
    #[command(
        after_help = "Example:\n  edge-node record reversal 3-1042     (capture ids stand in edge-node log)"
    )]
    Reversal(ReversalArgs),
    /// Goods held or released (--status).
    #[command(
        alias = "status_change",
        after_help = "Example:\n  edge-node record status-change PEN-01=20 --status held --lot L7"
    )]
    StatusChange(MovementArgs),
    /// A group of lines as JSON, as the API takes it.
    Group {
        /// The file; - reads standard input.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct MovementArgs {
    /// What moved: ITEM=QUANTITY[UNIT][@PRICE], for example PEN-01=12@3.20 or INK=2box@48. A price
    /// has at most 8 decimals.
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
    /// The code of the customer or supplier.
    #[arg(long, value_name = "CODE")]
    partner: Option<String>,
    /// An outside document's number: delivery note, invoice.
    #[arg(long, value_name = "NUMBER")]
    document: Option<String>,
    /// The code of the reason.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// The capture id of the movement it answers: the ship of a receive, the sale of a return.
    #[arg(long, value_name = "CAPTURE")]
    refers_to: Option<String>,
    /// The capture id of the order it fulfils.
    #[arg(long, value_name = "CAPTURE", help_heading = "For some kinds")]
    order: Option<String>,
    /// The code of the other site of a transfer.
    #[arg(long, value_name = "CODE", help_heading = "For some kinds")]
    site: Option<String>,
    /// Lot or batch.
    #[arg(long, help_heading = "The goods")]
    lot: Option<String>,
    /// Serial number.
    #[arg(long, help_heading = "The goods")]
    serial: Option<String>,
    /// Last day of use: YEAR-MONTH-DAY.
    #[arg(long, value_name = "DATE", help_heading = "The goods")]
    expiry: Option<String>,
    /// Cost of one unit, for a return whose sale is not known.
    #[arg(long, help_heading = "For some kinds")]
    cost: Option<String>,
    /// Of price and cost; the company's where absent.
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
    /// A sale that the customer is invoiced for later.
    #[arg(long, help_heading = "For some kinds")]
    invoice_later: bool,
    /// What a status change makes of the goods: `in_use`, `held` or `blocked`.
    #[arg(long, help_heading = "For some kinds")]
    status: Option<String>,
    /// The tax code's number.
    #[arg(long, value_name = "NUMBER", help_heading = "For some kinds")]
    tax_code: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct RepackArgs {
    /// What goes out: ITEM=QUANTITY[UNIT].
    #[arg(long = "out", value_name = "LINE", required = true)]
    out: Vec<String>,
    /// What comes of it: ITEM=QUANTITY[UNIT].
    #[arg(long = "in", value_name = "LINE", required = true)]
    into: Vec<String>,
    /// An outside document's number: delivery note, invoice.
    #[arg(long, value_name = "NUMBER")]
    document: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct ReversalArgs {
    /// What did not happen: capture ids.
    #[arg(value_name = "CAPTURE", required = true)]
    captures: Vec<String>,
    /// The code of the reason.
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// When it happened: 2026-11-24T14:30:00+08:00, or 2026-11-24 14:30 in the node's zone.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Who records: the person's number.
    #[arg(long, value_name = "NUMBER", help_heading = "Recording")]
    person: Option<u32>,
    /// Makes a retry harmless: the same key records nothing again, until 30 days after HQ has it
    /// (`keys_kept_days` in node.toml).
    #[arg(long, help_heading = "Recording")]
    key: Option<String>,
}

/// The group that the arguments state.
pub(super) fn group(
    command: &RecordCommand,
    zone: &jiff::tz::TimeZone,
) -> Result<GroupInput, CliError> {
    use RecordCommand as C;
    let (kind, args) = match command {
        C::Group { file } => return read_group(file),
        C::Repack(args) => return repack(args, zone),
        C::Reversal(args) => return reversal(args, zone),
        C::Receipt(args) => ("receipt", args),
        C::SaleIssue(args) => ("sale_issue", args),
        C::Issue(args) => ("issue", args),
        C::CustomerReturn(args) => ("customer_return", args),
        C::SupplierReturn(args) => ("supplier_return", args),
        C::TransferShip(args) => ("transfer_ship", args),
        C::TransferReceive(args) => ("transfer_receive", args),
        C::Count(args) => ("count", args),
        C::Adjustment(args) => ("adjustment", args),
        C::Scrap(args) => ("scrap", args),
        C::ProductionIn(args) => ("production_in", args),
        C::ProductionOut(args) => ("production_out", args),
        C::ServiceSale(args) => ("service_sale", args),
        C::StatusChange(args) => ("status_change", args),
    };
    let template = args.template(kind);
    let lines = match args.lines.as_slice() {
        [] => vec![template],
        lines => {
            let line = |text: &String| line(text, template.clone());
            lines.iter().map(line).collect::<Result<_, _>>()?
        }
    };
    args.common.group(lines, zone)
}

fn read_group(file: &std::path::Path) -> Result<GroupInput, CliError> {
    let mut text = String::new();
    if file == std::path::Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(file).map_err(|error| {
            CliError::failed(format!("{} can't be read: {error}", file.display()))
        })?;
    }
    let mut group: GroupInput = serde_json::from_str(&text)
        .map_err(|error| CliError::new(2, "usage", format!("{}: {error}", file.display())))?;
    group.key.get_or_insert_with(fresh_key);
    Ok(group)
}

fn repack(args: &RepackArgs, zone: &jiff::tz::TimeZone) -> Result<GroupInput, CliError> {
    let side = |kind: &str, lines: &[String]| {
        let template = LineInput { kind: kind.to_owned(), ..LineInput::default() };
        lines.iter().map(|text| line(text, template.clone())).collect::<Result<Vec<_>, _>>()
    };
    let mut lines = side("repack_out", &args.out)?;
    lines.extend(side("repack_in", &args.into)?);
    for line in &mut lines {
        line.document.clone_from(&args.document);
    }
    args.common.group(lines, zone)
}

fn reversal(args: &ReversalArgs, zone: &jiff::tz::TimeZone) -> Result<GroupInput, CliError> {
    let line = |capture: &String| LineInput {
        kind: "reversal".to_owned(),
        refers_to: Some(capture.clone()),
        reason: args.reason.clone(),
        ..LineInput::default()
    };
    args.common.group(args.captures.iter().map(line).collect(), zone)
}

impl MovementArgs {
    fn template(&self, kind: &str) -> LineInput {
        LineInput {
            kind: kind.to_owned(),
            partner: self.partner.clone(),
            reason: self.reason.clone(),
            refers_to: self.refers_to.clone(),
            order: self.order.clone(),
            site: self.site.clone(),
            lot: self.lot.clone(),
            serial: self.serial.clone(),
            expiry: self.expiry.clone(),
            cost: self.cost.clone(),
            currency: self.currency.clone(),
            invoice_later: self.invoice_later,
            status: self.status.clone(),
            tax_code: self.tax_code.clone(),
            document: self.document.clone(),
            ..LineInput::default()
        }
    }
}

impl CommonArgs {
    fn group(
        &self,
        lines: Vec<LineInput>,
        zone: &jiff::tz::TimeZone,
    ) -> Result<GroupInput, CliError> {
        let moment = |text: &String| moment(text, zone);
        Ok(GroupInput {
            key: Some(self.key.clone().unwrap_or_else(fresh_key)),
            person: self.person,
            occurred_at: self.at.as_ref().map(moment).transpose()?,
            lines,
        })
    }
}

/// A key of its own for this call, so that an answer that was lost can be asked for again.
fn fresh_key() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the operating system gives random bytes");
    data_encoding::HEXLOWER.encode(&random)
}

/// A moment with its zone, or a local date and time.
fn moment(text: &str, zone: &jiff::tz::TimeZone) -> Result<Moment, CliError> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let usage = || {
        let hint = "write 2026-11-24T14:30:00+08:00, or 2026-11-24 14:30 in the node's zone";
        CliError::new(2, "usage", format!("'{text}' is no time: {hint}"))
    };
    let civil: jiff::civil::DateTime = text.parse().map_err(|_| usage())?;
    let instant = zone.to_timestamp(civil).map_err(|_| usage())?;
    let at = shared::time::Timestamp(instant.as_millisecond());
    Ok(Moment { at, offset: crate::record::offset_in(zone, at) })
}

/// ITEM=QUANTITY[UNIT][@PRICE].
fn line(text: &str, template: LineInput) -> Result<LineInput, CliError> {
    let usage = || {
        let hint = "write ITEM=QUANTITY[UNIT][@PRICE], for example PEN-01=12@3.20";
        CliError::new(2, "usage", format!("'{text}' is no line: {hint}"))
    };
    let (item, rest) = text.rsplit_once('=').ok_or_else(usage)?;
    let (measure, price) = match rest.split_once('@') {
        Some((measure, price)) => (measure, Some(price.trim().to_owned())),
        None => (rest, None),
    };
    let measure = measure.trim();
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let end = measure.find(|c: char| !digits(c)).unwrap_or(measure.len());
    let (quantity, unit) = measure.split_at(end);
    if item.trim().is_empty() || quantity.is_empty() || price.as_deref() == Some("") {
        return Err(usage());
    }
    let unit = unit.trim();
    Ok(LineInput {
        item: Some(item.trim().to_owned()),
        quantity: Some(quantity.to_owned()),
        unit: (!unit.is_empty()).then(|| unit.to_owned()),
        price,
        ..template
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read() {
        type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);
        let cases: &[(&str, Option<Parts<'_>>)] = &[
            ("PEN=12", Some(("PEN", "12", None, None))),
            ("PEN=12@3.20", Some(("PEN", "12", None, Some("3.20")))),
            ("INK=2box@48", Some(("INK", "2", Some("box"), Some("48")))),
            ("A=B=1.5 kg", Some(("A=B", "1.5", Some("kg"), None))),
            ("PEN=-3", Some(("PEN", "-3", None, None))),
            ("笔=12支@3", Some(("笔", "12", Some("支"), Some("3")))),
            ("PEN", None),
            ("=3", None),
            ("PEN=", None),
            ("PEN=box", None),
            ("PEN=3@", None),
        ];
        for (text, expected) in cases {
            let found = line(text, LineInput::default()).ok();
            let found = found.as_ref().map(|line| {
                let text = |field: &'_ Option<String>| field.clone().unwrap_or_default();
                (
                    text(&line.item),
                    text(&line.quantity),
                    line.unit.as_deref(),
                    line.price.as_deref(),
                )
            });
            let found = found
                .as_ref()
                .map(|(item, quantity, unit, price)| (&**item, &**quantity, *unit, *price));
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn times_read_in_the_nodes_zone() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
        for text in ["2026-11-24T14:30:00+08:00", "2026-11-24 14:30", "2026-11-24T14:30"] {
            let moment = moment(text, &zone).expect(text);
            assert_eq!(moment.to_string(), "2026-11-24T14:30:00+08:00");
        }
        assert_eq!(
            moment("2026-11-24", &zone).expect("a day").to_string(),
            "2026-11-24T00:00:00+08:00"
        );
        assert!(moment("yesterday", &zone).is_err());
    }
}
