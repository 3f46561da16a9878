//! The server's side of TLS: which certificates are let in at the handshake. Knows no register: who a
//! certificate's owner is, and whether it still counts, is decided right after the handshake.
//! Invariant: no resumption and no early data, so that every connection passes both checks.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme, version,
};

use super::files::KeyFileError;
use super::{Authority, identity};

/// The protocol of enrolled nodes.
pub const ALPN_SYNC: &[u8] = b"warebook/1";
/// The same, of a node whose way loses many packets: it asks for copies.
pub const ALPN_COPIES: &[u8] = b"warebook/1+copies";
/// The protocol of boxes with a one-time code.
pub const ALPN_ENROL: &[u8] = b"warebook-enrol/1";

impl Authority {
    /// What QUIC serves with: a fresh server key under the authority's certificate.
    pub fn server_config(&self) -> Result<ServerConfig, KeyFileError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(self.shared.certifier.roots());
        let chain = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .expect("the authority is a root");
        let server = self.shared.certifier.server()?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(Arc::new(ChainVerifier { chain }))
            .with_single_cert(server.chain, server.key)
            .expect("the server's key was made for its certificate");
        tls.alpn_protocols = [ALPN_COPIES, ALPN_SYNC, ALPN_ENROL].map(<[u8]>::to_vec).into();
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.max_early_data_size = 0;
        let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 has QUIC's first cipher");
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.max_incoming(1_024);
        Ok(config)
    }

    /// What the endpoint starts with: after a restart of HQ, edges learn at once that their
    /// connections are gone.
    pub fn endpoint_config(&self) -> EndpointConfig {
        let secret = self.shared.hq_key.to_bytes();
        let reset_key = ResetKey(shared::segment::context::hash(RESET, &secret));
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        config.min_reset_interval(RESET_INTERVAL).cid_generator(|| Box::new(RandomIds));
        config
    }
}

/// The key of QUIC's stateless resets.
const RESET: &str = "warebook 2026-11 stateless reset";

/// A thousand sites learn within a second that HQ was started anew.
const RESET_INTERVAL: Duration = Duration::from_millis(1);

/// Lets in certificates of the authority, also expired ones, which may still be renewed. A box that
/// wants to enrol has none.
#[derive(Debug)]
struct ChainVerifier {
    chain: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for ChainVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (from, until) = identity::validity(end_entity)
            .filter(|(from, until)| from <= until)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let within = Duration::from_secs(now.as_secs().clamp(from, until));
        self.chain.verify_client_cert(end_entity, intermediates, UnixTime::since_unix_epoch(within))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Connection ids that an HQ started anew does not take for noise, so that it answers them with a
/// reset.
struct RandomIds;

const CONNECTION_ID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        getrandom::fill(&mut bytes).expect("the system gave random bytes for keys before");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Keyed BLAKE3 where QUIC asks for an HMAC.
struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let expected = blake3::keyed_hash(&self.0, data);
        // Comparing hashes of BLAKE3 takes the same time wherever they differ.
        let given = <[u8; 32]>::try_from(signature).map_err(|_| quinn::crypto::CryptoError)?;
        if expected == given { Ok(()) } else { Err(quinn::crypto::CryptoError) }
    }
}
