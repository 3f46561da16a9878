//! A QUIC client that is not ours: takes any server, would resume sessions and send early data.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme, version};
use shared::sync::Code;

use super::fakes::PATIENCE;

pub(crate) struct Stranger {
    tls: rustls::ClientConfig,
    endpoint: Endpoint,
}

/// With the certificate of a node's directory.
pub(crate) fn with_identity(directory: &Path) -> Stranger {
    let text = std::fs::read(directory.join("tls.pem")).expect("an enrolled node");
    let key = PrivateKeyDer::from_pem_slice(&text).expect("a key");
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().expect("a chain");
    stranger(Some((chain, key)))
}

/// Without a certificate.
pub(crate) fn without_identity() -> Stranger {
    stranger(None)
}

fn stranger(identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>) -> Stranger {
    let provider = Arc::new(ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&version::TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut tls = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a key"),
        None => builder.with_no_client_auth(),
    };
    tls.enable_early_data = true;
    tls.alpn_protocols = vec![b"warebook/1".to_vec()];
    let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket");
    Stranger { tls, endpoint }
}

impl Stranger {
    /// Speaks another protocol.
    pub(crate) fn speaking(mut self, protocol: &[u8]) -> Self {
        self.tls.alpn_protocols = vec![protocol.to_vec()];
        self
    }

    fn connecting(&self, hq: SocketAddr) -> quinn::Connecting {
        let crypto = QuicClientConfig::try_from(self.tls.clone()).expect("TLS 1.3");
        let config = ClientConfig::new(Arc::new(crypto));
        self.endpoint.connect_with(config, hq, "hq.warebook").expect("a local address")
    }

    /// A connection that HQ keeps, or the code it is closed with.
    ///
    /// A client is done with its handshake before the server has looked at its certificate, so the
    /// answer to a ping of the session decides.
    pub(crate) async fn connect(&self, hq: SocketAddr) -> Result<Connection, Code> {
        let code = |error: &ConnectionError| match error {
            ConnectionError::ApplicationClosed(close) => {
                Code(u32::try_from(close.error_code.into_inner()).expect("a code"))
            }
            _ => Code(0),
        };
        let attempt = async {
            let connection = self.connecting(hq).await.map_err(|error| code(&error))?;
            let closed = || code(&connection.close_reason().expect("it is closed"));
            let (mut send, mut recv) = connection.open_bi().await.map_err(|error| code(&error))?;
            // No such frame: HQ answers with a refusal if it reads at all.
            send.write_all(&[1, 99]).await.map_err(|_| closed())?;
            let mut first = [0; 1];
            recv.read_exact(&mut first).await.map_err(|_| closed())?;
            Ok(connection)
        };
        tokio::time::timeout(PATIENCE, attempt).await.expect("in time")
    }

    /// A connection, whatever HQ makes of it.
    pub(crate) async fn dial(&self, hq: SocketAddr) -> Connection {
        let connection = tokio::time::timeout(PATIENCE, self.connecting(hq)).await;
        connection.expect("in time").expect("a handshake")
    }

    /// Whether an earlier connection left something to send early data with.
    pub(crate) fn has_early_data(&self, hq: SocketAddr) -> bool {
        self.connecting(hq).into_0rtt().is_ok()
    }
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("no TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
