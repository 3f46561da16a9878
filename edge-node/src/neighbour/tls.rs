//! TLS between neighbours: both sides show the certificate that HQ gave them, and take whoever has
//! one of the same authority. Knows no directory: for whom a neighbour may carry is decided per
//! bundle. Invariant: a connection that comes out is to an installation of the pinned authority.
//!
//! Validity is not looked at: a node's clock may say anything, and what counts is signed by others.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::client::Resumption;
use quinn::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use quinn::rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use quinn::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use quinn::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use quinn::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use quinn::rustls::{
    self, CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    version,
};
use quinn::{ClientConfig, Connection, ServerConfig, TransportConfig, VarInt};
use shared::ids::{DeviceNo, SiteNo};
use shared::sync::{AuthorityPin, installation_of};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::link::{CERTIFICATE_TIME, Identity, roots_of};

/// The protocol between neighbours.
const ALPN: &[u8] = b"warebook-carry/1";

/// The name that is asked for, wherever an address points.
pub(super) const SERVER_NAME: &str = "neighbour.warebook";

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// How often an idle connection is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Settings for dialling a neighbour.
pub(super) fn client(pin: AuthorityPin, identity: &Identity) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(SameAuthority { pin, provider: Arc::clone(&provider) });
    let (chain, key) = identity.tls();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.resumption = Resumption::disabled();
    let crypto = QuicClientConfig::try_from(tls).expect("TLS 1.3 has QUIC's first cipher");
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(0)));
    Ok(config)
}

/// Settings for neighbours that dial.
pub(super) fn server(pin: AuthorityPin, identity: &Identity) -> Result<ServerConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(SameAuthority { pin, provider: Arc::clone(&provider) });
    let (chain, key) = identity.tls();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(tls).expect("TLS 1.3 has QUIC's first cipher");
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(1)));
    config.max_incoming(64);
    Ok(config)
}

fn transport(streams: u8) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IDLE.try_into().expect("60 seconds are a legal time-out");
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        .receive_window(VarInt::from_u32(512 * 1024))
        .send_window(512 * 1024)
        .max_concurrent_bidi_streams(VarInt::from_u32(streams.into()))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}

/// The installation at the other end; `None` for a certificate that names none.
pub(super) fn peer(connection: &Connection) -> Option<(SiteNo, DeviceNo)> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    match leaf.subject_alternative_name().ok()??.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => installation_of(uri),
        _ => None,
    }
}

/// Takes certificates for installations under the pinned authority, on either side: they are good
/// for TLS clients, and a neighbour that listens is no other kind of thing.
#[derive(Debug)]
struct SameAuthority {
    pin: AuthorityPin,
    provider: Arc<CryptoProvider>,
}

impl SameAuthority {
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<ClientCertVerified, Error> {
        let unknown = || Error::from(CertificateError::UnknownIssuer);
        let roots = roots_of(self.pin, intermediates).ok_or_else(unknown)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&self.provider));
        let verifier = verifier.build().map_err(|_| unknown())?;
        verifier.verify_client_cert(leaf, intermediates, CERTIFICATE_TIME)
    }

    fn check_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, algorithms)
    }
}

fn no_tls12() -> Error {
    Error::General("QUIC has no TLS 1.2".to_owned())
}

impl ServerCertVerifier for SameAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for SameAuthority {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
