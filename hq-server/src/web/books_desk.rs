//! The desk over real books: reads them under a short lock, and the archive outside of it.
//!
//! Invariant: no report holds the books while it reads a file, so that posting never waits for a
//! reader's disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::document::DocumentId;
use shared::fact::effective::LogRank;
use shared::fact::statement::Stamp;
use shared::ids::{AccountNo, Capture, CompanyNo, DeviceNo, ItemNo, Seq, SiteNo};
use shared::time::{Day, Month, Timestamp};
use tokio::sync::broadcast;

use super::desk::{Change, Desk, DeskError, Posted, SitePosted};
use crate::books::Books;
use crate::clock::Clock;
use crate::report::archive::{Archive, ArchiveError, StoredVoucher};
use crate::report::cost::{CostDraft, CostFilter, CostReport};
use crate::report::dashboard::{Dashboard, LogLink};
use crate::report::documents::{DocumentList, DocumentShown, Shelf, Writing};
use crate::report::fact::FactReport;
use crate::report::figure::{Moment, Named};
use crate::report::group::GroupReport;
use crate::report::ledger::{AccountLedger, Months, TrialBalance};
use crate::report::lens::Lens;
use crate::report::month::MonthReport;
use crate::report::open_items::{OpenFilter, OpenItems};
use crate::report::set_aside::SetAside;
use crate::report::stock::{ItemLedger, StockBalance, StockFilter};
use crate::report::tally::Tally;
use crate::report::voucher::{VoucherList, VoucherReport, parse_voucher_id};

/// Lends the books as they stand, for as long as `read` takes.
pub trait Lender: Send + Sync + 'static {
    /// Calls `read` once.
    fn lend(&self, read: &mut dyn FnMut(&Books, &Tally));
    /// The books of what HQ had received at a time, folded again for whoever asks.
    fn as_known(&self, at: Timestamp) -> Result<Books, ArchiveError>;
}

/// What HQ gives the desk.
#[derive(Clone)]
pub struct BooksDesk {
    /// The company whose books are shown.
    pub company: CompanyNo,
    /// The books and the running figures.
    pub books: Arc<dyn Lender>,
    /// Stored vouchers and facts.
    pub archive: Arc<dyn Archive>,
    /// Shared documents.
    pub documents: Arc<dyn Shelf>,
    /// How every log and its connection stand.
    pub links: Arc<dyn Fn() -> Vec<LogLink> + Send + Sync>,
    /// Ages are counted by it.
    pub clock: Clock,
    /// Tells of changes.
    pub changes: broadcast::Sender<Change>,
}

impl std::fmt::Debug for BooksDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BooksDesk").field("company", &self.company).finish_non_exhaustive()
    }
}

impl From<ArchiveError> for DeskError {
    fn from(error: ArchiveError) -> Self {
        Self::Store(error.0)
    }
}

/// How far every log is in the books.
pub fn posted(books: &Books, position: u64) -> Posted {
    let sites = books.progress().map(|(site, log, progress)| SitePosted {
        site,
        log: log_text(log),
        seq: progress.last.0,
    });
    Posted { position, sites: sites.collect() }
}

/// A log's rank as the stream names it.
pub fn log_text(log: LogRank) -> String {
    format!("{:016x}", log.0)
}

impl BooksDesk {
    fn read<T>(&self, read: impl FnOnce(&Lens<'_>, &Tally) -> T) -> T {
        let (mut read, mut found) = (Some(read), None);
        self.books.lend(&mut |books, tally| {
            let read = read.take().expect("books are lent once");
            found = Some(read(&Lens::new(books, self.company), tally));
        });
        found.expect("a lender calls its reader")
    }

    /// The books as HQ knew them at the end of a day; `None` stands for those of now.
    fn known_at(&self, day: Option<Day>) -> Result<Option<Books>, DeskError> {
        let Some(day) = day else { return Ok(None) };
        let end = self.read(|lens, _| lens.end_of(Some(day)));
        Ok(Some(self.books.as_known(end)?))
    }

    fn read_known<T>(&self, known: Option<&Books>, read: impl FnOnce(&Lens<'_>) -> T) -> T {
        match known {
            None => self.read(|lens, _| read(lens)),
            Some(books) => read(&Lens::new(books, self.company)),
        }
    }

    /// Lends what writes sites and times as the pages do, without the books: documents are read from
    /// a file.
    fn written<T>(&self, read: impl FnOnce(Writing<'_>) -> T) -> T {
        let (codes, zone) = self.read(|lens, _| {
            let sites = lens.books.settings().sites();
            let codes = sites.map(|(no, site)| (no, site.code.clone()));
            (codes.collect::<BTreeMap<SiteNo, String>>(), lens.moment(Timestamp(0)).zone)
        });
        let code = |site| match codes.get(&site) {
            _ if site == SiteNo::HQ => "HQ".to_owned(),
            Some(code) => code.clone(),
            None => site.to_string(),
        };
        read(Writing { code: &code, time: &|at| Moment { at, zone }.text() })
    }

    fn missing(what: &'static str, key: &impl ToString) -> DeskError {
        DeskError::NotFound { what, key: key.to_string() }
    }

    /// The place of a fact in its installation's log, and why it is set aside where it is.
    fn place(&self, capture: Capture) -> (Seq, Option<String>) {
        self.read(|lens, _| {
            if let Some(id) = lens.books.facts().find(capture) {
                return (lens.books.facts()[id].seq, None);
            }
            for (_, group) in lens.books.waiting() {
                let named = |fact| Stamp::parse(fact).is_ok_and(|stamp| stamp.capture == capture);
                if let Some(index) = group.facts.iter().position(named) {
                    let why = lens.books.reason(group).to_string();
                    return (Seq(group.first.0 + index as u64), Some(why));
                }
            }
            // Captures of an installation count with its log until something is restored.
            (Seq(capture.counter), None)
        })
    }

    fn stored_facts(&self, places: &[(DeviceNo, Seq)]) -> Result<Vec<StoredPlace>, DeskError> {
        let mut facts = Vec::with_capacity(places.len());
        for (device, seq) in places {
            if let Some(stored) = self.archive.fact(*device, *seq)? {
                facts.push((stored.site, stored.fact));
            }
        }
        Ok(facts)
    }
}

/// A stored fact with the site whose log states it.
type StoredPlace = (SiteNo, shared::fact::Fact);

impl Desk for BooksDesk {
    fn dashboard(&self) -> Result<Dashboard, DeskError> {
        let (links, now) = ((self.links)(), self.clock.now());
        Ok(self.read(|lens, tally| Dashboard::of(lens, tally, &links, now)))
    }

    fn vouchers(&self, month: Option<Month>, page: u64) -> Result<VoucherList, DeskError> {
        let (ranges, count, part) = self.read(|lens, _| VoucherList::wanted(lens, month, page));
        let mut vouchers: Vec<StoredVoucher> = Vec::new();
        for range in ranges {
            let numbers = range.first..=range.last;
            vouchers.extend(self.archive.vouchers(self.company, range.month, numbers)?);
        }
        Ok(self.read(|lens, _| VoucherList::of(lens, month, (count, part), vouchers)))
    }

    fn voucher(&self, id: &str) -> Result<VoucherReport, DeskError> {
        let missing = || Self::missing("voucher", &id);
        let (company, month, number) = parse_voucher_id(id).ok_or_else(missing)?;
        let found = self.archive.vouchers(company, month, number..=number)?;
        let stored = found.into_iter().next().ok_or_else(missing)?;
        let places: Vec<_> = self.read(|lens, _| {
            let facts = VoucherReport::behind(lens, &stored.voucher).into_iter();
            let records = facts.map(|id| &lens.books.facts()[id]);
            records.map(|record| (record.capture.device, record.seq)).collect()
        });
        let facts = self.stored_facts(&places)?;
        let own = Self { company, ..self.clone() };
        Ok(own.read(|lens, _| VoucherReport::of(lens, &stored, &facts)))
    }

    fn fact(&self, capture: Capture) -> Result<FactReport, DeskError> {
        let missing = || Self::missing("fact", &capture);
        let (seq, set_aside) = self.place(capture);
        let stored = self.archive.fact(capture.device, seq)?.ok_or_else(missing)?;
        if Stamp::parse(&stored.fact).map(|stamp| stamp.capture) != Ok(capture) {
            return Err(missing());
        }
        let posted = |lens: &Lens<'_>| {
            let found = lens.books.facts().find(capture);
            found.map_or(self.company, |id| lens.books.facts()[id].company)
        };
        let own = Self { company: self.read(|lens, _| posted(lens)), ..self.clone() };
        own.read(|lens, _| FactReport::of(lens, &stored, set_aside))
            .map_err(|error| DeskError::Store(error.to_string()))
    }

    fn stock(&self, filter: StockFilter<'_>, page: u64) -> Result<StockBalance, DeskError> {
        let known = self.known_at(filter.known_at)?;
        Ok(self.read_known(known.as_ref(), |lens| StockBalance::of(lens, filter, page)))
    }

    fn cost(&self, filter: &CostFilter, known_at: Option<Day>) -> Result<CostReport, DeskError> {
        let missing = || Self::missing("cost of item", &filter.item);
        let known = self.known_at(known_at)?;
        let draft = self.read_known(known.as_ref(), |lens| CostDraft::of(lens, filter));
        let draft = draft.ok_or_else(missing)?;
        let mut vouchers = Vec::with_capacity(draft.places.len());
        for (device, seq) in &draft.places {
            let stored = self.archive.fact(*device, *seq)?;
            vouchers.push(stored.map_or_else(Vec::new, |stored| stored.vouchers));
        }
        Ok(self.read_known(known.as_ref(), |lens| draft.with(lens, &vouchers)))
    }

    fn item(&self, item: ItemNo, site: Option<SiteNo>, page: u64) -> Result<ItemLedger, DeskError> {
        self.read(|lens, _| ItemLedger::of(lens, item, site, page))
            .ok_or_else(|| Self::missing("item", &item))
    }

    fn trial_balance(&self, months: Months) -> Result<TrialBalance, DeskError> {
        let now = self.clock.now();
        Ok(self.read(|lens, _| TrialBalance::of(lens, months, now)))
    }

    fn month(&self, month: Month) -> Result<MonthReport, DeskError> {
        Ok(self.read(|lens, _| MonthReport::of(lens, month)))
    }

    fn group(&self, page: u64) -> Result<GroupReport, DeskError> {
        Ok(self.read(|lens, _| GroupReport::of(lens.books, page)))
    }

    fn account(
        &self,
        account: AccountNo,
        months: Months,
        page: u64,
    ) -> Result<AccountLedger, DeskError> {
        let now = self.clock.now();
        let ((from, to), counts) = self.read(|lens, _| {
            let (from, to) = months.within(lens, now);
            let own = lens.books.voucher_counts().filter(|(company, ..)| *company == self.company);
            let within = own.filter(|(_, month, _)| (from..=to).contains(month));
            ((from, to), within.map(|(_, month, count)| (month, count)).collect::<Vec<_>>())
        });
        let mut vouchers = Vec::new();
        for (month, count) in counts {
            let mut of_month = self.archive.vouchers(self.company, month, 1..=count)?;
            of_month
                .retain(|stored| stored.voucher.lines.iter().any(|line| line.account == account));
            vouchers.extend(of_month);
        }
        self.read(|lens, _| {
            let mut accounts = lens.books.settings().accounts();
            let found =
                accounts.find(|(no, stated)| *no == account && stated.company == self.company);
            found.map(|account| AccountLedger::of(lens, account, (from, to), page, &vouchers))
        })
        .ok_or_else(|| Self::missing("account", &account))
    }

    fn open_items(&self, filter: OpenFilter) -> Result<OpenItems, DeskError> {
        let now = self.clock.now();
        Ok(self.read(|lens, _| OpenItems::of(lens, filter, lens.moment(now).day())))
    }

    fn set_aside(&self, page: u64) -> Result<SetAside, DeskError> {
        Ok(self.read(|lens, _| SetAside::of(lens, page)))
    }

    fn in_doubt(&self, page: u64) -> Result<SetAside, DeskError> {
        Ok(self.read(|lens, _| SetAside::in_doubt(lens, page)))
    }

    fn documents(&self, page: u64) -> Result<DocumentList, DeskError> {
        self.written(|writing| Ok(DocumentList::of(&*self.documents, writing, page)?))
    }

    fn document(&self, name: &str) -> Result<DocumentShown, DeskError> {
        let missing = || Self::missing("document", &name);
        let id: DocumentId = name.parse().map_err(|_| missing())?;
        let state = self.documents.document(id)?.ok_or_else(missing)?;
        Ok(self.written(|writing| DocumentShown::of(&state, writing)))
    }

    fn sites(&self) -> Vec<Named> {
        self.read(|lens, _| {
            let sites = lens.books.settings().sites();
            let own = sites.filter(|(no, site)| *no != SiteNo::HQ && site.company == self.company);
            own.map(|(site, _)| lens.site(site)).collect()
        })
    }

    fn companies(&self) -> Vec<Named> {
        self.read(|lens, _| {
            let all = lens.books.settings().companies();
            let others = all.map(|(no, _)| no).filter(|no| *no != self.company);
            let named = |no| Lens::new(lens.books, no).company_name();
            std::iter::once(self.company).chain(others).map(named).collect()
        })
    }

    fn of_company(&self, code: &str) -> Option<Arc<dyn Desk>> {
        let company = self.read(|lens, _| {
            let mut all = lens.books.settings().companies();
            all.find(|(_, stated)| stated.code == code).map(|(no, _)| no)
        });
        Some(Arc::new(Self { company: company?, ..self.clone() }))
    }

    fn posted(&self) -> Posted {
        self.read(|lens, tally| posted(lens.books, tally.position()))
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }
}
