//! The little of `WebDriver` that the test needs, over plain HTTP. Knows no page.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tests::processes::{self, ProcessError, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

/// Where Debian puts a program, or wherever else the path leads.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A browser with one window; gone when this goes.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the driver on a free port and a browser with an empty profile.
    pub(crate) fn start(driver: &Path, chromium: &Path) -> Result<Self, ProcessError> {
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let port = announced_port(&mut driver)?;
        let profile = tempfile::tempdir()?;
        let mut browser =
            Self { driver, address: format!("127.0.0.1:{port}"), session: String::new(), profile };
        let profile = browser.profile.path().display().to_string();
        let options = json!({
            "binary": chromium,
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--hide-scrollbars", "--window-size=1360,900", "--accept-lang=zh-CN",
                format!("--user-data-dir={profile}"),
            ],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let started = browser.call("/session", &wanted)?;
        started["sessionId"].as_str().unwrap_or_default().clone_into(&mut browser.session);
        Ok(browser)
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value, ProcessError> {
        let (status, mut answer) = processes::post(&self.address, path, body)?;
        if status >= 300 {
            return Err(ProcessError::Answer(format!("{path}: {answer}")));
        }
        Ok(answer["value"].take())
    }

    fn command(&self, path: &str, body: &Value) -> Result<Value, ProcessError> {
        self.call(&format!("/session/{}{path}", self.session), body)
    }

    /// Goes to an address.
    pub(crate) fn open(&self, address: &str) -> Result<(), ProcessError> {
        self.command("/url", &json!({ "url": address })).map(drop)
    }

    /// Runs a script in the page and returns what it returns.
    pub(crate) fn script(&self, script: &str) -> Result<Value, ProcessError> {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that a selector finds.
    pub(crate) fn text(&self, selector: &str) -> Result<Option<String>, ProcessError> {
        let found = self.script(&format!(
            "return document.querySelector({})?.textContent.trim() ?? null",
            json!(selector)
        ))?;
        Ok(found.as_str().map(str::to_owned))
    }

    /// Waits until an element's text is the one expected.
    pub(crate) fn wait_for_text(&self, selector: &str, expected: &str) -> Result<(), ProcessError> {
        wait_for(&format!("{selector} to read {expected}"), PATIENCE, || {
            Ok((self.text(selector)?.as_deref() == Some(expected)).then_some(()))
        })
    }

    /// Follows the first link that a selector finds, and waits until the address has changed.
    pub(crate) fn follow(&self, selector: &str) -> Result<String, ProcessError> {
        let before = self.script("return location.href")?;
        self.script(&format!("document.querySelector({}).click()", json!(selector)))?;
        wait_for(&format!("{selector} to lead on"), PATIENCE, || {
            let here =
                self.script("return document.readyState == 'complete' ? location.href : ''")?;
            let moved = here != before && here != json!("");
            Ok(moved.then(|| here.as_str().unwrap_or_default().to_owned()))
        })
    }

    /// Makes the page as wide and high as a telephone's, or gives it back its window.
    pub(crate) fn set_size(&self, size: Option<(u32, u32)>) -> Result<(), ProcessError> {
        let (command, parameters) = match size {
            Some((width, height)) => (
                "Emulation.setDeviceMetricsOverride",
                json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true }),
            ),
            None => ("Emulation.clearDeviceMetricsOverride", json!({})),
        };
        let body = json!({ "cmd": command, "params": parameters });
        self.command("/goog/cdp/execute", &body).map(drop)
    }

    /// Saves what the window shows.
    pub(crate) fn screenshot(&self, file: &Path) -> Result<(), ProcessError> {
        let path = format!("/session/{}/screenshot", self.session);
        let mut answer = processes::get(&self.address, &path)?;
        let text = answer["value"].take();
        let bytes = data_encoding::BASE64
            .decode(text.as_str().unwrap_or_default().as_bytes())
            .map_err(|error| ProcessError::Answer(error.to_string()))?;
        std::fs::write(file, bytes)?;
        Ok(())
    }

    /// What the page complained of since it was asked last: script errors, refused content.
    pub(crate) fn complaints(&self) -> Result<Vec<String>, ProcessError> {
        let entries = self.command("/se/log", &json!({ "type": "browser" }))?;
        let severe = entries
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        Ok(severe.map(|entry| entry["message"].to_string()).collect())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ending the session ends the browser; the driver alone would leave it behind.
        let agent = ureq::agent();
        let address = format!("http://{}/session/{}", self.address, self.session);
        drop(agent.delete(address).call());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

/// The driver says in one of its first lines which port it took.
fn announced_port(driver: &mut Child) -> Result<u16, ProcessError> {
    let output = driver.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(output).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let (_, rest) = line.split_once("successfully on port ")?;
        rest.trim_end_matches('.').parse().ok()
    });
    // Whatever else it prints must find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    port.ok_or_else(|| ProcessError::Answer("the driver named no port".to_owned()))
}
