//! Enrolment at HQ: one request and one answer on a connection without a client certificate. Knows
//! no certificate format. Invariant: a certificate leaves only after the installation and its log
//! are known for good, so that a lost answer can be asked for again.

use quinn::Connection;
use shared::segment::chain::{FORMAT, Genesis};
use shared::sync::{Code, EnrolRequest, Frame, FrameError, Grant, Refusal, VERSIONS};

use super::link::{HANDSHAKE, Incoming, Outgoing, close};
use super::store::HqStore;
use crate::authority::{Authority, Redeemed};
use crate::clock::Clock;

/// Serves one box that wants in.
pub(super) async fn serve<S: HqStore>(
    connection: &Connection,
    authority: &Authority,
    store: &S,
    clock: &Clock,
) {
    let exchange = exchange(connection, authority, store, clock);
    if tokio::time::timeout(HANDSHAKE, exchange).await.is_err() {
        close(connection, &Refusal::new(Code::STALLED, "the enrolment took too long: try again"));
    }
}

async fn exchange<S: HqStore>(
    connection: &Connection,
    authority: &Authority,
    store: &S,
    clock: &Clock,
) {
    let Ok((send, recv)) = connection.accept_bi().await else { return };
    let from = connection.remote_address();
    let answer = match Incoming::new(recv).frame().await {
        Ok(Ok(Some(Frame::Enrol(request)))) => {
            match grant(request, authority, store, clock).await {
                Ok(grant) => {
                    tracing::info!(%from, site = %grant.site, device = %grant.device, "enrolled");
                    Frame::Enrolled(grant)
                }
                Err(refusal) => {
                    tracing::warn!(%from, code = %refusal.code, "enrolment refused: {}", refusal.text);
                    Frame::Refuse(refusal)
                }
            }
        }
        Ok(Ok(Some(frame))) => {
            let text = format!("a box that enrols sends an enrol frame, not {}", frame.name());
            Frame::Refuse(Refusal::new(Code::PROTOCOL, text))
        }
        Ok(Err(FrameError::OtherVersion(versions))) => {
            let text = format!(
                "HQ speaks protocol version {VERSIONS}, this node speaks {versions}: update the older program"
            );
            Frame::Refuse(Refusal::new(Code::WRONG_VERSION, text))
        }
        Ok(Err(error)) => Frame::Refuse(Refusal::new(
            Code::PROTOCOL,
            format!("HQ can't read the request: {error}"),
        )),
        Ok(Ok(None)) | Err(_) => return,
    };
    if Outgoing::new(send).last(answer).await.is_ok() {
        connection.closed().await;
    }
}

/// In this order: the code is used up for this installation, its log is known, its certificate is
/// made. Whatever was interrupted goes on where it was when the same box asks again.
async fn grant<S: HqStore>(
    request: EnrolRequest,
    authority: &Authority,
    store: &S,
    clock: &Clock,
) -> Result<Grant, Refusal> {
    let now = clock.now();
    let (redeemed, request) = blocking(authority, move |authority| {
        authority.redeem(&request, now).map(|redeemed| (redeemed, request))
    })
    .await?;
    let Redeemed { peer, company, site_name } = redeemed;
    let genesis = Genesis {
        format: FORMAT,
        site: peer.site,
        device: peer.device,
        random: request.genesis_random,
        public_key: request.log_key,
        predecessor: None,
    };
    store.register_log(peer, company, genesis).await?;
    let issued =
        blocking(authority, move |authority| authority.issue(peer, &request.tls_request, now))
            .await?;
    Ok(Grant {
        site: peer.site,
        device: peer.device,
        company,
        site_name,
        chain: issued.chain,
        valid_until: issued.valid_until,
        authority: authority.certificate().to_vec(),
        hq_key: store.hq_key(),
        history: store.history(),
        time: now,
    })
}

async fn blocking<T: Send + 'static>(
    authority: &Authority,
    work: impl FnOnce(&Authority) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let authority = authority.clone();
    tokio::task::spawn_blocking(move || work(&authority)).await.unwrap_or_else(|_| {
        Err(Refusal::new(
            Code::STORAGE,
            "HQ failed: try again later, and tell HQ to look at its log",
        ))
    })
}
