//! The node's side of TLS. Knows no session. Invariants: HQ is whoever holds a key under
//! the pinned authority, whatever the node's clock says; no resumption and no early data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use quinn::rustls::client::{
    Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use quinn::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use quinn::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use quinn::rustls::server::ParsedCertificate;
use quinn::rustls::time_provider::TimeProvider;
use quinn::rustls::{
    self, CertificateError, DigitallySignedStruct, Error, SignatureScheme, version,
};
use quinn::{ClientConfig, TransportConfig};
use shared::sync::AuthorityPin;

use super::identity::{Identity, roots_of};

/// The protocol of enrolled nodes.
pub(super) const ALPN_SYNC: &[u8] = b"warebook/1";
/// The same, asking HQ to send its packets twice while there is room.
const ALPN_COPIES: &[u8] = b"warebook/1+copies";
/// The protocol of boxes with a one-time code.
pub(super) const ALPN_ENROL: &[u8] = b"warebook-enrol/1";

/// The name in HQ's certificate, wherever its address points.
pub(super) const SERVER_NAME: &str = "hq.warebook";

/// What a connection is set to, and whether HQ turned out to be another one.
pub(super) struct ClientSettings {
    pub(super) quic: ClientConfig,
    pub(super) is_other_hq: Arc<AtomicBool>,
}

/// Settings for a connection to the HQ behind `pin`, with this node's certificate if it syncs. An HQ that
/// sends nothing twice takes the protocol without it.
pub(super) fn client(
    pin: AuthorityPin,
    identity: Option<&Identity>,
    wants_copies: bool,
    transport: TransportConfig,
) -> Result<ClientSettings, Error> {
    let provider = Arc::new(ring::default_provider());
    let is_other_hq = Arc::new(AtomicBool::new(false));
    let verifier =
        PinVerifier { pin, provider: Arc::clone(&provider), is_other_hq: Arc::clone(&is_other_hq) };
    let builder = rustls::ClientConfig::builder_with_details(provider, Arc::new(FixedTime))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut tls = match identity.map(Identity::tls) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    let protocols: &[&[u8]] = match identity {
        None => &[ALPN_ENROL],
        Some(_) if wants_copies => &[ALPN_COPIES, ALPN_SYNC],
        Some(_) => &[ALPN_SYNC],
    };
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 has QUIC's first cipher");
    let mut quic = ClientConfig::new(Arc::new(crypto));
    quic.transport_config(Arc::new(transport));
    Ok(ClientSettings { quic, is_other_hq })
}

/// HQ's certificates are valid for ever, and a node's clock may say anything: TLS gets one time.
#[derive(Debug)]
struct FixedTime;

/// A time at which every certificate of the authority is valid.
pub(crate) const CERTIFICATE_TIME: UnixTime =
    UnixTime::since_unix_epoch(Duration::from_secs(1_767_225_600));

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(CERTIFICATE_TIME)
    }
}

/// Takes a server under the pinned authority and no other.
#[derive(Debug)]
struct PinVerifier {
    pin: AuthorityPin,
    provider: Arc<CryptoProvider>,
    is_other_hq: Arc<AtomicBool>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = roots_of(self.pin, intermediates) else {
            self.is_other_hq.store(true, Ordering::Release);
            return Err(CertificateError::UnknownIssuer.into());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        verify_server_name(&parsed, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC has no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
