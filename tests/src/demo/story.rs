//! What happens in the trading month, as data: who records what on which day. Pure, from a seed.

use serde_json::{Value, json};
use shared::time::Day;

use crate::random::Random;

/// A warehouse of the story.
#[derive(Clone, Copy, Debug)]
pub struct Warehouse {
    /// Its code.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// The warehouses; the last one is cut off in the middle of the month.
pub const WAREHOUSES: [Warehouse; 3] = [
    Warehouse { code: "SH", name: "上海仓" },
    Warehouse { code: "WH", name: "武汉仓" },
    Warehouse { code: "CD", name: "成都仓" },
];

/// Code, name, unit, decimals, cost in fen, selling price in fen.
pub const ITEMS: [(&str, &str, &str, u8, i64, i64); 10] = [
    ("A4-80", "复印纸 A4 80g", "包", 0, 1_850, 2_600),
    ("PEN-05", "中性笔 0.5", "支", 0, 120, 250),
    ("NOTE-B5", "笔记本 B5", "本", 0, 430, 890),
    ("TONER-12", "硒鼓 12A", "个", 0, 14_500, 21_900),
    ("CABLE-3", "网线 CAT6", "m", 1, 210, 390),
    ("DRILL-10", "手电钻 10mm", "台", 0, 18_900, 29_900),
    ("SCREW-4", "自攻螺丝 4x25", "kg", 3, 1_650, 2_800),
    ("GLOVE-L", "劳保手套 L", "双", 0, 310, 680),
    ("TAPE-48", "封箱胶带 48mm", "卷", 0, 380, 720),
    ("LAMP-9", "LED灯泡 9W", "只", 0, 560, 1_290),
];

/// Suppliers and customers: code, name, customer, supplier.
pub const PARTNERS: [(&str, &str, bool, bool); 6] = [
    ("S-HENGDA", "恒达办公用品厂", false, true),
    ("S-LIYUAN", "力源五金", false, true),
    ("C-MINGDE", "明德小学", true, false),
    ("C-XINHUA", "新华书店", true, false),
    ("C-JIANGONG", "建工三局", true, false),
    ("C-CASH", "零售现金客户", true, false),
];

/// Days of the month that is played; the last day is yesterday.
pub const DAYS: i32 = 30;
/// The warehouse that is cut off, and from and to which day.
pub const CUT_OFF: (usize, i32, i32) = (2, 12, 22);
/// The day goods leave the first warehouse for the second, and the day they arrive.
pub const TRANSFER: (i32, i32) = (9, 12);
/// The day a customer brings goods back.
pub const RETURN: i32 = 19;
/// The day of the stocktake.
pub const STOCKTAKE: i32 = 27;

/// A group of movements that a keeper records.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Which warehouse.
    pub site: usize,
    /// Which day, from 0.
    pub day: i32,
    /// The body for the edge node's API, without references to captures.
    pub body: Value,
    /// What it is in the story, where later steps refer to it.
    pub mark: Option<Mark>,
}

/// Recordings that later steps refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The first receipt of the first warehouse: its invoice differs.
    InvoicedReceipt,
    /// The sale that is paid.
    PaidSale,
    /// The sale that comes back in part.
    ReturnedSale,
    /// The ship of the transfer.
    Ship,
}

/// What the story keeps while it is written.
struct Writer {
    random: Random,
    first: Day,
    on_hand: [[i64; ITEMS.len()]; WAREHOUSES.len()],
    recordings: Vec<Recording>,
    serial: u32,
}

/// The month of a seed, in the order it is played. `first` is its first day.
pub fn month(seed: u64, first: Day) -> Vec<Recording> {
    let mut writer = Writer {
        random: Random::new(seed),
        first,
        on_hand: [[0; ITEMS.len()]; WAREHOUSES.len()],
        recordings: Vec::new(),
        serial: 0,
    };
    for site in 0..WAREHOUSES.len() {
        writer.opening(site);
    }
    for day in 1..DAYS {
        for site in 0..WAREHOUSES.len() {
            if day % 6 == 1 {
                writer.receipt(site, day);
            }
            for _ in 0..2 + writer.random.below(3) {
                writer.sale(site, day);
            }
            if day == STOCKTAKE {
                writer.stocktake(site, day);
            }
        }
        match day {
            _ if day == TRANSFER.0 => writer.ship(day),
            8 => writer.scrap(1, day),
            15 => writer.own_use(0, day),
            _ => {}
        }
    }
    writer.recordings
}

impl Writer {
    fn at(&self, day: i32, minute: u64) -> String {
        let minute = 8 * 60 + minute % 600;
        let date = Day(self.first.0 + day);
        format!("{date}T{:02}:{:02}:00+08:00", minute / 60, minute % 60)
    }

    fn push(&mut self, site: usize, day: i32, lines: &[Value], mark: Option<Mark>) {
        self.serial += 1;
        let minute = u64::from(self.serial) * 7;
        let body = json!({
            "key": format!("demo-{}", self.serial),
            "occurred_at": self.at(day, minute),
            "lines": lines,
        });
        self.recordings.push(Recording { site, day, body, mark });
    }

    fn opening(&mut self, site: usize) {
        let mut lines = Vec::new();
        for (item, row) in ITEMS.iter().enumerate() {
            let units = self.random.between(40, 99);
            self.on_hand[site][item] += units;
            lines.push(json!({
                "kind": "adjustment", "item": row.0, "quantity": units.to_string(),
                "price": fen(row.4), "reason": "opening",
            }));
        }
        self.push(site, 0, &lines, None);
    }

    fn receipt(&mut self, site: usize, day: i32) {
        let office = self.random.below(2) == 0;
        let supplier = if office { "S-HENGDA" } else { "S-LIYUAN" };
        let start = if office { 0 } else { 4 };
        let mut lines = Vec::new();
        for (item, row) in ITEMS.iter().enumerate().skip(start).take(3) {
            let units = self.random.between(30, 79);
            let cost = row.4 * self.random.between(95, 105) / 100;
            self.on_hand[site][item] += units;
            lines.push(json!({
                "kind": "receipt", "item": row.0, "quantity": units.to_string(),
                "price": fen(cost), "partner": supplier,
                "document": format!("DN-{}-{day}", WAREHOUSES[site].code),
            }));
        }
        let first = day == 1 && site == 0;
        self.push(site, day, &lines, first.then_some(Mark::InvoicedReceipt));
    }

    fn sale(&mut self, site: usize, day: i32) {
        let customer = PARTNERS[2 + self.random.index(4)].0;
        let mut lines = Vec::new();
        for _ in 0..=self.random.below(2) {
            let item = self.random.index(ITEMS.len());
            let row = ITEMS[item];
            let on_hand = self.on_hand[site][item];
            let units = self.random.between(1, 12).min(on_hand);
            if units == 0 || lines.iter().any(|line: &Value| line["item"] == row.0) {
                continue;
            }
            self.on_hand[site][item] -= units;
            lines.push(json!({
                "kind": "sale_issue", "item": row.0, "quantity": units.to_string(),
                "price": fen(row.5), "partner": customer,
            }));
        }
        if lines.is_empty() {
            return;
        }
        let marked = |mark| self.recordings.iter().any(|recording| recording.mark == Some(mark));
        let mark = match (site, day) {
            (0, 2) if !marked(Mark::PaidSale) => Some(Mark::PaidSale),
            (1, 3) if !marked(Mark::ReturnedSale) => Some(Mark::ReturnedSale),
            _ => None,
        };
        self.push(site, day, &lines, mark);
    }

    fn ship(&mut self, day: i32) {
        let mut lines = Vec::new();
        for item in [0, 3] {
            let units = 10;
            self.on_hand[0][item] -= units;
            lines.push(json!({
                "kind": "transfer_ship", "item": ITEMS[item].0, "quantity": units.to_string(),
                "site": WAREHOUSES[1].code, "document": "TR-0001",
            }));
        }
        self.push(0, day, &lines, Some(Mark::Ship));
    }

    fn stocktake(&mut self, site: usize, day: i32) {
        let mut lines = Vec::new();
        for (item, row) in ITEMS.iter().enumerate() {
            let off = self.random.between(0, 7);
            let change = if off < 6 { 0 } else { 2 * off - 13 };
            let counted = (self.on_hand[site][item] + change).max(0);
            self.on_hand[site][item] = counted;
            lines.push(json!({
                "kind": "count", "item": row.0, "quantity": counted.to_string(),
            }));
        }
        self.push(site, day, &lines, None);
    }

    fn scrap(&mut self, site: usize, day: i32) {
        self.on_hand[site][9] -= 2;
        let line = json!({
            "kind": "scrap", "item": ITEMS[9].0, "quantity": "2", "reason": "damaged",
        });
        self.push(site, day, &[line], None);
    }

    fn own_use(&mut self, site: usize, day: i32) {
        self.on_hand[site][0] -= 3;
        let line = json!({ "kind": "issue", "item": ITEMS[0].0, "quantity": "3" });
        self.push(site, day, &[line], None);
    }
}

/// Fen as a decimal text in yuan.
pub fn fen(amount: i64) -> String {
    shared::money::Amount(amount).display(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_same_story() {
        let first = Day(20_000);
        let texts = |seed| {
            let recordings = month(seed, first);
            recordings.iter().map(|recording| recording.body.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        let story = month(1, first);
        for mark in [Mark::InvoicedReceipt, Mark::PaidSale, Mark::ReturnedSale, Mark::Ship] {
            assert_eq!(story.iter().filter(|each| each.mark == Some(mark)).count(), 1, "{mark:?}");
        }
    }
}
