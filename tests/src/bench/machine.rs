//! What a figure was measured on: cores, kernel, disk, commit. Knows Linux's files about itself and
//! nothing of benchmarks.

use std::path::Path;
use std::process::Command;

/// Linux's own on this kind of machine.
const PAGE_BYTES: u64 = 4_096;

/// Where and with what figures come from.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores, processor, kernel, file system.
    pub text: String,
    /// The commit of the source, with `+` where files differ from it.
    pub commit: String,
}

impl Machine {
    /// This machine, with the file system under `folder`.
    pub fn here(folder: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let processor = first_value("/proc/cpuinfo", "model name");
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let text = format!(
            "{cores} cores {}, Linux {}, {}",
            processor.unwrap_or_else(|| "of an unknown kind".to_owned()),
            kernel.trim(),
            file_system(folder).unwrap_or_else(|| "unknown file system".to_owned()),
        );
        Self { text, commit: commit().unwrap_or_else(|| "none".to_owned()) }
    }
}

fn first_value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The file system that holds a folder: the longest mount point that it starts with.
fn file_system(folder: &Path) -> Option<String> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        folder.starts_with(at).then(|| (at.len(), kind.to_owned()))
    });
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let output = Command::new("git").arg("-C").arg(source).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|text| !text.is_empty());
    Some(if changed { commit + "+" } else { commit })
}

/// What of this process lies in memory now: the resident pages of `/proc/self/statm`.
pub fn resident_bytes() -> std::io::Result<u64> {
    resident_bytes_of(std::process::id())
}

/// What of a process lies in memory now.
pub fn resident_bytes_of(process: u32) -> std::io::Result<u64> {
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.unwrap_or(0) * PAGE_BYTES)
}

/// What the machine could still give, by `/proc/meminfo`.
pub fn available_bytes() -> u64 {
    let text = first_value("/proc/meminfo", "MemAvailable").unwrap_or_default();
    text.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Processor time of this process's threads of that name, those that have ended left out.
pub fn thread_nanoseconds(name: &str) -> std::io::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let thread = thread?.path();
        // A thread may end while we look.
        let Ok(called) = std::fs::read_to_string(thread.join("comm")) else { continue };
        let Ok(spent) = std::fs::read_to_string(thread.join("schedstat")) else { continue };
        if called.trim_end() == name {
            sum += spent.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}
