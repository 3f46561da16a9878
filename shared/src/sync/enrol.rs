//! How a box without a certificate gets in: the one-time code, the request, the grant. Knows no
//! certificate format. Invariant: the code's secret goes only to the HQ whose key the code names,
//! and no private key is in any frame.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::frame::{Versions, read_chain, write_chain};
use super::limits;
use super::wire::{self, FrameError, Reader, Writer};
use crate::ids::{CompanyNo, DeviceNo, HistoryId, SiteNo};
use crate::segment::chain::Genesis;
use crate::segment::context::{self, BadSignature};
use crate::time::Timestamp;

/// The hash of HQ's authority key: what a code pins.
const PIN: &str = "warebook 2026-11 authority key";
/// A log key's signature under a request to enrol.
const REQUEST: &str = "warebook 2026-11 enrolment";
/// A log key's signature under an introduction.
const INTRODUCTION: &str = "warebook 2026-11 introduction";
/// The hash under which HQ keeps a code's secret.
const SECRET: &str = "warebook 2026-11 enrolment secret";

/// How many bytes of the hash a code carries: as hard to meet as a 160-bit hash.
const PIN_BYTES: usize = 20;

/// How many bytes a code's secret has.
pub const SECRET_BYTES: usize = 16;

/// Names HQ's certificate authority: the hash of its public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthorityPin(pub [u8; PIN_BYTES]);

impl AuthorityPin {
    /// The pin of an authority, by its subject public key info without the outer DER header, as
    /// trust anchors keep it.
    pub fn of(public_key_info: &[u8]) -> Self {
        let hash = context::hash(PIN, public_key_info);
        let (pin, _) = hash.split_first_chunk().expect("a hash is longer than a pin");
        Self(*pin)
    }
}

impl std::fmt::Display for AuthorityPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&base32::encode(&self.0))
    }
}

impl std::fmt::Debug for AuthorityPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthorityPin({self})")
    }
}

/// What an installation's certificate names it by: its only subject alternative name.
pub fn installation_uri(site: SiteNo, device: DeviceNo) -> String {
    format!("warebook://site/{site}/{device}")
}

/// The installation that a certificate names, in its one legal form.
pub fn installation_of(uri: &str) -> Option<(SiteNo, DeviceNo)> {
    let (site, device) = uri.strip_prefix("warebook://site/")?.split_once('/')?;
    let (site, device) = (SiteNo(site.parse().ok()?), DeviceNo(device.parse().ok()?));
    (installation_uri(site, device) == uri).then_some((site, device))
}

/// The secret of a one-time code. Neither printed nor kept at HQ, which keeps its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; SECRET_BYTES]);

impl Secret {
    /// What HQ keeps.
    pub fn hash(&self) -> [u8; 32] {
        context::hash(SECRET, &self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A one-time code: `wb1.<authority pin>.<site>.<secret>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrolCode {
    /// Which HQ may see the secret.
    pub pin: AuthorityPin,
    /// The site that the box will be.
    pub site: SiteNo,
    /// Proves that HQ gave the code.
    pub secret: Secret,
}

/// A text that is no one-time code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACode {
    /// Not of the form, or a character is missing.
    #[error(
        "this is not a one-time code: it reads wb1.KEY.SITE.SECRET, in one line; copy it again as `hq-server site add` printed it"
    )]
    BadForm,
    /// A form that this program does not know.
    #[error("this code is of a newer form: update edge-node, then enrol again")]
    NewerForm,
}

impl std::fmt::Display for EnrolCode {
    /// The code itself, secret included: for the one place where it is handed over.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "wb1.{}.{}.{}", self.pin, self.site, base32::encode(&self.secret.0))
    }
}

impl std::str::FromStr for EnrolCode {
    type Err = NotACode;

    fn from_str(text: &str) -> Result<Self, NotACode> {
        let text = text.trim().to_ascii_lowercase();
        let mut parts = text.split('.');
        match parts.next() {
            Some("wb1") => {}
            Some(form) if is_newer_form(form) => return Err(NotACode::NewerForm),
            _ => return Err(NotACode::BadForm),
        }
        let mut part = || parts.next().ok_or(NotACode::BadForm);
        let code = Self {
            pin: AuthorityPin(base32::decode(part()?).ok_or(NotACode::BadForm)?),
            site: SiteNo(part()?.parse().map_err(|_| NotACode::BadForm)?),
            secret: Secret(base32::decode(part()?).ok_or(NotACode::BadForm)?),
        };
        if parts.next().is_none() { Ok(code) } else { Err(NotACode::BadForm) }
    }
}

fn is_newer_form(form: &str) -> bool {
    form.strip_prefix("wb").is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What a box asks HQ for, over a connection on which HQ has proved the pinned key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRequest {
    /// The versions it speaks.
    pub versions: Versions,
    /// The site of the code.
    pub site: SiteNo,
    /// The secret of the code.
    pub secret: Secret,
    /// Request for a TLS certificate (PKCS #10, DER), signed with the TLS key.
    pub tls_request: Vec<u8>,
    /// The public key that will sign the box's log.
    pub log_key: [u8; 32],
    /// The random bytes of the log's genesis.
    pub genesis_random: [u8; 32],
    /// Made with the log key over all the others: the box holds that key.
    pub proof: [u8; 64],
}

impl EnrolRequest {
    /// A request with its proof.
    pub fn new(
        versions: Versions,
        code: &EnrolCode,
        tls_request: Vec<u8>,
        genesis_random: [u8; 32],
        log_key: &SigningKey,
    ) -> Self {
        let mut request = Self {
            versions,
            site: code.site,
            secret: code.secret,
            tls_request,
            log_key: log_key.verifying_key().to_bytes(),
            genesis_random,
            proof: [0; 64],
        };
        request.proof = context::sign(log_key, REQUEST, &request.content());
        request
    }

    /// Checks that whoever made the request holds the log key.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.log_key).map_err(|_| BadSignature)?;
        context::verify(&key, REQUEST, &self.content(), &self.proof)
    }

    fn write_content(&self, out: &mut Writer) {
        self.versions.write(out);
        out.unsigned(self.site);
        out.raw(&self.secret.0);
        out.bytes(&self.tls_request);
        out.raw(&self.log_key);
        out.raw(&self.genesis_random);
    }

    fn content(&self) -> Vec<u8> {
        wire::written(|out| self.write_content(out))
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.write_content(out);
        out.raw(&self.proof);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let versions = Versions::read_common(input)?;
        Ok(Self {
            versions,
            site: SiteNo(input.small("a site")?),
            secret: Secret(input.array()?),
            tls_request: input
                .bytes(limits::CERTIFICATE_BYTES_MAX, "a certificate request")?
                .to_vec(),
            log_key: input.array()?,
            genesis_random: input.array()?,
            proof: input.array()?,
        })
    }
}

/// What a box tells an HQ that let it in and does not know any more, over a connection that its
/// certificate opened. It asks for another certificate with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Request for a TLS certificate (PKCS #10, DER), made with a fresh key.
    pub tls_request: Vec<u8>,
    /// What the box's log begins with.
    pub genesis: Genesis,
    /// The company of its site.
    pub company: CompanyNo,
    /// The site's name.
    pub site_name: String,
    /// Made with the log key over all the others: the box holds that key.
    pub proof: [u8; 64],
}

impl Introduction {
    /// An introduction with its proof.
    pub fn new(
        tls_request: Vec<u8>,
        genesis: Genesis,
        company: CompanyNo,
        site_name: String,
        log_key: &SigningKey,
    ) -> Self {
        let mut made = Self { tls_request, genesis, company, site_name, proof: [0; 64] };
        made.proof = context::sign(log_key, INTRODUCTION, &made.content());
        made
    }

    /// Checks that whoever made it holds the log key.
    pub fn verify(&self) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.genesis.public_key).map_err(|_| BadSignature)?;
        context::verify(&key, INTRODUCTION, &self.content(), &self.proof)
    }

    fn write_content(&self, out: &mut Writer) {
        out.bytes(&self.tls_request);
        out.bytes(&self.genesis.encode());
        out.unsigned(self.company);
        out.bytes(self.site_name.as_bytes());
    }

    fn content(&self) -> Vec<u8> {
        wire::written(|out| self.write_content(out))
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.write_content(out);
        out.raw(&self.proof);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let tls_request = input.bytes(limits::CERTIFICATE_BYTES_MAX, "a certificate request")?;
        let tls_request = tls_request.to_vec();
        let genesis = input.bytes(GENESIS_BYTES_MAX, "a genesis record")?;
        let read = Genesis::decode(genesis).ok().filter(|read| read.encode() == genesis);
        Ok(Self {
            tls_request,
            genesis: read.ok_or(FrameError::BadValue("a genesis record"))?,
            company: CompanyNo(input.small("a company")?),
            site_name: input.text(NAME_BYTES_MAX, "a site's name")?,
            proof: input.array()?,
        })
    }
}

/// What HQ gives to a box that it lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The site that the box is now.
    pub site: SiteNo,
    /// The number of this installation: half of its capture ids.
    pub device: DeviceNo,
    /// The company that the site belongs to.
    pub company: CompanyNo,
    /// The site's name, for people.
    pub site_name: String,
    /// The box's certificate chain, its own first (DER).
    pub chain: Vec<Vec<u8>>,
    /// Until when the certificate is valid.
    pub valid_until: Timestamp,
    /// The certificate of HQ's authority (DER).
    pub authority: Vec<u8>,
    /// The key that signs HQ's acknowledgements and keyed state.
    pub hq_key: [u8; 32],
    /// The life of HQ's store.
    pub history: HistoryId,
    /// HQ's time.
    pub time: Timestamp,
}

/// The most bytes of a log's genesis record.
const GENESIS_BYTES_MAX: usize = 192;

/// The most bytes of a site's name.
pub const NAME_BYTES_MAX: usize = 200;

impl Grant {
    pub(super) fn write(&self, out: &mut Writer) {
        out.unsigned(self.site);
        out.unsigned(self.device);
        out.unsigned(self.company);
        out.bytes(self.site_name.as_bytes());
        write_chain(out, &self.chain);
        out.signed(self.valid_until.0);
        out.bytes(&self.authority);
        out.raw(&self.hq_key);
        out.raw(&self.history.0);
        out.signed(self.time.0);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            site: SiteNo(input.small("a site")?),
            device: DeviceNo(input.small("a device")?),
            company: CompanyNo(input.small("a company")?),
            site_name: input.text(NAME_BYTES_MAX, "a site's name")?,
            chain: read_chain(input)?,
            valid_until: Timestamp(input.signed()?),
            authority: input.bytes(limits::CERTIFICATE_BYTES_MAX, "a certificate")?.to_vec(),
            hq_key: input.array()?,
            history: HistoryId(input.array()?),
            time: Timestamp(input.signed()?),
        })
    }
}

/// RFC 4648 base32 in small letters without padding: what codes are written in.
mod base32 {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
        let (mut bits, mut held) = (0u32, 0u32);
        for byte in bytes {
            bits = (bits << 8 | u32::from(*byte)) & 0xfff;
            held += 8;
            while held >= 5 {
                held -= 5;
                text.push(char::from(LETTERS[(bits >> held & 31) as usize]));
            }
        }
        if held > 0 {
            text.push(char::from(LETTERS[(bits << (5 - held) & 31) as usize]));
        }
        text
    }

    /// The one text that `encode` makes of the result; `None` for any other.
    pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        let (mut bits, mut held) = (0u32, 0u32);
        let mut bytes = Vec::with_capacity(N);
        for letter in text.bytes() {
            let value = LETTERS.iter().position(|each| *each == letter)?;
            bits = (bits << 5 | u32::try_from(value).ok()?) & 0xfff;
            held += 5;
            if held >= 8 {
                held -= 8;
                bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            }
        }
        let bytes = <[u8; N]>::try_from(bytes).ok()?;
        (encode(&bytes) == text).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::VERSIONS;
    use super::*;

    fn code() -> EnrolCode {
        EnrolCode {
            pin: AuthorityPin::of(b"a key"),
            site: SiteNo(12),
            secret: Secret([0xa5; SECRET_BYTES]),
        }
    }

    #[test]
    fn codes_read_back_as_people_paste_them() {
        let text = code().to_string();
        assert_eq!(text.parse(), Ok(code()));
        assert_eq!(format!("  {}\n", text.to_ascii_uppercase()).parse(), Ok(code()));
    }

    #[test]
    fn other_texts_are_no_codes() {
        let text = code().to_string();
        let shorter = &text[..text.len() - 1];
        let longer = format!("{text}.x");
        let no_site = text.replace(".12.", "..");
        let letter = text.replace("wb1.", "wb1.1");
        for wrong in ["", "wb1", "wb1.a.1.b", shorter, &longer, &no_site, &letter, "hello.world"] {
            assert_eq!(wrong.parse::<EnrolCode>(), Err(NotACode::BadForm), "{wrong}");
        }
        assert_eq!("wb2.what.ever".parse::<EnrolCode>(), Err(NotACode::NewerForm));
    }

    #[test]
    fn base32_is_that_of_the_standard() {
        for (plain, text) in [("", ""), ("f", "my"), ("fo", "mzxq"), ("foobar", "mzxw6ytboi")] {
            assert_eq!(base32::encode(plain.as_bytes()), text);
        }
        assert_eq!(base32::decode("mzxq"), Some(*b"fo"));
        // The last letter's spare bits must be 0, so that a code has one form.
        assert_eq!(base32::decode::<2>("mzxr"), None);
    }

    #[test]
    fn a_request_is_proved_as_a_whole() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let request = EnrolRequest::new(VERSIONS, &code(), vec![1, 2, 3], [9; 32], &key);
        assert_eq!(request.verify(), Ok(()));
        let other = EnrolRequest { tls_request: vec![1, 2, 4], ..request.clone() };
        assert_eq!(other.verify(), Err(BadSignature));
        let other = EnrolRequest { site: SiteNo(13), ..request };
        assert_eq!(other.verify(), Err(BadSignature));
    }

    #[test]
    fn contexts_are_nobody_elses() {
        let own = [PIN, REQUEST, SECRET, INTRODUCTION];
        let all: std::collections::BTreeSet<_> = context::ALL.iter().chain(&own).collect();
        assert_eq!(all.len(), context::ALL.len() + own.len());
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", code()).contains("165"));
    }
}
