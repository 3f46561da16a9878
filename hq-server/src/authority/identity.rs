//! Whose certificate it is: site, device, number, key, validity. Knows no register: whether it
//! still counts is decided there. Invariant: a certificate with anything unexpected in these
//! places names nobody.

use shared::sync::installation_of;
use shared::time::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::gateway::store::Peer;

/// The hash of a certificate's public key.
const KEY: &str = "warebook 2026-11 installation key";

/// What counts in an installation's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) peer: Peer,
    pub(super) serial: [u8; 16],
    pub(super) key_hash: [u8; 32],
    pub(super) valid_until: Timestamp,
}

/// Reads an installation's certificate; `None` for any other.
pub(super) fn read(certificate: &[u8]) -> Option<Leaf> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = parsed.validity().not_after.timestamp();
    rest.is_empty().then_some(())?;
    Some(Leaf {
        peer: peer(&parsed)?,
        serial: parsed.raw_serial().try_into().ok()?,
        key_hash: key_hash(parsed.public_key().raw),
        valid_until: Timestamp(seconds.saturating_mul(1_000)),
    })
}

/// Names a public key, by its subject public key info (DER).
pub(super) fn key_hash(public_key_info: &[u8]) -> [u8; 32] {
    shared::segment::context::hash(KEY, public_key_info)
}

fn peer(certificate: &X509Certificate<'_>) -> Option<Peer> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    match names.as_slice() {
        [GeneralName::URI(uri)] => installation_of(uri).map(|(site, device)| Peer { site, device }),
        _ => None,
    }
}

/// From when until when any certificate is valid, in seconds since 1970.
pub(super) fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let second = |at: x509_parser::time::ASN1Time| u64::try_from(at.timestamp()).unwrap_or(0);
    Some((second(parsed.validity().not_before), second(parsed.validity().not_after)))
}
