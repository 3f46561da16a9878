//! The dashboard: stock value in total and by site, how fresh each site's figures are, what is not
//! yet posted, and the latest vouchers. Knows neither pages nor streams.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::fact::effective::LogRank;
use shared::fact::statement::{Role, Stamp, Statement};
use shared::ids::{Seq, SiteNo};
use shared::money::Currency;
use shared::time::{Day, Timestamp};
use utoipa::ToSchema;

use super::figure::{Figure, Moment, Named, as_text};
use super::lens::Lens;
use super::stock::shares;
use super::tally::{STOCK_ROLES, Tally};
use super::voucher::VoucherHead;
use super::words::Words;
use crate::books::Waiting as SetAside;
use crate::gateway::store::Quality;

/// How many days the chart shows.
pub const CHART_DAYS: u16 = 31;

/// A site that has not been heard of for this long is silent.
pub const SILENT_AFTER_MS: i64 = 24 * 3_600_000;

/// What the first page shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    /// Whose books.
    pub company: Named,
    /// The currency of every amount here.
    pub currency: String,
    /// The place in the sequence that the figures stand at.
    pub position: u64,
    /// When the page was made.
    #[schema(value_type = String)]
    pub made_at: Moment,
    /// Stock, both ways.
    pub stock: StockTie,
    /// Change of stock value since the end of yesterday.
    #[schema(value_type = String)]
    pub change_today: Figure,
    /// Every site.
    pub sites: Vec<SiteValue>,
    /// What is known of and not yet posted, over all sites.
    pub waiting: Waiting,
    /// Facts set aside because something they need is missing.
    pub quarantined: u64,
    /// Of those, facts whose time is in doubt: their quantity is shown, their value is not.
    #[serde(default)]
    pub in_doubt: u64,
    /// Owed by customers.
    #[schema(value_type = String)]
    pub receivable: Figure,
    /// Owed to suppliers.
    #[schema(value_type = String)]
    pub payable: Figure,
    /// Received, not invoiced.
    #[schema(value_type = String)]
    pub received_not_invoiced: Figure,
    /// How many vouchers there are.
    pub vouchers: u64,
    /// The newest vouchers, newest first.
    pub latest: Vec<VoucherHead>,
    /// Stock value at the end of each of the last days, oldest first; the last one is now.
    pub days: Vec<DayValue>,
}

/// Stock value from the subledger beside the ledger's inventory accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StockTie {
    /// On hand at the sites.
    #[schema(value_type = String)]
    pub on_hand: Figure,
    /// On the way between sites.
    #[schema(value_type = String)]
    pub in_transit: Figure,
    /// On hand and on the way.
    #[schema(value_type = String)]
    pub total: Figure,
    /// The inventory accounts of the ledger.
    #[schema(value_type = String)]
    pub ledger: Figure,
    /// Subledger less ledger: nothing, always.
    #[schema(value_type = String)]
    pub difference: Figure,
    /// Differences of late facts are about to be posted; until then the two may differ.
    pub settling: bool,
}

/// One site's stock value and how far to trust its age.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteValue {
    /// The site.
    pub site: Named,
    /// Value of what it holds.
    #[schema(value_type = String)]
    pub value: Figure,
    /// How many items it holds.
    pub items: u64,
    /// How complete the figure is.
    pub freshness: Freshness,
}

/// How complete a site's figures are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freshness {
    /// In one word.
    pub state: FreshnessState,
    /// A box of the site was copied, or restored from an image: its log has branches, and something
    /// may have been told twice.
    #[serde(default)]
    pub doubtful: bool,
    /// Everything the site recorded until then is posted.
    #[schema(value_type = Option<String>)]
    pub complete_up_to: Option<Moment>,
    /// When HQ last heard of it over an authenticated connection, or when the bundle was made that
    /// brought its last news.
    #[schema(value_type = Option<String>)]
    pub last_heard: Option<Moment>,
    /// Its last news came in a bundle.
    #[serde(default)]
    pub by_bundle: bool,
    /// The neighbouring site that brought that bundle; absent for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought_by: Option<Named>,
    /// A connection is open.
    pub connected: bool,
    /// The place in the site's log that is posted.
    pub posted: u64,
    /// The place in the site's log that HQ knows of.
    pub known: u64,
    /// What lies between.
    pub waiting: Waiting,
    /// How good the open connection is; the worst where there are several.
    #[serde(default)]
    pub quality: Option<LinkQuality>,
    /// The last connection that ended otherwise than meant since HQ started.
    #[serde(default)]
    pub last_error: Option<LinkError>,
}

/// How good a connection has been so far, as HQ's sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkQuality {
    /// The round trip, milliseconds.
    pub rtt_ms: u64,
    /// How many of a thousand packets were lost.
    pub lost_permille: u64,
}

impl LinkQuality {
    /// What the link measured.
    pub fn of(measured: &Quality) -> Self {
        let rtt_ms = u64::try_from(measured.rtt.as_millis()).unwrap_or(u64::MAX);
        Self { rtt_ms, lost_permille: measured.lost.saturating_mul(1_000) / measured.sent.max(1) }
    }

    /// Lost packets in percent, with one decimal.
    pub fn lost_percent(&self) -> String {
        format!("{}.{}", self.lost_permille / 10, self.lost_permille % 10)
    }
}

/// A connection that ended otherwise than meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkError {
    /// When.
    #[schema(value_type = String)]
    pub at: Moment,
    /// Why, for people.
    pub why: String,
}

/// A site's freshness in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FreshnessState {
    /// Connected, and everything it has is posted.
    Live,
    /// Something it has is not posted yet.
    CatchingUp,
    /// Not connected, heard within a day.
    Away,
    /// Not heard for a day or more.
    Silent,
    /// Never heard.
    Never,
}

impl FreshnessState {
    /// What is known of a site, in one word.
    pub fn of(
        connected: bool,
        waiting: u64,
        last_heard: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        match last_heard {
            None => Self::Never,
            Some(_) if connected && waiting == 0 => Self::Live,
            Some(_) if connected => Self::CatchingUp,
            Some(heard) if now.0 - heard.0 < SILENT_AFTER_MS => Self::Away,
            Some(_) => Self::Silent,
        }
    }

    /// The word of messages and styles.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Away => "away",
            Self::Silent => "silent",
            Self::Never => "never",
        }
    }
}

/// Facts that HQ knows of and the books do not have yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waiting {
    /// How many.
    pub facts: u64,
    /// Value stated by those that HQ holds, in and out added up without sign.
    #[schema(value_type = Option<String>)]
    pub value: Option<Figure>,
    /// When the oldest of them happened.
    #[schema(value_type = Option<String>)]
    pub oldest: Option<Moment>,
}

/// Stock value at the end of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DayValue {
    /// The day.
    #[serde(with = "as_text")]
    #[schema(value_type = String, format = Date)]
    pub day: Day,
    /// Its closing value.
    #[schema(value_type = String)]
    pub value: Figure,
}

/// What the gateway knows of a log and its site's connection: an input of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLink {
    /// The site.
    pub site: SiteNo,
    /// The log.
    pub log: LogRank,
    /// A connection is open.
    pub connected: bool,
    /// When it last said something.
    pub last_heard: Option<Timestamp>,
    /// That came in a bundle.
    pub by_bundle: bool,
    /// The neighbour that brought it.
    pub brought_by: Option<SiteNo>,
    /// The last place of the log that HQ knows to exist, received or only announced.
    pub known: Seq,
    /// What a box recorded otherwise than its log says.
    pub branch: bool,
    /// How good the open connection is.
    pub quality: Option<Quality>,
    /// The last connection that ended otherwise than meant: when, and why.
    pub last_error: Option<(Timestamp, String)>,
}

impl Dashboard {
    /// The company's dashboard at `now`.
    pub fn of(lens: &Lens<'_>, tally: &Tally, links: &[LogLink], now: Timestamp) -> Self {
        let stock = StockTie::of(lens);
        let sites = SiteValue::all(lens, links, now);
        let today = lens.moment(now).day();
        let mut days = tally.days(lens.company, today, CHART_DAYS);
        let yesterday = days.iter().rev().nth(1).map_or(0, |(_, value)| *value);
        // Facts dated ahead of today count as of now: the last day shows what the total shows.
        if let Some((_, last)) = days.last_mut() {
            *last = stock.total.units();
        }
        let on = |role| lens.open_total(role);
        Self {
            company: lens.company_name(),
            currency: lens.currency(),
            position: tally.position(),
            made_at: lens.moment(now),
            stock,
            change_today: lens.money(stock.total.units() - yesterday),
            waiting: Waiting::sum(sites.iter().map(|site| &site.freshness.waiting)),
            sites,
            quarantined: lens.books.waiting().map(|(_, group)| group.len()).sum(),
            in_doubt: lens.books.in_doubt().map(|doubt| doubt.group.len()).sum(),
            receivable: lens.money(on(Role::Receivable) + on(Role::UnbilledReceivable)),
            payable: lens.money(-on(Role::Payable)),
            received_not_invoiced: lens.money(-on(Role::ReceivedNotInvoiced)),
            vouchers: lens.books.vouchers_of(lens.company),
            latest: tally.latest(lens.company).map(|stored| lens.voucher_head(stored)).collect(),
            days: shown(&days)
                .iter()
                .map(|(day, value)| DayValue { day: *day, value: lens.money(*value) })
                .collect(),
        }
    }
}

/// The days from just before there was stock on, and never so few that no line can be seen.
fn shown(days: &[(Day, i128)]) -> &[(Day, i128)] {
    const AT_LEAST: usize = 8;
    let first = days.iter().position(|(_, value)| *value != 0).unwrap_or(days.len());
    &days[first.saturating_sub(1).min(days.len().saturating_sub(AT_LEAST))..]
}

impl StockTie {
    /// Stock by the pools beside stock by the ledger.
    pub fn of(lens: &Lens<'_>) -> Self {
        let pools = lens.books.pools().iter().filter(|pool| pool.company == lens.company);
        let (mut on_hand, mut on_the_way) = (0, 0);
        for share in pools.flat_map(shares) {
            let sum = if share.site.is_some() { &mut on_hand } else { &mut on_the_way };
            *sum += i128::from(share.value);
        }
        let in_transit = on_the_way + lens.open_total(Role::InterSiteTransit);
        let total = on_hand + in_transit;
        let ledger: i128 = STOCK_ROLES.iter().map(|role| lens.balance(*role)).sum();
        Self {
            on_hand: lens.money(on_hand),
            in_transit: lens.money(in_transit),
            total: lens.money(total),
            ledger: lens.money(ledger),
            difference: lens.money(total - ledger),
            settling: lens.books.is_dirty(),
        }
    }

    /// In one word: `even`, `odd`, or `settling` while differences are about to be posted.
    pub const fn word(&self) -> &'static str {
        match (self.difference.is_zero(), self.settling) {
            (true, _) => "even",
            (false, true) => "settling",
            (false, false) => "odd",
        }
    }
}

impl SiteValue {
    fn all(lens: &Lens<'_>, links: &[LogLink], now: Timestamp) -> Vec<Self> {
        let mut held: BTreeMap<SiteNo, (i128, u64)> = BTreeMap::new();
        let pools = lens.books.pools().iter().filter(|pool| pool.company == lens.company);
        for share in pools.flat_map(shares) {
            let Some(site) = share.site else { continue };
            let (value, items) = held.entry(site).or_default();
            *value += i128::from(share.value);
            *items += u64::from(share.units != 0);
        }
        let sites = lens.books.settings().sites();
        let own = sites.filter(|(no, site)| *no != SiteNo::HQ && site.company == lens.company);
        own.map(|(site, _)| {
            let (value, items) = held.get(&site).copied().unwrap_or_default();
            Self {
                site: lens.site(site),
                value: lens.money(value),
                items,
                freshness: Freshness::of(lens, site, links, now),
            }
        })
        .collect()
    }
}

impl Freshness {
    /// The way on which the last news came, in words, where it was no link of the site's own.
    pub fn way(&self, words: &Words) -> Option<String> {
        self.by_bundle.then(|| match &self.brought_by {
            Some(by) => words.with("by-neighbour", &by.name),
            None => words.of("by-bundle").to_owned(),
        })
    }

    fn of(lens: &Lens<'_>, site: SiteNo, links: &[LogLink], now: Timestamp) -> Self {
        let progress: Vec<_> = lens.books.progress().filter(|(of, ..)| *of == site).collect();
        let posted_of = |log: LogRank| {
            let found = progress.iter().find(|(_, rank, _)| *rank == log);
            found.map_or(Seq::ZERO, |(.., progress)| progress.last)
        };
        let links = || links.iter().filter(|link| link.site == site);
        let unread: u64 =
            links().map(|link| link.known.0.saturating_sub(posted_of(link.log).0)).sum();
        let waiting = Waiting::at(lens, site, unread);
        let connected = links().any(|link| link.connected);
        let last = links().max_by_key(|link| link.last_heard);
        let last_heard = last.and_then(|link| link.last_heard);
        let last_bundle = last.filter(|link| !connected && link.by_bundle);
        let recorded = progress.iter().map(|(.., progress)| progress.recorded_at).max();
        // With nothing waiting, all that the site had when it last spoke is in the books.
        let complete = if waiting.facts == 0 { last_heard.max(recorded) } else { recorded };
        let posted: u64 = progress.iter().map(|(.., progress)| progress.last.0).sum();
        Self {
            state: FreshnessState::of(connected, waiting.facts, last_heard.or(recorded), now),
            doubtful: links().any(|link| link.branch),
            complete_up_to: complete.map(|at| lens.moment(at)),
            last_heard: last_heard.map(|at| lens.moment(at)),
            by_bundle: last_bundle.is_some(),
            brought_by: last_bundle.and_then(|link| link.brought_by).map(|by| lens.site(by)),
            connected,
            posted,
            known: posted + unread,
            waiting,
            quality: links()
                .filter_map(|link| link.quality.as_ref())
                .map(LinkQuality::of)
                .max_by_key(|quality| (quality.rtt_ms, quality.lost_permille)),
            last_error: links()
                .filter_map(|link| link.last_error.as_ref())
                .max_by_key(|(at, _)| *at)
                .map(|(at, why)| LinkError { at: lens.moment(*at), why: why.clone() }),
        }
    }
}

impl Waiting {
    /// What waits at a site: `unread` facts of its log, and groups that were set aside.
    fn at(lens: &Lens<'_>, site: SiteNo, unread: u64) -> Self {
        let mut all = Self { facts: unread, value: None, oldest: None };
        for (_, group) in lens.books.waiting().filter(|(_, group)| group.site == site) {
            all = Self::sum([&all, &Self::of_group(lens, group)]);
        }
        all
    }

    fn of_group(lens: &Lens<'_>, group: &SetAside) -> Self {
        let zero = lens.money(0);
        let currency: Option<Currency> = lens.currency().parse().ok();
        let stated = |statement: &Statement| {
            let Statement::Movement(movement) = statement else { return None };
            let price = movement.price.filter(|price| Some(price.currency) == currency)?;
            price.extend(movement.quantity.figure, zero.decimals()).ok()
        };
        let statements = || group.facts.iter().filter_map(|fact| Statement::parse(fact).ok());
        let values: Vec<i128> = statements()
            .filter_map(|statement| stated(&statement))
            .map(|amount| i128::from(amount.0).abs())
            .collect();
        let stamps = group.facts.iter().filter_map(|fact| Stamp::parse(fact).ok());
        Self {
            facts: group.facts.len() as u64,
            value: (!values.is_empty()).then(|| lens.money(values.iter().sum::<i128>())),
            oldest: stamps.map(|stamp| stamp.occurred_at).min().map(|at| lens.moment(at)),
        }
    }

    fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        parts.into_iter().fold(Self::default(), |sum, part| Self {
            facts: sum.facts + part.facts,
            value: match (sum.value, part.value) {
                (Some(a), Some(b)) => Some(Figure::new(a.units() + b.units(), a.decimals())),
                (a, b) => a.or(b),
            },
            oldest: match (sum.oldest, part.oldest) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_starts_where_stock_starts() {
        let days = |values: &[i128]| -> Vec<(Day, i128)> {
            (0..).map(Day).zip(values.iter().copied()).collect()
        };
        let cases = [
            (vec![0; 31], 8),
            ([vec![0; 30], vec![5]].concat(), 8),
            ([vec![0; 10], vec![5; 21]].concat(), 22),
            (vec![5; 31], 31),
            (vec![5; 3], 3),
        ];
        for (values, expected) in cases {
            assert_eq!(shown(&days(&values)).len(), expected);
        }
    }

    #[test]
    fn freshness_in_one_word() {
        let now = Timestamp(100 * SILENT_AFTER_MS);
        let heard = |ago| Some(Timestamp(now.0 - ago));
        let cases = [
            (true, 0, heard(0), FreshnessState::Live),
            (true, 3, heard(0), FreshnessState::CatchingUp),
            (false, 3, heard(5_000), FreshnessState::Away),
            (false, 0, heard(SILENT_AFTER_MS), FreshnessState::Silent),
            (false, 0, None, FreshnessState::Never),
        ];
        for (connected, waiting, last_heard, expected) in cases {
            assert_eq!(FreshnessState::of(connected, waiting, last_heard, now), expected);
        }
    }
}
