//! Enrolment: a one-time code becomes this node's certificate, site and device number. Knows no
//! journal. Invariants: the secret is sent only to the HQ whose key the code names; an enrolment
//! that was interrupted can be asked for again with the same code.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use shared::segment::chain::Genesis;
use shared::sync::{
    AuthorityPin, Code, EnrolCode, EnrolRequest, Frame, Grant, NotACode, Refusal, SiteStock,
    VERSIONS,
};

use super::connect::{self, ConnectError, Connected};
use super::files::KeyFileError;
use super::frames::{Incoming, Outgoing};
use super::identity::{Enrolment, Identity, pin_of};
use super::profile::{Network, Terms};
use super::{Wall, tls};

/// How long the connection, and then the answer, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why this node is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The text is no code.
    #[error(transparent)]
    NotACode(#[from] NotACode),
    /// It is enrolled.
    #[error(
        "this node is enrolled already, as site {} ({}): for another site run `edge-node init` in an empty directory",
        .0.site, .0.site_name
    )]
    AlreadyEnrolled(Box<Enrolment>),
    /// HQ can't be reached.
    #[error(transparent)]
    Connect(ConnectError),
    /// HQ is another one than the code's.
    #[error(
        "the server at {0} is not the HQ that gave this code: the code was not sent; check the address (--hq HOST:PORT)"
    )]
    OtherHq(String),
    /// HQ never gave this code.
    #[error("{0}")]
    WrongCode(String),
    /// Another box used it.
    #[error("{0}")]
    CodeUsed(String),
    /// It is older than seven days.
    #[error("{0}")]
    CodeExpired(String),
    /// HQ has no such site.
    #[error("{0}")]
    UnknownSite(String),
    /// Another protocol.
    #[error("{0}")]
    WrongVersion(String),
    /// HQ refuses for another reason.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// The answer did not come.
    #[error(
        "the connection was lost before HQ's answer came ({0}): enrol again with the same code"
    )]
    Lost(String),
    /// The answer makes no sense.
    #[error(
        "HQ's answer can't be used ({0}): update the older program and enrol again with the same code"
    )]
    BadAnswer(String),
    /// The identity's files fail.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// What HQ gave.
    pub enrolment: Enrolment,
    /// What this node's log starts with.
    pub genesis: Genesis,
    /// How far this node's clock is ahead of HQ's, in milliseconds.
    pub clock_ahead_ms: i64,
}

/// Enrols this node with a one-time code at HQ's address, and keeps what HQ gives.
pub async fn enrol(
    identity: &mut Identity,
    code: &str,
    hq: &str,
    wall: &Wall,
) -> Result<Enrolled, EnrolError> {
    let code: EnrolCode = code.parse()?;
    if let Some(enrolment) = identity.enrolment() {
        return Err(EnrolError::AlreadyEnrolled(Box::new(enrolment.clone())));
    }
    let connected = connected(hq, code.pin, None).await.map_err(|error| match error {
        ConnectError::OtherHq { hq } => EnrolError::OtherHq(hq),
        ConnectError::Refused { code, text } => typed(Refusal::new(code, text)),
        error @ ConnectError::WrongVersion { .. } => EnrolError::WrongVersion(error.to_string()),
        error => EnrolError::Connect(error),
    })?;
    let request = EnrolRequest::new(
        VERSIONS,
        &code,
        identity.tls_request(),
        identity.genesis_random(),
        identity.log_key(),
    );
    let answer = ask(&connected.connection, Frame::Enrol(request)).await;
    connected.close(Code::LEAVING, "enrolled").await;
    let grant = match answer? {
        Frame::Enrolled(grant) => grant,
        frame => return Err(unexpected(&frame)),
    };
    let clock_ahead_ms = wall.now().0.saturating_sub(grant.time.0);
    check(&grant, &code)?;
    identity.enrolled(&grant, code.pin)?;
    let enrolment = identity.enrolment().expect("it was just written").clone();
    let genesis = identity.genesis().expect("it is enrolled");
    Ok(Enrolled { enrolment, genesis, clock_ahead_ms })
}

/// A connection for one question: nothing was measured yet, and nobody is there to try it again.
async fn connected(
    hq: &str,
    pin: AuthorityPin,
    identity: Option<&Identity>,
) -> Result<Connected, ConnectError> {
    let terms = Terms::new(&Network::default(), None, 1);
    let tally = Arc::default();
    let settings = tls::client(pin, identity, terms.wants_copies(), terms.transport(&tally))
        .map_err(|error| ConnectError::Local(error.to_string()))?;
    connect::connect(hq, &settings, PATIENCE, terms.care(&tally).as_ref()).await
}

/// Asks HQ what is on hand at this node's site.
pub async fn site_stock(identity: &Identity, hq: &str) -> Result<SiteStock, EnrolError> {
    let enrolment = identity.enrolment().expect("only a node that is enrolled asks");
    let connected =
        connected(hq, enrolment.pin, Some(identity)).await.map_err(EnrolError::Connect)?;
    let answer = ask(&connected.connection, Frame::AskStock).await;
    connected.close(Code::LEAVING, "asked").await;
    match answer? {
        Frame::Stock(signed) => {
            let own = signed.stock.site == enrolment.site;
            match signed.verify(&enrolment.hq_key) {
                Ok(()) if own => Ok(signed.stock),
                _ => Err(EnrolError::BadAnswer("a stock that HQ did not sign".to_owned())),
            }
        }
        frame => Err(unexpected(&frame)),
    }
}

/// One frame there, one back, in time; a refusal is an error.
pub(super) async fn ask(connection: &Connection, frame: Frame) -> Result<Frame, EnrolError> {
    let answered = tokio::time::timeout(PATIENCE, exchange(connection, frame)).await;
    answered.unwrap_or_else(|_| Err(EnrolError::Lost("no answer in time".to_owned())))
}

async fn exchange(connection: &Connection, frame: Frame) -> Result<Frame, EnrolError> {
    let lost = |error: &dyn std::error::Error| match connection.close_reason() {
        Some(reason) => match connect::refusal(&reason) {
            Some(ConnectError::Refused { code, text }) => typed(Refusal::new(code, text)),
            _ => EnrolError::Lost(reason.to_string()),
        },
        None => EnrolError::Lost(error.to_string()),
    };
    let (send, recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    Outgoing::new(send).only(frame).await.map_err(|error| lost(&error))?;
    match Incoming::new(recv).frame().await.map_err(|error| lost(&error))? {
        Ok(Some(Frame::Refuse(refusal))) => Err(typed(refusal)),
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(EnrolError::Lost("HQ ended the stream".to_owned())),
        Err(error) => Err(EnrolError::BadAnswer(error.to_string())),
    }
}

fn check(grant: &Grant, code: &EnrolCode) -> Result<(), EnrolError> {
    let authority = grant.authority.as_slice().into();
    let wrong = if grant.site != code.site {
        "another site than the code's"
    } else if pin_of(&authority) != Some(code.pin) {
        "another authority than the code's"
    } else if ed25519_dalek::VerifyingKey::from_bytes(&grant.hq_key).is_err() {
        "no key of HQ"
    } else {
        return Ok(());
    };
    Err(EnrolError::BadAnswer(wrong.to_owned()))
}

fn typed(refusal: Refusal) -> EnrolError {
    match refusal.code {
        Code::WRONG_CODE => EnrolError::WrongCode(refusal.text),
        Code::CODE_USED => EnrolError::CodeUsed(refusal.text),
        Code::CODE_EXPIRED => EnrolError::CodeExpired(refusal.text),
        Code::UNKNOWN_SITE => EnrolError::UnknownSite(refusal.text),
        Code::WRONG_VERSION => EnrolError::WrongVersion(refusal.text),
        _ => EnrolError::Refused(refusal),
    }
}

fn unexpected(frame: &Frame) -> EnrolError {
    EnrolError::BadAnswer(format!("a {} frame", frame.name()))
}
