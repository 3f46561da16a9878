//! Three network namespaces of this machine: an edge node's, HQ's, and one between them where a relay
//! runs. Needs root, `ip` of iproute2 and `setpriv` of util-linux. Invariant: nothing that runs in them reaches
//! anything but each other, and they are gone when this is, or, where this was killed, with the next
//! that are made.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::processes::{Place, ProcessError};

/// Where the node's address is; the relay has 198.18.1.1. The range is set aside for benchmarks.
pub const EDGE: [&str; 2] = ["198.18.1.2", "198.18.1.3"];
/// Where the node finds HQ: at the relay.
pub const RELAY: &str = "198.18.1.1:7420";
/// What HQ sees of the node: the relay's other side.
pub const OUTSIDE: &str = "198.18.2.1,198.18.2.3,198.18.2.4";
/// Where HQ is.
pub const HQ: &str = "198.18.2.2:7420";

/// See the module.
#[derive(Debug)]
pub struct Namespaces {
    name: String,
}

impl Namespaces {
    /// As [`Self::make`]; nothing where this machine makes none and nobody requires them
    /// (`WAREBOOK_NAMESPACES`): then it is said that the test `name` is skipped.
    pub fn make_or_skip(name: &str) -> Result<Option<Self>, ProcessError> {
        match Self::make(name) {
            Ok(made) => Ok(Some(made)),
            Err(error) if std::env::var_os("WAREBOOK_NAMESPACES").is_none() => {
                eprintln!("{name}: skipped, for this machine makes no network namespaces: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes them; `name` tells those of one test from those of another.
    fn make(name: &str) -> Result<Self, ProcessError> {
        sweep()?;
        let made = Self { name: format!("warebook-{}-{name}", std::process::id()) };
        let (edge, between, hq) = (made.name("edge"), made.name("between"), made.name("hq"));
        for namespace in [&edge, &between, &hq] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        for (outer, link, peer) in [(&edge, "to-edge", "to-relay"), (&hq, "to-hq", "to-relay")] {
            let pair = ["-n", &between, "link", "add", link, "type", "veth"];
            ip(&[&pair[..], &["peer", "name", peer, "netns", outer]].concat())?;
        }
        let address = |namespace: &str, link, address: &str| {
            ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", link])
        };
        address(&edge, "to-relay", EDGE[0])?;
        address(&hq, "to-relay", "198.18.2.2")?;
        address(&between, "to-edge", "198.18.1.1")?;
        for outside in OUTSIDE.split(',') {
            address(&between, "to-hq", outside)?;
        }
        for (namespace, link) in
            [(&edge, "to-relay"), (&hq, "to-relay"), (&between, "to-edge"), (&between, "to-hq")]
        {
            ip(&["-n", namespace, "link", "set", link, "up"])?;
        }
        Ok(made)
    }

    /// Where the node runs.
    pub fn edge(&self) -> Place {
        Place::namespace(&self.name("edge"))
    }

    /// Where the relay runs.
    pub fn between(&self) -> Place {
        Place::namespace(&self.name("between"))
    }

    /// Where HQ runs.
    pub fn hq(&self) -> Place {
        Place::namespace(&self.name("hq"))
    }

    /// The node's machine gets another address and loses the one it had.
    pub fn move_edge(&self, from: &str, to: &str) -> Result<(), ProcessError> {
        // The old one first: an address that came second goes with it.
        let edge = self.name("edge");
        ip(&["-n", &edge, "addr", "del", &format!("{from}/24"), "dev", "to-relay"])?;
        ip(&["-n", &edge, "addr", "add", &format!("{to}/24"), "dev", "to-relay"])
    }

    /// The node's machine loses its network.
    pub fn silence_edge(&self) -> Result<(), ProcessError> {
        ip(&["-n", &self.name("edge"), "link", "set", "to-relay", "down"])
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for part in ["edge", "between", "hq"] {
            // One that was not made can't be deleted.
            drop(ip(&["netns", "del", &self.name(part)]));
        }
    }
}

/// Deletes what processes left that were killed. Nothing runs there any more.
fn sweep() -> Result<(), ProcessError> {
    let listed = Command::new("ip").args(["netns", "list"]).stdin(Stdio::null()).output()?;
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let maker = name.strip_prefix("warebook-").and_then(|rest| rest.split('-').next());
        let maker = maker.and_then(|id| id.parse::<u32>().ok());
        let is_left = maker.is_some_and(|id| !Path::new("/proc").join(id.to_string()).exists());
        if is_left {
            // Another test may be sweeping, too.
            drop(ip(&["netns", "del", name]));
        }
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), ProcessError> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(ProcessError::Failed {
        command: format!("ip {}", arguments.join(" ")),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
