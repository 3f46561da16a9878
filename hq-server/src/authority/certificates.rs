//! HQ's certificates: the authority's own, the server's, and those of the sites' installations.
//! Knows no register and no connection. Invariant: a certificate names its site and device in
//! exactly one place, the URI `warebook://site/<site>/<device>`, and is never good for a server.
//!
//! The authority's and the server's certificates are valid for ever: nodes pin the authority's key
//! and their clocks may say anything. How long an installation's certificate is valid is checked
//! by HQ's clock alone.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use shared::sync::{AuthorityPin, installation_uri};
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::files::{self, KeyFileError};
use crate::gateway::store::Peer;

/// The name in the server's certificate; nodes ask for it wherever HQ's address points.
pub const SERVER_NAME: &str = "hq.warebook";

/// How long an installation's certificate is valid.
const DEVICE_DAYS: i32 = 730;

const AUTHORITY_CERTIFICATE: &str = "authority.pem";
const AUTHORITY_KEY: &str = "authority.key";

/// Signs certificates.
#[derive(Debug)]
pub(super) struct Certifier {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate that was made for an installation.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its own certificate first, then the authority's (DER).
    pub chain: Vec<Vec<u8>>,
    /// Its number.
    pub serial: [u8; 16],
    /// The hash of its public key.
    pub key_hash: [u8; 32],
    /// Until when it is valid.
    pub valid_until: Timestamp,
}

/// A request for a certificate that is not signed by its own key, or not readable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate request is no good: {0}")]
pub(super) struct BadRequest(String);

/// What HQ serves with.
#[derive(Debug)]
pub(super) struct ServerIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Certifier {
    /// Makes the authority's key and certificate.
    pub(super) fn create(directory: &Path) -> Result<(), KeyFileError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("ring makes Ed25519 keys");
        let mut params = named("Warebook authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.serial_number = Some(SerialNumber::from_slice(&serial()?));
        let certificate = params.self_signed(&key).expect("a valid key signs valid parameters");
        files::write_private(&directory.join(AUTHORITY_KEY), key.serialize_pem().as_bytes())?;
        files::write_private(&directory.join(AUTHORITY_CERTIFICATE), certificate.pem().as_bytes())
    }

    /// Reads the authority's key and certificate.
    pub(super) fn open(directory: &Path) -> Result<Self, KeyFileError> {
        let path = directory.join(AUTHORITY_KEY);
        let damaged = |why: String| KeyFileError::Damaged(path.clone(), why);
        let key =
            String::from_utf8(files::read(&path)?).map_err(|_| damaged("no text".to_owned()))?;
        let key = KeyPair::from_pem(&key).map_err(|error| damaged(error.to_string()))?;
        let path = directory.join(AUTHORITY_CERTIFICATE);
        let damaged = |why: String| KeyFileError::Damaged(path.clone(), why);
        let certificate = CertificateDer::from_pem_slice(&files::read(&path)?)
            .map_err(|error| damaged(error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Self { issuer, certificate })
    }

    /// The authority's certificate.
    pub(super) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A root store with the authority alone.
    pub(super) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("the authority's certificate is one");
        roots
    }

    /// What nodes pin.
    pub(super) fn pin(&self) -> AuthorityPin {
        AuthorityPin::of(&self.roots().roots[0].subject_public_key_info)
    }

    /// A fresh server key and certificate: made at every start, so that no file holds it.
    pub(super) fn server(&self) -> Result<ServerIdentity, KeyFileError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("ring makes Ed25519 keys");
        let mut params = named("Warebook HQ");
        params.subject_alt_names =
            vec![SanType::DnsName(SERVER_NAME.try_into().expect("a legal name"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial()?));
        let certificate =
            params.signed_by(&key, &self.issuer).expect("a valid key signs valid parameters");
        Ok(ServerIdentity {
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }

    /// A certificate for an installation. Of the request only the key counts, and that whoever
    /// made it holds that key.
    pub(super) fn issue(
        &self,
        peer: Peer,
        request: &[u8],
        now: Timestamp,
    ) -> Result<Issued, IssueError> {
        let bad = |error: rcgen::Error| BadRequest(error.to_string());
        let public_key =
            CertificateSigningRequestParams::from_der(&request.into()).map_err(bad)?.public_key;
        let serial = serial()?;
        let last_day = Day(now.day(OffsetMinutes(0)).0 + DEVICE_DAYS);
        let mut params = named(&format!("Warebook site {} device {}", peer.site, peer.device));
        let uri = installation_uri(peer.site, peer.device);
        params.subject_alt_names =
            vec![SanType::URI(uri.try_into().expect("a URI of digits and letters"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        expire(&mut params, last_day);
        let certificate = params.signed_by(&public_key, &self.issuer).map_err(bad)?;
        let leaf = super::identity::read(certificate.der()).expect("it was made just now");
        Ok(Issued {
            chain: vec![certificate.der().to_vec(), self.certificate.to_vec()],
            serial,
            key_hash: leaf.key_hash,
            valid_until: leaf.valid_until,
        })
    }
}

/// The hash of the key that signed a request for a certificate.
pub(super) fn key_hash(request: &[u8]) -> Result<[u8; 32], BadRequest> {
    let parsed = CertificateSigningRequestParams::from_der(&request.into())
        .map_err(|error| BadRequest(error.to_string()))?;
    Ok(super::identity::key_hash(&parsed.public_key.subject_public_key_info()))
}

/// The day on which a certificate was issued that is valid until then.
pub(super) fn issued_on(valid_until: Timestamp) -> Day {
    Day(valid_until.day(OffsetMinutes(0)).0 - DEVICE_DAYS)
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// The request is no good.
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] KeyFileError),
}

/// Parameters that are valid for ever.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params
}

fn expire(params: &mut CertificateParams, last_day: Day) {
    let (year, month, day) = last_day.civil();
    params.not_after = date_time_ymd(
        year.clamp(1970, 9999),
        u8::try_from(month).expect("a month has one or two digits"),
        u8::try_from(day).expect("a day has one or two digits"),
    );
}

fn serial() -> Result<[u8; 16], KeyFileError> {
    let mut serial: [u8; 16] = files::random()?;
    // A positive number without leading zeros, so that it has one form.
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}
