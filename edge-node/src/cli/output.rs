//! What commands print: one JSON value, or text for people. Knows only views.

use std::io::Write;
use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::CliError;
use crate::api::documents::{
    DocumentLineView, GoodsView, RefusedEditView, SharedDocumentView, ValueView,
};
use crate::api::views::{
    BackupView, BundleMadeView, BundleTakenView, CarriedByView, CarriesView, FoundItem, FoundView,
    HandledInput, ItemView, LinkView, LogPage, NeighbourView, NeighboursView, Problem, ProblemView,
    RecordedView, StatusView, StockView, TransferView, VerifiedView,
};

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// JSON instead of text.
    pub(super) json: bool,
}

fn print(text: &str) {
    // A closed pipe is the reader's wish to see no more.
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn json(value: &impl Serialize) {
    print(&serde_json::to_string_pretty(value).expect("views become JSON"));
}

/// A table with the columns named right-aligned.
fn table(header: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return print("(none)");
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    print(&table.to_string());
}

/// Who carries what for whom.
fn neighbours(view: &NeighboursView) {
    if let Some(listen) = &view.listen {
        print(&format!("neighbours are served at {listen}"));
    }
    let line =
        |who: &str, how: &str, site: &Option<String>, connected, problem: &Option<String>| {
            let site = site.as_ref().map_or_else(String::new, |site| format!(" ({site})"));
            let state = if connected { "connected" } else { "not connected" };
            let problem = problem.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            print(&format!("neighbour  {who}{site} {state}{how}{problem}"));
        };
    for NeighbourView { address, connected, site, problem } in &view.addresses {
        line(address, "", site, *connected, problem);
    }
    if let Some(discovery) = &view.discovery {
        print(&format!("discovery  announced as {}", discovery.name));
        for found in &discovery.found {
            let at = found.addresses.first().unwrap_or(&found.name);
            line(at, ", discovered", &found.site, found.connected, &found.problem);
        }
        if let Some(problem) = &discovery.problem {
            print(&format!("note       neighbours are not discovered: {problem}"));
        }
    }
    for carried in &view.carried_by {
        let CarriedByView { site, last, at } = carried;
        print(&format!("carried    by {site} up to fact {last}, since {at}"));
    }
    for carries in &view.carries {
        let CarriesView { site, after, last, bytes, since, problem } = carries;
        let problem = problem.as_ref().map_or_else(String::new, |why| format!("; {why}"));
        let facts = format!("facts {} to {last} of {site}", after + 1);
        print(&format!("carries    {facts}, {bytes} bytes, since {since}{problem}"));
    }
    for warning in &view.warnings {
        print(&format!("note       {warning}"));
    }
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

impl Output {
    pub(super) fn problem(self, problem: &Problem) {
        let text = if self.json {
            let view = ProblemView { error: problem.clone() };
            serde_json::to_string(&view).expect("views become JSON")
        } else {
            format!("edge-node: {}", problem.message)
        };
        drop(writeln!(std::io::stderr(), "{text}"));
    }

    /// One line for people; for programs any value.
    pub(super) fn say(self, line: &str, value: &impl Serialize) {
        if self.json { json(value) } else { print(line) }
    }

    pub(super) fn recorded(self, view: &RecordedView) {
        if self.json {
            return json(view);
        }
        let what = if view.already_recorded { "recorded before" } else { "recorded" };
        print(&format!("{what}: {} at {}", view.captures.join(", "), view.recorded_at));
        for doubt in &view.time_in_doubt {
            print(&format!(
                "note: {doubt}: HQ values this once it knows when it happened; set the clock (timedatectl)"
            ));
        }
    }

    pub(super) fn stock(self, views: &[StockView]) {
        if self.json {
            return json(&views);
        }
        let row = |view: &StockView| {
            let counted = text(view.counted_at.as_ref());
            let lot = text(view.lot.as_ref());
            vec![
                view.item.clone(),
                view.name.clone(),
                lot,
                view.on_hand.clone(),
                view.unit.clone(),
                view.changed_at.clone(),
                counted,
            ]
        };
        let header = ["item", "name", "lot", "on hand", "unit", "changed", "counted"];
        table(&header, &[3], views.iter().map(row));
    }

    pub(super) fn documents(self, views: &[DocumentLineView]) {
        if self.json {
            return json(&views);
        }
        let count = |count: usize| if count == 0 { String::new() } else { count.to_string() };
        let row = |view: &DocumentLineView| {
            let told = view.progress.clone().or_else(|| view.title.clone()).unwrap_or_default();
            let (changes, waiting) = (view.changes.to_string(), count(view.waiting));
            vec![view.id.clone(), told, changes, waiting, count(view.conflicts)]
        };
        let header = ["document", "", "changes", "not at HQ", "to settle"];
        table(&header, &[2, 3, 4], views.iter().map(row));
    }

    /// A document; nothing is said of one yet where it is not there.
    pub(super) fn document_or_none(
        self,
        view: Result<SharedDocumentView, CliError>,
    ) -> Result<(), CliError> {
        match view {
            Err(error) if error.is_not_found() && !self.json => print("(none)"),
            view => self.document(&view?),
        }
        Ok(())
    }

    pub(super) fn document(self, view: &SharedDocumentView) {
        if self.json {
            return json(view);
        }
        let line = &view.line;
        let mut head = line.id.clone();
        for told in [&line.title, &line.progress].into_iter().flatten() {
            head.push_str(", ");
            head.push_str(told);
        }
        if line.waiting > 0 {
            head = format!("{head}, {} changes not at HQ", line.waiting);
        }
        print(&head);
        let said = |value: &ValueView| {
            let waits = if value.waiting { ", not at HQ" } else { "" };
            format!("{} ({}, {}{waits})", value.text, value.site, value.at)
        };
        for goods in &view.goods {
            let lot = goods.lot.as_ref().map_or_else(String::new, |lot| format!(" lot {lot}"));
            let GoodsView { ship, item, quantity, unit, received, .. } = goods;
            print(&format!("  {ship}: {quantity} {unit} of {item}{lot}"));
            for received in received {
                print(&format!("    received {received}"));
            }
        }
        for line in &view.sheet {
            let lot = line.lot.as_ref().map_or_else(String::new, |lot| format!(" lot {lot}"));
            let figure =
                line.figure.as_ref().map_or_else(String::new, |figure| format!(" {figure}"));
            let recorded = line.recorded.join(", ");
            print(format!("  {}{lot}: {}{figure} {recorded}", line.item, line.standing).trim_end());
            for count in &line.counts {
                print(&format!("    {} counted {}", count.counter, said(&count.value)));
            }
        }
        for field in &view.fields {
            let mark = if field.conflict { "  TO SETTLE" } else { "" };
            let name = field.item.as_ref().unwrap_or(&field.key);
            print(&format!("  {name}:{mark}"));
            for value in &field.values {
                print(&format!("    {}", said(value)));
            }
        }
    }

    pub(super) fn refused_edits(self, views: &[RefusedEditView]) {
        if self.json {
            return json(&views);
        }
        let row = |view: &RefusedEditView| {
            let puts = view.puts.iter().map(|put| format!("{}: {}", put.key, put.text));
            let puts = puts.collect::<Vec<_>>().join("; ");
            vec![view.id.clone(), view.at.clone(), view.reason.clone(), puts]
        };
        table(&["document", "when", "why", "what"], &[], views.iter().map(row));
    }

    pub(super) fn log(self, page: &LogPage) {
        if self.json {
            return json(page);
        }
        let row = |view: &crate::api::views::LogView| {
            vec![
                view.seq.to_string(),
                view.capture.clone(),
                view.kind.clone(),
                view.occurred_at.clone(),
                text(view.item.as_ref()),
                text(view.quantity.as_ref()),
                text(view.unit.as_ref()),
                text(view.price.as_ref()),
                text(view.partner.as_ref()),
                text(view.refers_to.as_ref()),
                view.progress.map_or_else(String::new, |progress| progress.word().to_owned()),
                text(view.voucher.as_ref()),
            ]
        };
        let header = [
            "seq",
            "capture",
            "kind",
            "occurred",
            "item",
            "quantity",
            "unit",
            "price",
            "partner",
            "refers to",
            "progress",
            "voucher",
        ];
        table(&header, &[0, 5, 7], page.facts.iter().map(row));
        for view in &page.facts {
            if let Some(why) = &view.waits_for {
                print(&format!("note: {} waits at HQ: {why}", view.capture));
            }
        }
    }

    pub(super) fn items(self, views: &[ItemView]) {
        if self.json {
            return json(&views);
        }
        let row = |view: &ItemView| {
            let what = if view.service { "service" } else { "goods" };
            vec![view.code.clone(), view.name.clone(), view.units.join(" "), what.to_owned()]
        };
        table(&["item", "name", "units", "what"], &[], views.iter().map(row));
    }

    pub(super) fn found(self, view: &FoundView) {
        if self.json {
            return json(view);
        }
        let row = |found: &FoundItem| {
            let ItemView { code, name, units, .. } = &found.item;
            let here = if found.handled { "yes" } else { "no" };
            vec![code.clone(), name.clone(), units.join(" "), here.to_owned()]
        };
        table(&["item", "name", "units", "handled here"], &[], view.items.iter().map(row));
        if view.more {
            print("note: HQ has more like this: search for more of the code or name");
        }
    }

    pub(super) fn taken(self, taken: &HandledInput) {
        let codes = taken.items.join(", ");
        self.say(
            &format!(
                "HQ was told that this site handles {codes}: 'edge-node items' shows them soon"
            ),
            taken,
        );
    }

    pub(super) fn transfers(self, views: &[TransferView]) {
        if self.json {
            return json(&views);
        }
        let row = |view: &TransferView| {
            vec![
                view.ship.clone(),
                view.from.clone(),
                view.item.clone(),
                view.quantity.clone(),
                view.unit.clone(),
                view.shipped_at.clone(),
                text(view.price.as_ref()),
                if view.announced { "its sender" } else { "HQ" }.to_owned(),
            ]
        };
        let header = ["ship", "from", "item", "quantity", "unit", "shipped", "price", "told by"];
        table(&header, &[3, 6], views.iter().map(row));
    }

    pub(super) fn status(self, view: &StatusView) {
        if self.json {
            return json(view);
        }
        print(&format!("site       {} {}", view.site, view.site_name));
        print(&format!("device     {}, log {}", view.device, &view.log[..16]));
        print(&format!("recorded   {} facts, sealed up to {}", view.last, view.sealed));
        let since = view.waiting_since.as_ref();
        let since = since.map_or_else(String::new, |since| format!(", the oldest since {since}"));
        print(&format!(
            "at HQ      {} received, {} safe, {} posted; {} waiting{since}",
            view.received, view.safe, view.posted, view.waiting
        ));
        if view.set_aside > 0 {
            print(&format!(
                "set aside  {} facts wait at HQ: 'edge-node log' says why; they post by themselves",
                view.set_aside
            ));
        }
        print(&format!(
            "known      {} items, {} partners, {} transfers on their way here",
            view.items, view.partners, view.open_transfers
        ));
        if view.documents > 0 {
            print(&format!(
                "shared     {} documents; {} edits waiting, {} refused by HQ",
                view.documents, view.edits_waiting, view.edits_refused
            ));
        }
        let heard = view.link.heard_at.as_ref();
        let heard = heard.map_or_else(String::new, |heard| format!(", HQ heard at {heard}"));
        print(&format!("link       {}{heard}", view.link.state));
        if let Some(profile) = &view.link.profile {
            let quality = quality(&view.link).unwrap_or_default();
            print(&format!("network    treated as {profile}{quality}"));
        }
        neighbours(&view.neighbours);
        let clock = view.link.clock_ahead_ms.and_then(crate::link::clock_warning);
        for note in [&view.link.problem, &view.link.warning, &clock].into_iter().flatten() {
            print(&format!("note       {note}"));
        }
    }

    pub(super) fn verified(self, view: &VerifiedView) {
        if self.json {
            return json(view);
        }
        let seals = match view.seals {
            0 => "no seal yet".to_owned(),
            seals => format!("{seals} good seals up to fact {}", view.sealed),
        };
        print(&format!("proved: {} facts, chain head {}, {seals}", view.facts, &view.head[..16]));
        for document in &view.documents {
            print(&format!("document {}: head {}", document.chunk, document.head));
        }
    }

    pub(super) fn backup(self, view: &BackupView) {
        let line = format!("{}: {} facts, {} bytes", view.file, view.last, view.bytes);
        self.say(&line, view);
    }

    pub(super) fn bundle_made(self, view: &BundleMadeView) {
        let BundleMadeView { file, after, last, facts, bytes, log } = view;
        let what = match facts {
            0 => format!(
                "no movement that HQ does not have; it tells HQ how this node stands (up to fact {last})"
            ),
            _ => format!("{facts} facts, {} to {last}", after + 1),
        };
        let line = format!(
            "{file}: {what}, {bytes} bytes, of log {}\nnext: carry it to HQ and run 'hq-server bundle import FILE' \
             there; bring back what 'hq-server bundle export --site SITE FILE' makes",
            &log[..16]
        );
        self.say(&line, view);
    }

    pub(super) fn bundle_taken(self, view: &BundleTakenView) {
        if self.json {
            return json(view);
        }
        let levels = format!("at HQ up to fact {}, posted up to {}", view.received, view.posted);
        print(&if view.known_before {
            format!("HQ's word of {} is no news: {levels}", view.said_at)
        } else {
            let (received, posted) = (view.received_before, view.posted_before);
            let before = match received {
                0 => String::new(),
                _ => format!(" (before: {received}, {posted})"),
            };
            format!("{levels}{before}, as HQ said at {}", view.said_at)
        });
        match view.master_data {
            0 => print("master data: nothing new"),
            count => print(&format!("master data: {count} pieces taken")),
        }
        if view.master_data_missing {
            print(
                "note: earlier master data is missing: carry a bundle to HQ, so that HQ knows what this \
                 node has, and bring back another",
            );
        }
        if let Some(warning) = &view.warning {
            print(&format!("note: {warning}"));
        }
    }

    pub(super) fn exported(self, files: &[PathBuf]) {
        let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        self.say(&names.join("\n"), &names);
    }
}

/// How the link was when last connected.
fn quality(link: &LinkView) -> Option<String> {
    let (rtt, lost, rate) = (link.rtt_ms?, link.lost_per_mille?, link.bytes_per_second?);
    Some(format!(
        ", when last connected {rtt} ms there and back, {lost} of 1,000 packets lost, {rate} bytes/s"
    ))
}
