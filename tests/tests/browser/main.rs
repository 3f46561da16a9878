//! The dashboard in a real browser, over real processes: a movement that a keeper records changes
//! the figures on an open page, and the page leads down to the signed movement.
//!
//! Needs Debian's chromium and chromium-driver. Where they are missing the test says so and passes,
//! unless `WAREBOOK_BROWSER=required` is set, as `deploy/test` does.

mod webdriver;

use std::path::{Path, PathBuf};

use serde_json::json;
use tests::demo::stage::{EdgeNode, Headquarters};
use tests::processes::ProcessError;
use webdriver::{Browser, program};

/// HQ, one node, one item.
struct Company {
    hq: Headquarters,
    node: EdgeNode,
}

impl Company {
    fn open(root: &Path) -> Result<Self, ProcessError> {
        let init = [
            "--company",
            "JH",
            "--name",
            "嘉禾商贸",
            "--currency",
            "CNY",
            "--utc-offset",
            "+08:00",
        ];
        let hq = Headquarters::start(&root.join("hq"), &init)?;
        hq.command(&["item", "add", "KT-1001", "电热水壶", "--unit", "EA"])?;
        hq.command(&["partner", "add", "S-101", "佛山恒益电器厂", "--supplier"])?;
        let code = hq.add_site("SH-01", "上海浦东仓")?;
        let node = EdgeNode::start(&root.join("node"), &code, hq.link)?;
        node.wait_for_items(1)?;
        Ok(Self { hq, node })
    }

    fn receive(&self, key: &str, quantity: &str, price: &str) -> Result<String, ProcessError> {
        let line = json!({
            "kind": "receipt", "item": "KT-1001", "quantity": quantity, "price": price,
            "partner": "S-101",
        });
        let captures = self.node.record(&json!({ "key": key, "lines": [line] }))?;
        Ok(captures[0].clone())
    }

    fn page(&self, path: &str) -> String {
        format!("http://{}{path}", self.hq.api)
    }
}

/// Driver and browser; `None` with a word to the reader where this machine has none.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let found = program("chromedriver").zip(program("chromium"));
    let required = std::env::var("WAREBOOK_BROWSER").is_ok_and(|value| value == "required");
    assert!(found.is_some() || !required, "install Debian's chromium and chromium-driver");
    if found.is_none() {
        eprintln!("skipped: no chromium and chromedriver here");
    }
    found
}

#[test]
fn an_open_page_moves_with_the_books_and_leads_to_the_signed_movement() -> Result<(), ProcessError>
{
    let Some((driver, chromium)) = browser() else { return Ok(()) };
    let root = tempfile::tempdir()?;
    let company = Company::open(root.path())?;
    company.receive("first", "40", "68.50")?;
    company.node.wait_until_posted(std::time::Duration::from_secs(30))?;
    let browser = Browser::start(&driver, &chromium)?;

    browser.open(&company.page("/"))?;
    browser.wait_for_text("#stock-value", "2,740.00")?;
    assert_eq!(browser.text("html > head > title")?.as_deref(), Some("看板 · Warebook"));
    assert!(
        browser.text("script[src*='htmx']")?.is_some(),
        "hq-server was built without the page files: run deploy/assets, then build again"
    );
    browser.wait_for_text("#stream", "实时")?;

    // A reload would lose this.
    browser.script("window.openedOnce = true")?;
    let capture = company.receive("second", "10", "70.00")?;
    browser.wait_for_text("#stock-value", "3,440.00")?;
    browser.wait_for_text("#site-1 td.num", "3,440.00")?;
    browser.wait_for_text("#latest li .num", "700.00")?;
    browser.wait_for_text("#voucher-count", "2")?;
    assert_eq!(browser.script("return window.openedOnce")?, json!(true), "the page was reloaded");
    assert_eq!(
        browser.script("return document.querySelectorAll('#chart canvas').length")?,
        json!(1),
        "the chart is drawn"
    );
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR"));
    browser.screenshot(&shots.join("dashboard.png"))?;

    let voucher = browser.follow("#latest li a")?;
    assert!(voucher.contains("/vouchers/1-"), "{voucher}");
    browser.screenshot(&shots.join("voucher.png"))?;
    let fact = browser.follow("tbody a[href^='/facts/']")?;
    assert!(fact.ends_with(&format!("/facts/{capture}")), "{fact}");
    assert_eq!(browser.text("h1 .code")?, Some(capture));
    browser.screenshot(&shots.join("fact.png"))?;

    browser.open(&company.page("/?lang=en"))?;
    browser.wait_for_text("#stream", "live")?;
    fits_a_telephone(&browser, &company, &shots.join("telephone.png"))?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_nodes_page_says_what_became_of_its_movements_and_who_its_neighbours_are()
-> Result<(), ProcessError> {
    let Some((driver, chromium)) = browser() else { return Ok(()) };
    let root = tempfile::tempdir()?;
    let mut company = Company::open(root.path())?;
    company.receive("first", "40", "68.50")?;
    company.node.wait_until_posted(std::time::Duration::from_secs(30))?;
    let browser = Browser::start(&driver, &chromium)?;
    browser.open(&format!("http://{}/", company.node.api))?;
    browser.wait_for_text("#site", "SH-01 上海浦东仓")?;
    browser.wait_for_text("#facts tr td.posted", "已入账")?;
    let is_hidden =
        |id: &str| browser.script(&format!("return document.getElementById('{id}').hidden"));
    assert_eq!((is_hidden("neighbours")?, is_hidden("problem")?), (json!(true), json!(true)));

    let file = company.node.data.join("node.toml");
    let set = std::fs::read_to_string(&file)?;
    let set = set.replace("# addresses = [\"10.0.3.2:7421\"]", "addresses = [\"127.0.0.1:9\"]");
    std::fs::write(&file, set.replace("discover = false", "discover = true"))?;
    company.node.restart()?;
    browser.open(&format!("http://{}/", company.node.api))?;
    browser.wait_for_text("#neighbours li b", "127.0.0.1:9")?;
    assert_eq!(browser.text("#neighbours li span")?.as_deref(), Some("未连接"));
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR"));
    browser.screenshot(&shots.join("node.png"))?;
    assert_eq!(browser.complaints()?, Vec::<String>::new());
    Ok(())
}

/// No page is wider than the narrowest telephone.
fn fits_a_telephone(browser: &Browser, company: &Company, shot: &Path) -> Result<(), ProcessError> {
    browser.set_size(Some((360, 780)))?;
    let pages = [
        "/vouchers",
        "/stock",
        "/items/1",
        "/accounts",
        "/accounts/1",
        "/open-items",
        "/sites",
        "/",
    ];
    for page in pages {
        browser.open(&company.page(page))?;
        let width = browser.script("return document.documentElement.scrollWidth")?;
        assert_eq!(width, json!(360), "{page}");
    }
    browser.wait_for_text("#stream", "live")?;
    browser.screenshot(shot)?;
    browser.set_size(None)
}
