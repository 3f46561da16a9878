//! `relay`: a bad network between an edge node and HQ, for as long as it runs.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tests::relay::{Conditions, Relay};

/// Passes one node's datagrams to HQ and back, as badly as told. Tell the node that HQ is here.
#[derive(Debug, Parser)]
#[command(name = "relay")]
struct Arguments {
    /// Where the node finds it.
    #[arg(long, default_value = "127.0.0.1:7421")]
    listen: SocketAddr,
    /// HQ's link.
    #[arg(long, default_value = "127.0.0.1:7420")]
    hq: SocketAddr,
    /// The addresses that HQ sees, in turn.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1")]
    outside: Vec<IpAddr>,
    /// One way, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// Up to so many more milliseconds, for each datagram anew.
    #[arg(long, default_value_t = 0)]
    jitter: u64,
    /// Of a thousand datagrams, how many are lost.
    #[arg(long, default_value_t = 0)]
    lost: u64,
    /// Of a thousand datagrams, how many come twice.
    #[arg(long, default_value_t = 0)]
    doubled: u64,
    /// In kbit/s.
    #[arg(long)]
    rate: Option<u64>,
    /// How long a datagram may wait for its turn, in milliseconds.
    #[arg(long, default_value_t = 600)]
    queue: u64,
    /// After how many milliseconds HQ sees another address.
    #[arg(long)]
    moves_every: Option<u64>,
    /// The link is up for so many milliseconds ...
    #[arg(long, requires = "every")]
    up: Option<u64>,
    /// ... in every so many.
    #[arg(long, requires = "up")]
    every: Option<u64>,
    /// What chance is made of.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after so many seconds.
    #[arg(long, default_value_t = 3_600)]
    seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let millis = Duration::from_millis;
    let conditions = Conditions {
        delay: millis(arguments.delay),
        jitter: millis(arguments.jitter),
        lost: arguments.lost,
        doubled: arguments.doubled,
        bits_per_second: arguments.rate.map(|rate| rate * 1_000),
        queue: millis(arguments.queue),
        moves_every: arguments.moves_every.map(millis),
        up: arguments.up.zip(arguments.every).map(|(up, every)| (millis(up), millis(every))),
        outside: arguments.outside,
    };
    let started = Relay::start_at(arguments.listen, arguments.hq, conditions, arguments.seed);
    let relay = match started {
        Ok(relay) => relay,
        Err(error) => {
            eprintln!("relay: can't listen at {}: {error}", arguments.listen);
            return ExitCode::FAILURE;
        }
    };
    println!("listening at {}", relay.address());
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        let (up, down, moves) = (relay.bytes_up(), relay.bytes_down(), relay.moves());
        println!("{up} bytes up, {down} bytes down, {moves} moves");
    }
    ExitCode::SUCCESS
}
