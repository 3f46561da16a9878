//! Who this node is: its keys, and what HQ gave it. Knows no connection. Invariants: keys are made
//! here and leave no file; the TLS key and the log key are two; a node is enrolled exactly when
//! its enrolment file is there, which is written last; a journal that was made is noted here
//! before its first fact, so that no second one is ever begun under the same keys.
//!
//! ```text
//! identity/log.key              signs the log's seals (hex, 32 bytes)
//! identity/genesis.random       makes the log's id its own (hex, 32 bytes)
//! identity/tls.pem              TLS key and, once enrolled, the certificate chain
//! identity/enrolment.toml       site, device, company, HQ's keys
//! identity/journal.id           the log whose journal was made (hex, 32 bytes)
//! identity/journal.predecessor  the file of the journal it goes on from, after a restore or a fork
//! identity/rebuilding           the journal is to begin with the stock that HQ has
//! identity/forked               HQ has another log under this name: these keys need to be replaced
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::{SigningKey, VerifyingKey};
use quinn::rustls::RootCertStore;
use quinn::rustls::pki_types::pem::PemObject;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde::{Deserialize, Serialize};
use shared::ids::{CompanyNo, DeviceNo, HistoryId, SiteNo};
use shared::segment::chain::{FORMAT, Genesis};
use shared::sync::{AuthorityPin, Grant, Introduction};
use shared::time::Timestamp;

use super::files::{self, KeyFileError};

const LOG_KEY: &str = "log.key";
const GENESIS: &str = "genesis.random";
const TLS: &str = "tls.pem";
const ENROLMENT: &str = "enrolment.toml";
const JOURNAL: &str = "journal.id";
const PREDECESSOR: &str = "journal.predecessor";
const REBUILDING: &str = "rebuilding";
const FORKED: &str = "forked";
const VERSION: u32 = 1;

/// Stands before the PEM blocks, where readers of PEM pass over it.
const VALID_UNTIL: &str = "valid-until-ms: ";

/// What HQ gave this node when it enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The site that this node is.
    pub site: SiteNo,
    /// The number of this installation: half of its capture ids.
    pub device: DeviceNo,
    /// The site's company.
    pub company: CompanyNo,
    /// The site's name.
    pub site_name: String,
    /// The key that signs what HQ says.
    pub hq_key: VerifyingKey,
    /// The life of HQ's store at that time.
    pub history: HistoryId,
    /// HQ's authority, pinned.
    pub pin: AuthorityPin,
}

/// As it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrolmentFile {
    version: u32,
    site: SiteNo,
    device: DeviceNo,
    company: CompanyNo,
    site_name: String,
    hq_key: String,
    history: String,
    authority: String,
}

/// A TLS key with its certificate chain.
#[derive(Debug)]
pub(super) struct TlsIdentity {
    key: PrivateKeyDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    valid_until: Option<Timestamp>,
}

/// This node's identity; clones share it.
#[derive(Clone, Debug)]
pub struct Identity {
    directory: PathBuf,
    log_key: Arc<SigningKey>,
    genesis_random: [u8; 32],
    tls: Arc<Mutex<TlsIdentity>>,
    enrolment: Option<Enrolment>,
    journal: Option<[u8; 32]>,
    predecessor: Option<String>,
}

impl Identity {
    /// Makes fresh keys in `directory`.
    pub fn create(directory: &Path) -> Result<Self, KeyFileError> {
        Self::make(directory, None)
    }

    /// As [`Identity::create`], for a node that goes on from the journal in the file `predecessor`.
    pub fn create_after(directory: &Path, predecessor: &str) -> Result<Self, KeyFileError> {
        Self::make(directory, Some(predecessor))
    }

    fn make(directory: &Path, predecessor: Option<&str>) -> Result<Self, KeyFileError> {
        if directory.join(TLS).exists() {
            return Err(KeyFileError::Exists(directory.join(TLS)));
        }
        files::create_directory(directory)?;
        if let Some(name) = predecessor {
            files::write_private(&directory.join(PREDECESSOR), name.as_bytes())?;
        }
        files::write_hex(&directory.join(LOG_KEY), &files::random()?)?;
        files::write_hex(&directory.join(GENESIS), &files::random()?)?;
        // Last: where it is there, all keys are.
        TlsIdentity::fresh().write(directory)?;
        Self::open(directory)
    }

    /// Reads the keys and, if there is one, the enrolment.
    pub fn open(directory: &Path) -> Result<Self, KeyFileError> {
        let hex = |name: &str| {
            let path = directory.join(name);
            files::from_hex(&path, &files::read(&path)?)
        };
        Ok(Self {
            log_key: Arc::new(SigningKey::from_bytes(&hex(LOG_KEY)?)),
            genesis_random: hex(GENESIS)?,
            tls: Arc::new(Mutex::new(TlsIdentity::read(directory)?)),
            enrolment: Enrolment::read(directory)?,
            journal: if_there(hex(JOURNAL))?,
            predecessor: if_there(files::read(&directory.join(PREDECESSOR)))?,
            directory: directory.to_owned(),
        })
    }

    /// Whether a journal was made for these keys, wherever it is now.
    pub const fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Notes that the journal of these keys is made, durably. Called before its first fact.
    pub fn note_journal(&mut self) -> Result<(), KeyFileError> {
        if let Some(genesis) = self.genesis().filter(|_| !self.has_journal()) {
            let log = genesis.log_id().0;
            files::write_hex(&self.directory.join(JOURNAL), &log)?;
            self.journal = Some(log);
        }
        Ok(())
    }

    /// The file of the journal that this node's goes on from, after a restore.
    pub fn predecessor(&self) -> Option<&str> {
        self.predecessor.as_deref()
    }

    /// Whether HQ found another log under this node's name: it was copied, or restored from an image.
    pub fn is_forked(&self) -> bool {
        self.directory.join(FORKED).exists()
    }

    /// Notes that HQ found another log under this node's name.
    pub(super) fn note_forked(&self) -> Result<(), KeyFileError> {
        if self.is_forked() {
            return Ok(());
        }
        files::write_private(&self.directory.join(FORKED), b"enrol this node anew\n")
    }

    /// Whether this node's journal is to begin with the stock that HQ has, and is not made yet.
    pub fn is_rebuilding(&self) -> bool {
        self.directory.join(REBUILDING).exists() && !self.has_journal()
    }

    /// Notes that the journal is to begin with the stock that HQ has.
    pub fn note_rebuilding(&self) -> Result<(), KeyFileError> {
        files::write_private(&self.directory.join(REBUILDING), b"edge-node rebuild CODE\n")
    }

    /// The key that signs the log's seals.
    pub fn log_key(&self) -> &SigningKey {
        &self.log_key
    }

    /// What HQ gave, once it did.
    pub const fn enrolment(&self) -> Option<&Enrolment> {
        self.enrolment.as_ref()
    }

    /// What this node's log starts with, once it is enrolled.
    pub fn genesis(&self) -> Option<Genesis> {
        let enrolment = self.enrolment.as_ref()?;
        Some(Genesis {
            format: FORMAT,
            site: enrolment.site,
            device: enrolment.device,
            random: self.genesis_random,
            public_key: self.log_key.verifying_key().to_bytes(),
            predecessor: None,
        })
    }

    /// What an HQ is told that forgot this node.
    pub(super) fn introduction(&self, tls_request: Vec<u8>) -> Introduction {
        let enrolment = self.enrolment.as_ref().expect("only a node that is enrolled connects");
        let genesis = self.genesis().expect("it is enrolled");
        let (company, name) = (enrolment.company, enrolment.site_name.clone());
        Introduction::new(tls_request, genesis, company, name, &self.log_key)
    }

    pub(super) const fn genesis_random(&self) -> [u8; 32] {
        self.genesis_random
    }

    /// A request for a certificate of the present TLS key.
    pub(super) fn tls_request(&self) -> Vec<u8> {
        self.with_tls(TlsIdentity::request)
    }

    /// Key and chain for a handshake.
    pub(crate) fn tls(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        self.with_tls(|tls| (tls.chain.clone(), tls.key.clone_key()))
    }

    /// Until when the present certificate is valid, by HQ's clock.
    pub(super) fn valid_until(&self) -> Option<Timestamp> {
        self.with_tls(|tls| tls.valid_until)
    }

    /// Takes what HQ granted.
    pub(super) fn enrolled(
        &mut self,
        grant: &Grant,
        pin: AuthorityPin,
    ) -> Result<(), KeyFileError> {
        let key = self.with_tls(|tls| tls.key.clone_key());
        let tls = TlsIdentity { key, chain: Vec::new(), valid_until: None };
        self.replace_tls(tls.with_chain(&grant.chain, grant.valid_until))?;
        Enrolment::write(&self.directory, grant)?;
        let enrolment = Enrolment::read(&self.directory)?;
        assert_eq!(enrolment.as_ref().map(|read| read.pin), Some(pin), "written a moment ago");
        self.enrolment = enrolment;
        Ok(())
    }

    /// Takes a new key with its certificate: in one file, so that they never part.
    pub(super) fn replace_tls(&self, next: TlsIdentity) -> Result<(), KeyFileError> {
        next.write(&self.directory)?;
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn with_tls<T>(&self, look: impl FnOnce(&TlsIdentity) -> T) -> T {
        look(&self.tls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn if_there<T>(read: Result<T, KeyFileError>) -> Result<Option<T>, KeyFileError> {
    match read {
        Err(KeyFileError::Missing(_)) => Ok(None),
        read => read.map(Some),
    }
}

impl TlsIdentity {
    /// A fresh key without a certificate.
    pub(super) fn fresh() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("ring makes Ed25519 keys");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Self { key, chain: Vec::new(), valid_until: None }
    }

    /// The same key with the chain that HQ made for it.
    pub(super) fn with_chain(self, chain: &[Vec<u8>], valid_until: Timestamp) -> Self {
        let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        Self { chain, valid_until: Some(valid_until), ..self }
    }

    /// A request for a certificate, signed with the key.
    pub(super) fn request(&self) -> Vec<u8> {
        let key = KeyPair::from_der_and_sign_algo(&self.key, &PKCS_ED25519)
            .expect("the key was made here, or read and checked");
        let params = CertificateParams::default();
        let request = params.serialize_request(&key).expect("a valid key signs valid parameters");
        request.der().to_vec()
    }

    fn write(&self, directory: &Path) -> Result<(), KeyFileError> {
        let mut text =
            self.valid_until.map_or_else(String::new, |at| format!("{VALID_UNTIL}{}\n", at.0));
        text.push_str(&files::pem("PRIVATE KEY", self.key.secret_der()));
        for certificate in &self.chain {
            text.push_str(&files::pem("CERTIFICATE", certificate));
        }
        files::write_private(&directory.join(TLS), text.as_bytes())
    }

    fn read(directory: &Path) -> Result<Self, KeyFileError> {
        let path = directory.join(TLS);
        let text = files::read(&path)?;
        let damaged = |why: String| KeyFileError::Damaged(path.clone(), why);
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        KeyPair::from_der_and_sign_algo(&key, &PKCS_ED25519)
            .map_err(|error| damaged(error.to_string()))?;
        let chain = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(error.to_string()))?;
        let valid_until =
            text.lines().find_map(|line| line.strip_prefix(VALID_UNTIL)?.parse().ok());
        Ok(Self { key, chain, valid_until: valid_until.map(Timestamp) })
    }
}

impl Enrolment {
    fn write(directory: &Path, grant: &Grant) -> Result<(), KeyFileError> {
        let hex = |bytes: &[u8; 32]| data_encoding::HEXLOWER.encode(bytes);
        let file = EnrolmentFile {
            version: VERSION,
            site: grant.site,
            device: grant.device,
            company: grant.company,
            site_name: grant.site_name.clone(),
            hq_key: hex(&grant.hq_key),
            history: hex(&grant.history.0),
            authority: files::pem("CERTIFICATE", &grant.authority),
        };
        let text = toml::to_string(&file).expect("plain data is TOML");
        files::write_private(&directory.join(ENROLMENT), text.as_bytes())
    }

    fn read(directory: &Path) -> Result<Option<Self>, KeyFileError> {
        let path = directory.join(ENROLMENT);
        let Some(text) = if_there(files::read(&path))? else { return Ok(None) };
        let damaged = |why: String| KeyFileError::Damaged(path.clone(), why);
        let file: EnrolmentFile =
            toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if file.version != VERSION {
            return Err(damaged(format!(
                "version {} is not known: update edge-node",
                file.version
            )));
        }
        let authority = CertificateDer::from_pem_slice(file.authority.as_bytes())
            .map_err(|error| damaged(error.to_string()))?;
        Ok(Some(Self {
            site: file.site,
            device: file.device,
            company: file.company,
            site_name: file.site_name,
            hq_key: VerifyingKey::from_bytes(&files::from_hex(&path, &file.hq_key)?)
                .map_err(|error| damaged(error.to_string()))?,
            history: HistoryId(files::from_hex(&path, &file.history)?),
            pin: pin_of(&authority).ok_or_else(|| damaged("no authority".to_owned()))?,
        }))
    }
}

/// What names an authority: the hash of its public key.
pub(super) fn pin_of(certificate: &CertificateDer<'_>) -> Option<AuthorityPin> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    Some(AuthorityPin::of(&roots.roots.first()?.subject_public_key_info))
}

/// Trust in the authority behind `pin` alone, if it is in a chain.
pub(crate) fn roots_of(pin: AuthorityPin, chain: &[CertificateDer<'_>]) -> Option<RootCertStore> {
    let authority = chain.iter().find(|certificate| pin_of(certificate) == Some(pin))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned()).ok()?;
    Some(roots)
}
