//! From the answer to a keeper to the figure on HQ's page, with real processes on loopback. Knows
//! only what a user knows: commands, addresses, HTTP. Invariant: a movement counts as seen when an
//! event of the stream says that its place in its log is posted.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::figure::{Durations, Figure};
use super::{BenchError, Outcome, Settings, Within};
use crate::demo::stage::{EdgeNode, Headquarters};
use crate::processes::{self, ProcessError, Running, wait_for};
use crate::random::Random;

/// Movements before the clock runs.
const WARM: u64 = 30;
/// Movements for five seconds of measuring.
const MOVEMENTS: u64 = 400;
/// The page gets no fragments faster than this: the next movement comes after it, for what is
/// measured is one movement and not a queue.
const PAUSE: Duration = Duration::from_millis(110);
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the benchmark.
pub fn run(settings: &Settings) -> Outcome {
    let folder = settings.scratch()?;
    settings.say("latency: starting HQ and one edge node as processes");
    let stage = Stage::set(folder.path())?;
    let positions = Stream::open(&stage.hq.api, "/events")?;
    let page = Stream::open(&stage.hq.api, "/events/dashboard")?;
    let count = MOVEMENTS * u64::try_from(settings.measure.as_millis()).unwrap_or(u64::MAX) / 5_000;
    settings.say(&format!("latency: {} single movements", count.max(1)));
    let mut measured = Measured::default();
    let mut random = Random::new(1);
    for number in 0..WARM + count.max(1) {
        let seen = stage.record(number, &mut random, &positions, &page)?;
        if number >= WARM {
            measured.add(&seen);
        }
        // Neither in step with any timer of the two programs, nor in a queue of fragments.
        std::thread::park_timeout(PAUSE + Duration::from_micros(random.below(20_000)));
    }
    Ok(measured.figures())
}

/// When what was known of one movement.
struct Seen {
    asked: Instant,
    answered: Instant,
    posted: Instant,
    shown: Instant,
}

#[derive(Default)]
struct Measured {
    answer: Durations,
    posted: Durations,
    shown: Durations,
    asked_to_posted: Durations,
}

impl Measured {
    fn add(&mut self, seen: &Seen) {
        self.answer.add(seen.answered - seen.asked);
        // HQ may be faster than the node's answer on its way back.
        self.posted.add(seen.posted.saturating_duration_since(seen.answered));
        self.shown.add(seen.shown.saturating_duration_since(seen.answered));
        self.asked_to_posted.add(seen.posted - seen.asked);
    }

    fn figures(self) -> Vec<Figure> {
        let Self { answer, posted, shown, asked_to_posted } = self;
        let mut figures = vec![Figure::count("movements", answer.count(), "")];
        let stages = [
            ("request to answer", answer, None),
            ("answer to the live stream", posted, Some(10.0)),
            ("request to the live stream", asked_to_posted, None),
            ("answer to the page's fragment", shown, None),
        ];
        for (name, mut durations, aim) in stages {
            figures.push(Figure::new(format!("{name}, p50"), durations.milliseconds(500), "ms"));
            let p99 = Figure::new(format!("{name}, p99"), durations.milliseconds(990), "ms");
            figures.push(aim.map_or(p99.clone(), |aim| p99.at_most(aim)));
        }
        figures
    }
}

/// HQ and one node, no relay between them.
struct Stage {
    hq: Headquarters,
    _node: Running,
    api: String,
}

impl Stage {
    fn set(root: &Path) -> Result<Self, BenchError> {
        let init = ["--company", "BENCH", "--name", "Bench", "--currency", "CNY"];
        let hq = Headquarters::start(&root.join("hq"), &init)?;
        for (code, name, cost) in [("PEN", "Pen", "3.20"), ("INK", "Ink", "41")] {
            hq.command(&["item", "add", code, name, "--unit", "EA", "--cost", cost])?;
        }
        hq.command(&["partner", "add", "BUYER", "Buyer", "--customer", "--supplier"])?;
        let code = hq.add_site("S1", "Site 1")?;
        let data = root.join("edge");
        let data_text = data
            .to_str()
            .ok_or_else(|| ProcessError::Answer("the folder's name is not UTF-8".to_owned()))?;
        let address = hq.link.to_string();
        processes::run(
            "edge-node",
            &["--data", data_text, "init", "--hq", &address, "--zone", "Asia/Shanghai"],
        )?;
        processes::run("edge-node", &["--data", data_text, "enrol", &code])?;
        let (node, api) = EdgeNode::run(&data)?;
        wait_for("the catalogue to arrive", PATIENCE, || {
            Ok((processes::get(&api, "/v1/status")?["items"].as_u64() >= Some(2)).then_some(()))
        })?;
        Ok(Self { hq, _node: node, api })
    }

    /// Records one movement and waits until both streams show it.
    fn record(
        &self,
        number: u64,
        random: &mut Random,
        positions: &Stream,
        page: &Stream,
    ) -> Result<Seen, BenchError> {
        let kind = if number.is_multiple_of(3) { "receipt" } else { "sale_issue" };
        let body = json!({
            "key": format!("bench-{number}"),
            "lines": [{
                "kind": kind, "item": random.pick(&["PEN", "INK"]),
                "quantity": (1 + random.below(9)).to_string(), "price": "4.10",
                "partner": "BUYER",
            }],
        });
        let asked = Instant::now();
        let (code, answer) = processes::post(&self.api, "/v1/movements", &body)?;
        let answered = Instant::now();
        let capture = answer["captures"][0].as_str().filter(|_| code < 300);
        let capture = capture.ok_or_else(|| ProcessError::Answer(format!("{code}: {answer}")))?;
        let counter = capture.rsplit('-').next().and_then(|text| text.parse::<u64>().ok());
        let counter = counter.ok_or_else(|| ProcessError::Answer(capture.to_owned()))?;
        let (posted, position) = positions.wait("posted", |event| event.has_posted(counter))?;
        let (shown, ()) = page.wait("on the page", |event| (event.id >= position).then_some(()))?;
        Ok(Seen { asked, answered, posted, shown })
    }
}

/// One event of a stream.
struct Event {
    at: Instant,
    id: u64,
    data: String,
}

impl Event {
    /// The place in the sequence, if a site's log is posted so far.
    fn has_posted(&self, seq: u64) -> Option<u64> {
        let posted: Value = serde_json::from_str(&self.data).ok()?;
        let sites = posted["sites"].as_array()?;
        // HQ's own log has site 0.
        let reached =
            |site: &Value| site["site"].as_u64() != Some(0) && site["seq"].as_u64() >= Some(seq);
        sites.iter().any(reached).then_some(self.id)
    }
}

/// A stream of server-sent events, read by a thread as they come.
struct Stream {
    events: Receiver<Event>,
}

impl Stream {
    fn open(address: &str, path: &str) -> Result<Self, BenchError> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n"
        )?;
        let mut lines = BufReader::with_capacity(1 << 16, socket).lines();
        let status = lines.next().transpose()?.unwrap_or_default();
        if !status.contains(" 200 ") {
            return Err(ProcessError::Answer(format!("GET {path}: {status}")).into());
        }
        let (to, events) = channel();
        std::thread::spawn(move || {
            let (mut id, mut data) = (0, String::new());
            // Lengths of chunks stand on lines of their own, and are no field of an event.
            for line in lines.map_while(Result::ok) {
                if let Some(text) = line.strip_prefix("id:") {
                    id = text.trim().parse().unwrap_or(0);
                } else if let Some(text) = line.strip_prefix("data:") {
                    data.push_str(text.trim_start());
                } else if line.is_empty() && !data.is_empty() {
                    let event = Event { at: Instant::now(), id, data: std::mem::take(&mut data) };
                    if to.send(event).is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Self { events })
    }

    /// When the first event came that is what is wanted, and what was found in it.
    fn wait<T>(
        &self,
        what: &'static str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> Result<(Instant, T), BenchError> {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => {
                    if let Some(found) = wanted(&event) {
                        return Ok((event.at, found));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(ProcessError::Late(what.to_owned(), PATIENCE).into());
                }
                Err(error) => return Err(error).within("reading the live stream"),
            }
        }
    }
}
