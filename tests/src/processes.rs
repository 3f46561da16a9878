//! Real processes on this machine: one HQ and some edge nodes.
//! Used by the demo, real input, crash tests and the browser test. Knows only what a user knows:
//! commands, addresses and the HTTP APIs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Something a process did not do.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It can't be started, read or killed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A command failed.
    #[error("'{command}' failed: {output}")]
    Failed {
        /// What was run.
        command: String,
        /// What it printed.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{0} did not happen within {1:?}")]
    Late(String, Duration),
    /// An HTTP call failed.
    #[error("{what}: {why}")]
    Http {
        /// The call.
        what: String,
        /// Why.
        why: String,
    },
    /// An answer has another form than expected.
    #[error("unexpected answer: {0}")]
    Answer(String),
}

/// Where the two programs are: beside this one, built on demand in the same profile.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let mut folder = std::env::current_exe().expect("a program knows its own path");
        folder.pop();
        if folder.ends_with("deps") {
            folder.pop();
        }
        let missing = ["edge-node", "hq-server"].iter().any(|name| !folder.join(name).exists());
        if missing {
            build(&folder);
        }
        folder
    });
    folder.join(name)
}

fn build(folder: &Path) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", "edge-node", "-p", "hq-server"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "edge-node and hq-server must build");
}

/// Which network a process sees: the machine's own, or that of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Place(Option<String>);

impl Place {
    /// In the network namespace of this name, for as long as the thread lives that starts it.
    pub fn namespace(name: &str) -> Self {
        Self(Some(name.to_owned()))
    }

    fn command(&self, program: &str) -> Command {
        let program = binary(program);
        match &self.0 {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]);
                // Whoever is killed can't end what it started: the system does, with the thread
                // that started it.
                command.args(["setpriv", "--pdeathsig", "KILL"]).arg(program);
                command
            }
        }
    }
}

/// Runs a command to its end and returns what it printed.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, ProcessError> {
    run_at(&Place::default(), program, arguments)
}

/// As [`run`], where it is told.
pub fn run_at(place: &Place, program: &str, arguments: &[&str]) -> Result<String, ProcessError> {
    let output = place.command(program).args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ProcessError::Failed {
        command: format!("{program} {}", arguments.join(" ")),
        output: [output.stderr, output.stdout]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat(),
    })
}

/// Runs a command with `--json` and reads what it printed.
pub fn run_json(program: &str, arguments: &[&str]) -> Result<Value, ProcessError> {
    run_json_at(&Place::default(), program, arguments)
}

/// As [`run_json`], where it is told.
pub fn run_json_at(
    place: &Place,
    program: &str,
    arguments: &[&str],
) -> Result<Value, ProcessError> {
    let mut with_json = arguments.to_vec();
    with_json.push("--json");
    let text = run_at(place, program, &with_json)?;
    serde_json::from_str(&text).map_err(|error| ProcessError::Answer(format!("{error}: {text}")))
}

/// A process that is killed when this goes.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// Starts a program; its output goes to `log`.
    pub fn start(program: &str, arguments: &[&str], log: &Path) -> Result<Self, ProcessError> {
        Self::start_at(&Place::default(), program, arguments, log)
    }

    /// As [`Running::start`], where it is told.
    pub fn start_at(
        place: &Place,
        program: &str,
        arguments: &[&str],
        log: &Path,
    ) -> Result<Self, ProcessError> {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let child = place
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self { child })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9 and wait.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Asks it to end, as Ctrl-C does, and waits.
    pub fn stop(&mut self) -> Result<(), ProcessError> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status()?;
        wait_for("the process to end", Duration::from_secs(20), || {
            Ok(self.child.try_wait()?.map(|_| ()))
        })
    }

    /// Its largest resident memory so far, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::File::open(format!("/proc/{}/status", self.child.id())).ok()?;
        let lines = BufReader::new(status).lines().map_while(Result::ok);
        let line = lines.into_iter().find(|line| line.starts_with("VmHWM:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks until something is there, or fails after `limit`. Polls the real thing, never sleeps blindly.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, ProcessError>,
) -> Result<T, ProcessError> {
    let started = Instant::now();
    loop {
        if let Some(found) = ask()? {
            return Ok(found);
        }
        if started.elapsed() > limit {
            return Err(ProcessError::Late(what.to_owned(), limit));
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// GET an address that answers JSON.
pub fn get(address: &str, path: &str) -> Result<Value, ProcessError> {
    let what = format!("GET {path}");
    let http =
        |error: ureq::Error| ProcessError::Http { what: what.clone(), why: error.to_string() };
    let mut response = agent().get(format!("http://{address}{path}")).call().map_err(http)?;
    let text = response.body_mut().read_to_string().map_err(http)?;
    serde_json::from_str(&text).map_err(|error| ProcessError::Answer(format!("{error}: {text}")))
}

/// POST JSON; the answer is the body whatever the status, with the status.
pub fn post(address: &str, path: &str, body: &Value) -> Result<(u16, Value), ProcessError> {
    let what = format!("POST {path}");
    let http =
        |error: ureq::Error| ProcessError::Http { what: what.clone(), why: error.to_string() };
    let mut response = agent()
        .post(format!("http://{address}{path}"))
        .content_type("application/json")
        .send(body.to_string())
        .map_err(http)?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(http)?;
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((status, value))
}

fn agent() -> ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    let make = || {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .new_agent()
    };
    AGENT.get_or_init(make).clone()
}
