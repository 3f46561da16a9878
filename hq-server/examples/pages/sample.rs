//! A made-up trading month in real books, kept in memory: what the pages show when nothing else
//! runs. Knows no network and no file; the same seed gives the same month.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use hq_server::books::{Books, Entry, Run};
use hq_server::gateway::store::Quality;
use hq_server::report::archive::{Archive, ArchiveError, StoredFact, StoredSeal, StoredVoucher};
use hq_server::report::dashboard::LogLink;
use hq_server::report::tally::Tally;
use hq_server::web::books_desk::{Lender, posted};
use hq_server::web::desk::Change;
use shared::fact::effective::LogRank;
use shared::fact::statement::{
    AccountType, Allocation, CostScope, Direction, InvoiceLine, MasterData, Measure, Money,
    Movement, Payment, Role, Stamp, Statement,
};
use shared::fact::{Fact, Kind};
use shared::ids::{
    AccountNo, Capture, CategoryNo, ChangeHash, CompanyNo, DeviceNo, Head, ItemNo, PartnerNo,
    ReasonNo, Seq, SiteNo,
};
use shared::money::{Currency, Price};
use shared::quantity::{Scaled, ShortText, Unit};
use shared::segment::chain::{Chain, FORMAT, Genesis};
use shared::segment::seal::Seal;
use shared::time::{Day, Month, OffsetMinutes, Timestamp};
use tokio::sync::broadcast;

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const ZONE: OffsetMinutes = OffsetMinutes(480);

/// Code, name, purchase price and selling price in fen, unit.
const ITEMS: [(&str, &str, i64, i64, &str); 14] = [
    ("KT-1001", "电热水壶 1.7 L", 6_850, 10_900, "EA"),
    ("KT-1002", "电饭煲 4 L", 16_200, 25_900, "EA"),
    ("KT-1003", "空气炸锅 5 L", 19_900, 32_900, "EA"),
    ("KT-1004", "破壁机 800 W", 23_500, 39_900, "EA"),
    ("KT-1005", "不粘炒锅 32 cm", 8_900, 14_900, "EA"),
    ("HM-2001", "落地扇 16 寸", 11_700, 18_900, "EA"),
    ("HM-2002", "加湿器 3 L", 7_400, 12_900, "EA"),
    ("HM-2003", "LED 台灯", 4_350, 7_900, "EA"),
    ("HM-2004", "吸尘器 600 W", 31_800, 49_900, "EA"),
    ("HM-2005", "除螨仪", 15_400, 26_900, "EA"),
    ("PK-3001", "瓦楞纸箱 60×40", 380, 650, "EA"),
    ("PK-3002", "封箱胶带 48 mm", 290, 520, "EA"),
    ("GR-4001", "大米 散装", 480, 690, "kg"),
    ("GR-4002", "菜籽油 散装", 1_120, 1_590, "kg"),
];

const SITES: [(&str, &str); 4] = [
    ("SH-01", "上海浦东仓"),
    ("SZ-02", "苏州园区仓"),
    ("CD-03", "成都青白江仓"),
    ("XJ-04", "乌鲁木齐前置仓"),
];

const PARTNERS: [(&str, &str, bool); 7] = [
    ("S-101", "佛山恒益电器厂", false),
    ("S-102", "宁波通源家居", false),
    ("S-103", "益海粮油（昆山）", false),
    ("C-201", "华联超市", true),
    ("C-202", "苏宁小店", true),
    ("C-203", "盒马鲜生成都", true),
    ("C-204", "天山百货", true),
];

const ROLES: [(Role, &str, &str, AccountType); 32] = [
    (Role::Inventory, "1405", "库存商品", AccountType::Asset),
    (Role::ReceivedNotInvoiced, "220202", "应付账款-暂估应付账款", AccountType::Liability),
    (Role::BoughtInTransit, "1402", "在途物资", AccountType::Asset),
    (Role::InterSiteTransit, "140502", "库存商品-调拨在途", AccountType::Asset),
    (Role::CostOfSales, "6401", "主营业务成本", AccountType::Expense),
    (Role::Revenue, "6001", "主营业务收入", AccountType::Income),
    (Role::SalesReturns, "600102", "主营业务收入-退货", AccountType::Income),
    (Role::Receivable, "1122", "应收账款", AccountType::Asset),
    (Role::UnbilledReceivable, "112202", "应收账款-未开票", AccountType::Asset),
    (Role::Payable, "220201", "应付账款", AccountType::Liability),
    (Role::Bank, "1002", "银行存款", AccountType::Asset),
    (Role::SupplierPrepayment, "1123", "预付账款", AccountType::Asset),
    (Role::CustomerAdvance, "2203", "预收账款", AccountType::Liability),
    (Role::StockAdjustment, "660201", "管理费用-存货盘盈盘亏", AccountType::Expense),
    (Role::CountWaiting, "1901", "待处理财产损溢", AccountType::Asset),
    (Role::Scrap, "660202", "管理费用-报废", AccountType::Expense),
    (Role::OwnUse, "660203", "管理费用-领用", AccountType::Expense),
    (Role::WorkInProgress, "5001", "生产成本", AccountType::Asset),
    (Role::PriceVariance, "640104", "主营业务成本-价格差异", AccountType::Expense),
    (Role::StockVariance, "1404", "材料成本差异", AccountType::Asset),
    (Role::ReturnDifference, "660204", "管理费用-退货差额", AccountType::Expense),
    (Role::TransferDifference, "660205", "管理费用-调拨差额", AccountType::Expense),
    (Role::Rounding, "660301", "财务费用-尾差", AccountType::Expense),
    (Role::OpeningBalance, "4104", "利润分配-未分配利润", AccountType::Equity),
    (Role::InputTax, "22210102", "应交增值税-进项税额", AccountType::Asset),
    (Role::OutputTax, "22210101", "应交增值税-销项税额", AccountType::Liability),
    (Role::LandedCostClearing, "220203", "应付账款-采购费用", AccountType::Liability),
    (Role::GoodsShipped, "1406", "发出商品", AccountType::Asset),
    (Role::WriteDown, "6701", "资产减值损失", AccountType::Expense),
    (Role::Allowance, "1471", "存货跌价准备", AccountType::Asset),
    (Role::Revaluation, "6702", "存货重估", AccountType::Expense),
    (Role::ExchangeDifference, "6603", "财务费用-汇兑损益", AccountType::Expense),
];

/// An installation's log, in memory.
struct Log {
    site: SiteNo,
    chain: Chain,
    key: SigningKey,
    facts: Vec<(Fact, Timestamp, Head)>,
}

#[derive(Default)]
struct Kept {
    logs: BTreeMap<DeviceNo, Log>,
    vouchers: Vec<StoredVoucher>,
    entries: u64,
    random: u64,
}

/// Books, logs and vouchers of a made-up company.
pub(crate) struct Sample {
    books: RwLock<(Books, Tally)>,
    kept: Mutex<Kept>,
    /// Tells of every posting.
    pub(crate) changes: broadcast::Sender<Change>,
    now: Timestamp,
}

fn currency() -> Currency {
    "CNY".parse().expect("a currency code")
}

fn cents(minor: i64) -> Price {
    Price { figure: Scaled::new(minor, -2).expect("a small price"), currency: currency() }
}

fn measure(item: usize, figure: i64) -> Measure {
    let unit = Unit::from_bytes(ITEMS[item].4.as_bytes()).expect("a unit");
    let exponent = if ITEMS[item].4 == "kg" { -3 } else { 0 };
    let figure = if exponent == 0 { figure } else { figure * 1_250 };
    Measure { figure: Scaled::new(figure, exponent).expect("a small quantity"), unit }
}

fn item_no(index: usize) -> ItemNo {
    ItemNo(u32::try_from(index).expect("few items") + 1)
}

impl Sample {
    /// Thirty days up to `now`, with one site that has been silent and one cut off today.
    pub(crate) fn trading_month(now: Timestamp) -> Arc<Self> {
        let sample = Self {
            books: RwLock::default(),
            kept: Mutex::new(Kept { random: 0x5eed, ..Kept::default() }),
            changes: broadcast::channel(256).0,
            now,
        };
        sample.open_logs();
        sample.state_master_data();
        sample.trade();
        Arc::new(sample)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no thread panics with the lock")
    }

    fn below(&self, end: i64) -> i64 {
        let mut kept = self.kept();
        kept.random = kept
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(kept.random >> 33).expect("31 bits") % end
    }

    fn open_logs(&self) {
        for site in 0..=u32::try_from(SITES.len()).expect("few sites") {
            let key = SigningKey::from_bytes(&[u8::try_from(site).expect("few sites") + 1; 32]);
            let genesis = Genesis {
                format: FORMAT,
                site: SiteNo(site),
                device: DeviceNo(site + 1),
                random: [7; 32],
                public_key: key.verifying_key().to_bytes(),
                predecessor: None,
            };
            let chain = Chain::start(genesis.log_id());
            let log = Log { site: SiteNo(site), chain, key, facts: Vec::new() };
            self.kept().logs.insert(DeviceNo(site + 1), log);
        }
    }

    /// Records statements as one group in a site's log and posts them. Returns their captures.
    pub(crate) fn tell(&self, site: u32, at: Timestamp, statements: &[Statement]) -> Vec<Capture> {
        let facts = self.record(site, at, statements);
        let captures = facts.iter().map(|fact| Stamp::parse(fact).expect("our own stamp").capture);
        let captures: Vec<_> = captures.collect();
        let device = DeviceNo(site + 1);
        let (log, first) = {
            let kept = self.kept();
            let log = &kept.logs[&device];
            (LogRank::of(&log.chain.log()), Seq((log.facts.len() - facts.len() + 1) as u64))
        };
        let site = SiteNo(site);
        self.apply(at, &Entry::Run(Run { site, log, first, received_at: at, facts: &facts }));
        if self.books.read().expect("no writer panics").0.is_dirty() {
            self.apply(at, &Entry::Settle);
        }
        captures
    }

    fn record(&self, site: u32, at: Timestamp, statements: &[Statement]) -> Vec<Fact> {
        let device = DeviceNo(site + 1);
        let mut kept = self.kept();
        let log = kept.logs.get_mut(&device).expect("every site has a log");
        let mut facts = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            let stamp = Stamp {
                capture: Capture { device, counter: log.facts.len() as u64 + 1 },
                recorded_at: Timestamp(at.0 + 41_000),
                occurred_at: at,
                utc_offset: ZONE,
                group_left: u16::try_from(statements.len() - index - 1).expect("a small group"),
                person: None,
                time_in_doubt: 0,
                company: None,
            };
            let fact = statement.to_fact(&stamp).expect("a legal fact");
            log.chain.append(&fact.to_bytes());
            log.facts.push((fact.clone(), at, log.chain.head()));
            facts.push(fact);
        }
        facts
    }

    fn apply(&self, at: Timestamp, entry: &Entry<'_>) {
        let mut held = self.books.write().expect("no reader panics");
        let (books, tally) = &mut *held;
        let effects = books.apply(entry);
        let mut kept = self.kept();
        kept.entries += 1;
        let position = kept.entries;
        let released = !effects.released.is_empty();
        tally.note(books, position, at, &effects.vouchers, released);
        kept.vouchers.extend(effects.vouchers.into_iter().map(|voucher| StoredVoucher {
            voucher,
            position,
            posted_at: at,
        }));
        // Nobody listening is no fault.
        let _ = self.changes.send(Change::Posted(Arc::new(posted(books, position))));
    }

    fn state_master_data(&self) {
        let company = CompanyNo::FIRST;
        let mut all = vec![
            MasterData::Company {
                company,
                code: "JH".into(),
                name: "嘉禾商贸有限公司".into(),
                currency: currency(),
                zone: ZONE,
                scope: CostScope::Site,
            },
            MasterData::Category {
                category: CategoryNo(1), code: "G".into(), name: "商品".into()
            },
            MasterData::Reason {
                reason: ReasonNo(1),
                code: "BROKEN".into(),
                name: "破损".into(),
                movement: None,
            },
        ];
        let numbered = 1u32..;
        all.extend(numbered.clone().zip(SITES).map(|(no, (code, name))| MasterData::Site {
            site: SiteNo(no),
            company,
            code: code.into(),
            name: name.into(),
        }));
        all.extend(numbered.clone().zip(ITEMS).map(|(no, (code, name, cost, _, unit))| {
            MasterData::Item {
                item: ItemNo(no),
                category: CategoryNo(1),
                code: code.into(),
                name: name.into(),
                unit: Unit::from_bytes(unit.as_bytes()).expect("a unit"),
                decimals: if unit == "kg" { 3 } else { 0 },
                service: false,
                fallback_cost: Some(cents(cost)),
            }
        }));
        all.extend(numbered.clone().zip(PARTNERS).map(|(no, (code, name, customer))| {
            MasterData::Partner {
                partner: PartnerNo(no),
                code: code.into(),
                name: name.into(),
                customer,
                supplier: !customer,
            }
        }));
        for (no, (role, code, name, account_type)) in numbered.zip(ROLES) {
            let account = AccountNo(no);
            let (code, name) = (code.into(), name.into());
            all.push(MasterData::Account { account, company, code, name, account_type });
            all.push(MasterData::Mapping {
                company,
                role,
                account,
                category: None,
                site: None,
                movement: None,
                reason: None,
            });
        }
        let start = Timestamp(self.now.0 - 32 * DAY_MS);
        for data in all {
            self.tell(0, start, &[Statement::MasterData { valid_from: None, data }]);
        }
    }

    fn trade(&self) {
        let mut open: VecDeque<(Capture, usize, i64, u32)> = VecDeque::new();
        for day in (0..=30).rev() {
            let morning = Timestamp(self.now.0 - day * DAY_MS - 5 * HOUR_MS);
            if day % 5 == 0 {
                self.receive(morning, day, &mut open);
            }
            self.sell(Timestamp(morning.0 + HOUR_MS), day);
            if day % 6 == 2 {
                self.transfer(Timestamp(morning.0 + 2 * HOUR_MS), day > 2);
            }
            if day % 7 == 3 {
                self.invoice(Timestamp(morning.0 + 3 * HOUR_MS), &mut open);
            }
            if day == 9 {
                self.count_and_scrap(Timestamp(morning.0 + 4 * HOUR_MS));
            }
        }
        // A site that records and can't be posted: an item nobody has stated.
        let unknown = Movement {
            price: Some(cents(2_600)),
            ..Movement::new(Kind::Receipt, ItemNo(99), measure(0, 60))
        };
        self.tell(2, Timestamp(self.now.0 - 26 * HOUR_MS), &[Statement::Movement(unknown)]);
    }

    /// The fourth site has been silent for three days.
    fn is_silent(site: u32, day: i64) -> bool {
        site == 4 && day < 3
    }

    fn receive(&self, at: Timestamp, day: i64, open: &mut VecDeque<(Capture, usize, i64, u32)>) {
        for site in (1..=4).filter(|site| !Self::is_silent(*site, day)) {
            let supplier =
                if site == 3 { 3 } else { 1 + u32::try_from(self.below(2)).expect("0 or 1") };
            let picked: Vec<usize> = (0..ITEMS.len())
                .filter(|item| !(item + site as usize).is_multiple_of(3) || self.below(4) == 0)
                .collect();
            let lines: Vec<(usize, i64)> =
                picked.into_iter().map(|item| (item, 40 + self.below(90))).collect();
            let statements: Vec<Statement> = lines
                .iter()
                .map(|(item, quantity)| {
                    let drift = self.below(7) - 3;
                    let price = ITEMS[*item].2 * (100 + drift) / 100;
                    Statement::Movement(Movement {
                        price: Some(cents(price)),
                        partner: Some(PartnerNo(supplier)),
                        document: Some(ShortText::from_slice(
                            format!("DN{:05}", self.below(99_999)).as_bytes(),
                        )),
                        ..Movement::new(Kind::Receipt, item_no(*item), measure(*item, *quantity))
                    })
                })
                .collect();
            let captures =
                self.tell(site, Timestamp(at.0 + i64::from(site) * 7 * 60_000), &statements);
            for (capture, (item, quantity)) in captures.into_iter().zip(lines) {
                open.push_back((capture, item, quantity, supplier));
            }
        }
    }

    fn sell(&self, at: Timestamp, day: i64) {
        for site in (1..=4u32).filter(|site| !Self::is_silent(*site, day)) {
            for sale in 0..3 {
                let customer = 4 + u32::try_from(self.below(4)).expect("below 4");
                let statements: Vec<Statement> = (0..=self.below(3))
                    .map(|_| {
                        let item = usize::try_from(self.below(14)).expect("an index");
                        Statement::Movement(Movement {
                            price: Some(cents(ITEMS[item].3)),
                            partner: Some(PartnerNo(customer)),
                            ..Movement::new(
                                Kind::SaleIssue,
                                item_no(item),
                                measure(item, 1 + self.below(18)),
                            )
                        })
                    })
                    .collect();
                let when = Timestamp(at.0 + sale * 50 * 60_000 + i64::from(site) * 60_000);
                let captures = self.tell(site, when, &statements);
                if self.below(9) == 0 {
                    self.bring_back(
                        site,
                        Timestamp(when.0 + HOUR_MS),
                        customer,
                        captures[0],
                        &statements[0],
                    );
                }
                if self.below(3) == 0 && day > 4 {
                    self.pay(Timestamp(when.0 + DAY_MS), customer, captures[0], Direction::In);
                }
            }
        }
    }

    fn bring_back(&self, site: u32, at: Timestamp, customer: u32, sale: Capture, what: &Statement) {
        let Statement::Movement(sold) = what else { return };
        let item = usize::try_from(sold.item.0 - 1).expect("an index");
        let back = Movement {
            price: sold.price,
            partner: Some(PartnerNo(customer)),
            refers_to: Some(sale),
            ..Movement::new(Kind::CustomerReturn, sold.item, measure(item, 1))
        };
        self.tell(site, at, &[Statement::Movement(back)]);
    }

    fn pay(&self, at: Timestamp, partner: u32, open_item: Capture, direction: Direction) {
        let role = if direction == Direction::In { Role::Receivable } else { Role::Payable };
        let owed = {
            let held = self.books.read().expect("no writer panics");
            let id = held.0.facts().find(open_item).expect("it was posted");
            held.0.open_items().of(role, id).abs()
        };
        let Ok(figure) = Scaled::new(i64::try_from(owed).expect("a small amount"), -2) else {
            return;
        };
        if owed == 0 {
            return;
        }
        let amount = Money { figure, currency: currency() };
        let payment = Payment {
            partner: PartnerNo(partner),
            direction,
            amount,
            account: None,
            document: Some(ShortText::from_slice(b"BANK-1127")),
            document_date: None,
        };
        let paid = self.tell(0, at, &[Statement::Payment(payment)]);
        let allocation = Allocation { open_item, payment: paid[0], amount };
        self.tell(0, at, &[Statement::Allocation(allocation)]);
    }

    fn transfer(&self, at: Timestamp, arrives: bool) {
        let ship = Movement {
            other_site: Some(SiteNo(3)),
            ..Movement::new(Kind::TransferShip, item_no(2), measure(2, 20))
        };
        let shipped = self.tell(1, at, &[Statement::Movement(ship)]);
        if arrives {
            let receive = Movement {
                other_site: Some(SiteNo(1)),
                refers_to: Some(shipped[0]),
                ..Movement::new(Kind::TransferReceive, item_no(2), measure(2, 20))
            };
            self.tell(3, Timestamp(at.0 + 20 * HOUR_MS), &[Statement::Movement(receive)]);
        }
    }

    fn invoice(&self, at: Timestamp, open: &mut VecDeque<(Capture, usize, i64, u32)>) {
        let number = format!("INV-{:04}", self.below(9_999));
        let Some(supplier) = open.front().map(|line| line.3) else { return };
        let count = open.iter().take_while(|line| line.3 == supplier).count().min(8);
        let lines: Vec<_> = open.drain(..count).collect();
        let statements: Vec<Statement> = lines
            .iter()
            .map(|(receipt, item, quantity, supplier)| {
                Statement::SupplierInvoice(InvoiceLine {
                    partner: PartnerNo(*supplier),
                    refers_to: *receipt,
                    quantity: measure(*item, *quantity),
                    price: cents(ITEMS[*item].2 * 101 / 100),
                    document: Some(ShortText::from_slice(number.as_bytes())),
                    document_date: Some(at.day(ZONE)),
                    due_date: Some(Day(at.day(ZONE).0 + 10)),
                    tax_code: None,
                })
            })
            .collect();
        let captures = self.tell(0, at, &statements);
        if self.below(2) == 0 {
            self.pay(Timestamp(at.0 + HOUR_MS), supplier, captures[0], Direction::Out);
        }
    }

    fn count_and_scrap(&self, at: Timestamp) {
        let count = Movement::new(Kind::Count, item_no(7), measure(7, 61));
        self.tell(1, at, &[Statement::Movement(count)]);
        let reason = Some(ReasonNo(1));
        let scrap = Movement { reason, ..Movement::new(Kind::Scrap, item_no(4), measure(4, 2)) };
        self.tell(2, at, &[Statement::Movement(scrap)]);
    }

    /// One more sale or receipt, now.
    pub(crate) fn one_more(&self, now: Timestamp) {
        let site = 1 + u32::try_from(self.below(2)).expect("0 or 1");
        let item = usize::try_from(self.below(14)).expect("an index");
        let movement = if self.below(3) == 0 {
            Movement {
                price: Some(cents(ITEMS[item].2)),
                partner: Some(PartnerNo(1)),
                ..Movement::new(Kind::Receipt, item_no(item), measure(item, 30 + self.below(50)))
            }
        } else {
            Movement {
                price: Some(cents(ITEMS[item].3)),
                partner: Some(PartnerNo(5)),
                ..Movement::new(Kind::SaleIssue, item_no(item), measure(item, 1 + self.below(9)))
            }
        };
        self.tell(site, now, &[Statement::Movement(movement)]);
    }

    /// How the sites' connections stand at `now`.
    pub(crate) fn links(&self, now: Timestamp) -> Vec<LogLink> {
        let kept = self.kept();
        let sites = kept.logs.values().filter(|log| log.site != SiteNo::HQ);
        sites
            .map(|log| {
                let (away, unsent) = match log.site.0 {
                    3 => (2 * HOUR_MS, 37),
                    4 => (3 * DAY_MS, 0),
                    _ => (0, 0),
                };
                LogLink {
                    site: log.site,
                    log: LogRank::of(&log.chain.log()),
                    connected: away == 0,
                    last_heard: Some(Timestamp(now.0 - away)),
                    by_bundle: false,
                    brought_by: None,
                    known: Seq(log.facts.len() as u64 + unsent),
                    branch: false,
                    quality: (away == 0).then_some(Quality {
                        address: SocketAddr::from(([10, 0, 0, 7], 7_420)),
                        rtt: Duration::from_millis(64),
                        sent: 4_000,
                        lost: 53,
                    }),
                    last_error: (unsent > 0)
                        .then(|| (Timestamp(now.0 - away), "timed out".to_owned())),
                }
            })
            .collect()
    }
}

impl Lender for Sample {
    fn lend(&self, read: &mut dyn FnMut(&Books, &Tally)) {
        let held = self.books.read().expect("no writer panics");
        read(&held.0, &held.1);
    }

    fn as_known(&self, _at: Timestamp) -> Result<Books, ArchiveError> {
        // The sample was received in one day.
        Ok(self.books.read().expect("no writer panics").0.clone())
    }
}

impl Archive for Sample {
    fn vouchers(
        &self,
        company: CompanyNo,
        month: Month,
        numbers: RangeInclusive<u32>,
    ) -> Result<Vec<StoredVoucher>, ArchiveError> {
        let wanted = |stored: &&StoredVoucher| {
            let voucher = &stored.voucher;
            voucher.company == company
                && voucher.month == month
                && numbers.contains(&voucher.number)
        };
        Ok(self.kept().vouchers.iter().filter(wanted).cloned().collect())
    }

    fn fact(&self, device: DeviceNo, seq: Seq) -> Result<Option<StoredFact>, ArchiveError> {
        let kept = self.kept();
        let Some(log) = kept.logs.get(&device) else { return Ok(None) };
        let index = usize::try_from(seq.0).unwrap_or(usize::MAX).wrapping_sub(1);
        let Some((fact, at, head)) = log.facts.get(index) else { return Ok(None) };
        let stamp = Stamp::parse(fact).map_err(|error| ArchiveError(error.to_string()))?;
        let named = |stored: &&StoredVoucher| {
            stored.voucher.lines.iter().any(|line| line.fact == Some(stamp.capture))
        };
        Ok(Some(StoredFact {
            fact: fact.clone(),
            site: log.site,
            log: log.chain.log(),
            seq,
            received_at: Some(*at),
            head: *head,
            seal: (index % 5 != 4).then(|| sealed(log, seq, *head)),
            group: Vec::new(),
            vouchers: kept.vouchers.iter().filter(named).cloned().collect(),
        }))
    }
}

fn sealed(log: &Log, seq: Seq, head: Head) -> StoredSeal {
    let document_head = ChangeHash([0xd0; 32]);
    let seal = Seal { log: log.chain.log(), first: seq, last: seq, head, document_head };
    let seal = seal.sign(&log.key);
    let verified = seal.verify(&log.key.verifying_key()).is_ok();
    StoredSeal { seal, public_key: log.key.verifying_key().to_bytes(), verified }
}
