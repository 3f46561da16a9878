//! What arrives at HQ, step by step, and the text in which tests keep it. Knows no books.
//!
//! A kept history is a text file: lines that begin with `#` say what it once broke, `settle` is a
//! settle, and `run SITE RANK FIRST FACT...` is a run of facts, each its canonical bytes in hex.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use shared::fact::Fact;
use shared::fact::effective::LogRank;
use shared::fact::statement::{PeriodStep, Statement};
use shared::ids::{Seq, SiteNo};

use crate::model::Written;
use crate::random::Random;

/// One thing that the sequencer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Takes facts of one log that follow each other.
    Run {
        /// The site whose log it is; 0 is HQ.
        site: SiteNo,
        /// Ranks it among logs.
        rank: LogRank,
        /// The place of the first fact.
        first: Seq,
        /// The facts.
        facts: Vec<Fact>,
    },
    /// Folds dirty pools again.
    Settle,
}

impl Arrival {
    /// The facts with their places.
    pub fn written(&self) -> impl Iterator<Item = Written> {
        let (site, log, first, facts): (_, _, _, &[Fact]) = match self {
            Self::Run { site, rank, first, facts } => (*site, *rank, first.0, facts),
            Self::Settle => (SiteNo::HQ, LogRank(0), 0, &[]),
        };
        facts.iter().zip(first..).map(move |(fact, seq)| Written {
            site,
            log,
            seq: Seq(seq),
            fact: fact.clone(),
        })
    }

    fn to_line(&self) -> String {
        let Self::Run { site, rank, first, facts } = self else { return "settle".to_owned() };
        let mut line = format!("run {} {} {}", site.0, rank.0, first.0);
        for fact in facts {
            line.push(' ');
            for byte in fact.to_bytes() {
                write!(line, "{byte:02x}").expect("a text takes all");
            }
        }
        line
    }

    fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        if words.next()? == "settle" {
            return Some(Self::Settle);
        }
        Some(Self::Run {
            site: SiteNo(words.next()?.parse().ok()?),
            rank: LogRank(words.next()?.parse().ok()?),
            first: Seq(words.next()?.parse().ok()?),
            facts: words.map(fact).collect::<Option<_>>()?,
        })
    }
}

fn fact(hex: &str) -> Option<Fact> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    let mut rest = bytes.as_slice();
    let fact = Fact::decode(&mut rest).ok()?;
    rest.is_empty().then_some(fact)
}

/// The text of a history, to be kept.
pub fn to_text(arrivals: &[Arrival]) -> String {
    arrivals.iter().map(|each| each.to_line() + "\n").collect()
}

/// Whether HQ closes a month, so that postings go into other months than their own.
pub fn closes(arrivals: &[Arrival]) -> bool {
    let closes = |fact: &Fact| {
        let statement = Statement::parse(fact);
        matches!(statement, Ok(Statement::PeriodAction(action)) if action.step != PeriodStep::RunAverages)
    };
    arrivals.iter().flat_map(Arrival::written).any(|written| closes(&written.fact))
}

/// Every kept history by its file's name.
pub fn kept() -> Vec<(String, Vec<Arrival>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let files = fs::read_dir(folder).expect("the folder of kept histories");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (name(&path), read(&path))).collect()
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Vec<Arrival> {
    let text = fs::read_to_string(path).expect("a readable file");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| Arrival::from_line(line).expect("a line of a kept history")).collect()
}

/// The same arrivals in another order: each log's own order stays.
pub fn shuffled(arrivals: &[Arrival], random: &mut Random) -> Vec<Arrival> {
    let rank = |arrival: &Arrival| match arrival {
        Arrival::Run { rank, .. } => rank.0,
        Arrival::Settle => u64::MAX,
    };
    let mut ranks: Vec<u64> = arrivals.iter().map(rank).collect();
    random.shuffle(&mut ranks);
    let mut of_rank: Vec<_> =
        arrivals.iter().map(|arrival| Some((rank(arrival), arrival))).collect();
    let mut next = |rank: u64| {
        let found = of_rank.iter_mut().find(|held| held.is_some_and(|(of, _)| of == rank));
        found.and_then(Option::take).map(|(_, arrival)| arrival.clone())
    };
    ranks.into_iter().filter_map(&mut next).collect()
}

#[cfg(test)]
mod tests {
    use shared::fact::Kind;

    use super::*;

    #[test]
    fn a_kept_history_reads_back() {
        let facts = vec![Fact::new(Kind::Receipt), Fact::new(Kind::Payment)];
        let run = Arrival::Run { site: SiteNo(3), rank: LogRank(7), first: Seq(5), facts };
        let arrivals = [run, Arrival::Settle];
        let text = to_text(&arrivals);
        let read: Vec<_> = text.lines().filter_map(Arrival::from_line).collect();
        assert_eq!(read, arrivals);
        assert_eq!(arrivals[0].written().map(|each| each.seq.0).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn a_logs_own_order_stays() {
        let run = |rank, first| Arrival::Run {
            site: SiteNo(1),
            rank: LogRank(rank),
            first: Seq(first),
            facts: Vec::new(),
        };
        let arrivals: Vec<_> = (0..20).map(|number| run(number % 3, number)).collect();
        let other = shuffled(&arrivals, &mut Random::new(1));
        assert_ne!(other, arrivals);
        for rank in 0..3 {
            let of_rank = |all: &[Arrival]| -> Vec<Arrival> {
                let fits = |each: &&Arrival| matches!(each, Arrival::Run { rank: held, .. } if held.0 == rank);
                all.iter().filter(fits).cloned().collect()
            };
            assert_eq!(of_rank(&other), of_rank(&arrivals));
        }
    }
}
