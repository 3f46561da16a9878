//! Finding HQ: name, address, handshake. Knows no frame. Invariant: a connection that comes out is
//! to the pinned HQ.

use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{ApplicationClose, Connection, ConnectionError, Endpoint};
use shared::sync::Code;
use tokio::task::JoinSet;

use super::socket::{Copies, copying_endpoint};
use super::tls::{ClientSettings, SERVER_NAME};

/// The port where HQ listens unless the address says another.
pub const DEFAULT_PORT: u16 = 7420;

/// The most handshakes under way at a time.
const HANDSHAKES_MAX: usize = 4;

/// The caller's patience ends sooner.
const ENDLESS: Duration = Duration::from_secs(3_600);

/// TLS's alert for "no protocol in common", as QUIC carries it.
const NO_COMMON_PROTOCOL: u64 = 0x100 + 120;

/// Why there is no connection to HQ.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address says nothing.
    #[error(
        "HQ's address '{hq}' leads nowhere ({why}): write HOST:PORT, and check the name and the network"
    )]
    NoAddress {
        /// As configured.
        hq: String,
        /// What the resolver says.
        why: String,
    },
    /// No answer.
    #[error(
        "HQ at {hq} does not answer ({why}): check the network, the address, and that UDP port {port} is open"
    )]
    Unreachable {
        /// As configured.
        hq: String,
        /// The port tried.
        port: u16,
        /// What happened.
        why: String,
    },
    /// Somebody else answers.
    #[error(
        "the server at {hq} is not this node's HQ (another key): nothing was sent; check the address, or enrol with a code of that HQ"
    )]
    OtherHq {
        /// As configured.
        hq: String,
    },
    /// HQ speaks no protocol that this program knows.
    #[error(
        "HQ at {hq} speaks another version of the protocol: update the older program; nothing is lost meanwhile"
    )]
    WrongVersion {
        /// As configured.
        hq: String,
    },
    /// HQ closed the connection and said why.
    #[error("{text}")]
    Refused {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        text: String,
    },
    /// This machine can't.
    #[error("this machine can't open a connection: {0}")]
    Local(String),
}

/// A connection with the socket that carries it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: Connection,
    endpoint: Endpoint,
}

impl Connected {
    /// Closes and gives the last packets a moment to leave.
    pub(super) async fn close(self, code: Code, text: &str) {
        self.connection.close(code.0.into(), text.as_bytes());
        let _ = tokio::time::timeout(Duration::from_millis(500), self.endpoint.wait_idle()).await;
    }
}

/// What is done where packets get lost.
#[derive(Debug)]
pub(super) struct Care {
    /// How many handshakes begin at once.
    pub(super) first: usize,
    /// After how long without an answer another handshake is begun beside the first ones.
    pub(super) again: Duration,
    /// What leaves twice.
    pub(super) copies: Copies,
}

/// Connects to HQ at `hq` ("host:port" or "host"), each of its addresses in turn, for at most
/// `timeout` each. Where packets get lost (`care`), they leave twice while there is room, and another
/// handshake is begun beside those under way every so often; the first to succeed counts.
pub(super) async fn connect(
    hq: &str,
    settings: &ClientSettings,
    timeout: Duration,
    care: Option<&Care>,
) -> Result<Connected, ConnectError> {
    let addresses = resolve(hq, DEFAULT_PORT).await;
    let addresses = addresses.map_err(|error| no_address(hq, &error.to_string()))?;
    let mut last = None;
    for address in addresses {
        let attempt = attempt(hq, address, settings, care);
        match tokio::time::timeout(timeout, attempt).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error @ (ConnectError::Unreachable { .. } | ConnectError::Local(_)))) => {
                last = Some(error);
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let why = format!("no answer within {} s", timeout.as_secs().max(1));
                last = Some(unreachable(hq, address, why));
            }
        }
    }
    Err(last.unwrap_or_else(|| no_address(hq, "no address")))
}

/// The addresses of "host:port" or "host".
pub(crate) async fn resolve(host: &str, default_port: u16) -> io::Result<Vec<SocketAddr>> {
    let has_port = host.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port {
        return Ok(tokio::net::lookup_host(host).await?.collect());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(tokio::net::lookup_host((host, default_port)).await?.collect())
}

async fn attempt(
    hq: &str,
    address: SocketAddr,
    settings: &ClientSettings,
    care: Option<&Care>,
) -> Result<Connected, ConnectError> {
    let local = |error: &dyn std::error::Error| ConnectError::Local(error.to_string());
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let any = SocketAddr::new(any, 0);
    let endpoint = match care {
        Some(care) => copying_endpoint(any, &care.copies),
        None => Endpoint::client(any),
    };
    let endpoint = endpoint.map_err(|error: io::Error| local(&error))?;
    let (again, mut begins) = care.map_or((ENDLESS, 1), |care| (care.again, care.first));
    let mut handshakes = JoinSet::new();
    // Of those that are given up HQ may take one for done. Nothing is said there, so that it comes in the
    // way of none.
    let connection = loop {
        for _ in handshakes.len()..HANDSHAKES_MAX.min(handshakes.len() + begins) {
            let connecting = endpoint
                .connect_with(settings.quic.clone(), address, SERVER_NAME)
                .map_err(|error| local(&error))?;
            handshakes.spawn(connecting.into_future());
        }
        begins = 1;
        let done = tokio::time::timeout(again, handshakes.join_next()).await;
        match done {
            Ok(Some(Ok(Ok(connection)))) => break connection,
            Ok(Some(Ok(Err(_)))) if settings.is_other_hq.load(Ordering::Acquire) => {
                return Err(ConnectError::OtherHq { hq: hq.to_owned() });
            }
            Ok(Some(Ok(Err(error)))) => return Err(failed(hq, address, &error)),
            Ok(Some(Err(fault))) => return Err(local(&fault)),
            Ok(None) | Err(_) => {}
        }
    };
    Ok(Connected { connection, endpoint })
}

fn failed(hq: &str, address: SocketAddr, error: &ConnectionError) -> ConnectError {
    if let Some(refused) = refusal(error) {
        return refused;
    }
    match error {
        ConnectionError::ConnectionClosed(close)
            if u64::from(close.error_code) == NO_COMMON_PROTOCOL =>
        {
            ConnectError::WrongVersion { hq: hq.to_owned() }
        }
        error => unreachable(hq, address, error.to_string()),
    }
}

/// What HQ said when it closed the connection, if it did.
pub(super) fn refusal(error: &ConnectionError) -> Option<ConnectError> {
    let ConnectionError::ApplicationClosed(ApplicationClose { error_code, reason }) = error else {
        return None;
    };
    let code = Code(u32::try_from(error_code.into_inner()).unwrap_or(Code::PROTOCOL.0));
    Some(ConnectError::Refused { code, text: String::from_utf8_lossy(reason).into_owned() })
}

fn unreachable(hq: &str, address: SocketAddr, why: String) -> ConnectError {
    ConnectError::Unreachable { hq: hq.to_owned(), port: address.port(), why }
}

fn no_address(hq: &str, why: &str) -> ConnectError {
    ConnectError::NoAddress { hq: hq.to_owned(), why: why.to_owned() }
}
