//! HQ's authority: who may connect. Keys, certificates, one-time codes, revocation. Knows no facts
//! and no books. Invariants: no private key leaves its file; whoever was revoked is refused from
//! then on, also on connections that live.
//!
//! ```text
//! authority/authority.pem, authority.key   the certificate authority: nodes pin its key
//! authority/hq.key                         signs acknowledgements, keyed state and HQ's own log
//! authority/register.redb                  sites, codes (hashed), installations, certificates
//! ```

mod certificates;
mod files;
mod hex;
mod identity;
mod register;
mod tls;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ed25519_dalek::SigningKey;
use shared::ids::{CompanyNo, DeviceNo, SiteNo};
use shared::sync::{AuthorityPin, Code, EnrolCode, EnrolRequest, Introduction, Refusal, Secret};
use shared::time::Timestamp;
use tokio::sync::watch;

use crate::gateway::store::Peer;
use crate::store::FileError;
use certificates::{Certifier, IssueError};
use register::{RedeemError, Register};

pub use certificates::{Issued, SERVER_NAME};
pub use files::KeyFileError;
pub use hex::Hex;
pub use register::{Admission, DeviceRecord, Redeemed, SiteError, SiteRecord};
pub use tls::{ALPN_COPIES, ALPN_ENROL, ALPN_SYNC};

const HQ_KEY: &str = "hq.key";

/// Why the authority can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// There is one already.
    #[error("{} has keys already: nothing was changed", .0.display())]
    Exists(std::path::PathBuf),
    /// A key file fails.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The register fails.
    #[error(transparent)]
    Register(#[from] FileError),
}

/// A handle of the authority; clones share everything.
#[derive(Clone, Debug)]
pub struct Authority {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    certifier: Certifier,
    hq_key: SigningKey,
    register: Mutex<Register>,
    /// Counts changes of the register.
    changes: watch::Sender<u64>,
}

impl Authority {
    /// Makes all keys and an empty register in `directory`.
    pub fn create(directory: &Path) -> Result<Self, AuthorityError> {
        if directory.join(HQ_KEY).exists() {
            return Err(AuthorityError::Exists(directory.to_owned()));
        }
        files::create_directory(directory)?;
        Certifier::create(directory)?;
        Register::create(directory)?;
        // Last: where it is there, everything is.
        files::write_hex(&directory.join(HQ_KEY), &files::random()?)?;
        Self::open(directory)
    }

    /// Opens what [`Authority::create`] made.
    pub fn open(directory: &Path) -> Result<Self, AuthorityError> {
        let hq_key = SigningKey::from_bytes(&files::read_hex(&directory.join(HQ_KEY))?);
        let certifier = Certifier::open(directory)?;
        let register = Mutex::new(Register::open(directory)?);
        let shared = Shared { certifier, hq_key, register, changes: watch::Sender::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The key that signs acknowledgements, keyed state and HQ's own log.
    pub fn hq_key(&self) -> &SigningKey {
        &self.shared.hq_key
    }

    /// What one-time codes pin.
    pub fn pin(&self) -> AuthorityPin {
        self.shared.certifier.pin()
    }

    /// The number that the next site gets.
    pub fn site_next(&self) -> SiteNo {
        self.register().site_next()
    }

    /// The register came out of a backup of `made_at`: `count` numbers of sites and of installations
    /// are left out, for they may have been given since, and so may certificates.
    pub fn note_restore(
        &self,
        count: u32,
        made_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), FileError> {
        self.register().note_restore(count, made_at, now)
    }

    /// Lets in again an installation whose enrolment was lost when HQ was restored. Its certificate
    /// proves that HQ let it in, its log key that the log is its own.
    pub fn introduce(
        &self,
        peer: Peer,
        introduction: &Introduction,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        introduction.verify().map_err(|_| bad_request("the log key did not sign it"))?;
        let genesis = &introduction.genesis;
        let is_its_own = (genesis.site, genesis.device) == (peer.site, peer.device);
        if !is_its_own || genesis.predecessor.is_some() {
            return Err(bad_request("it names another installation"));
        }
        let introduced = self.register().introduce(peer, introduction, now);
        introduced.map_err(|error| match error {
            RedeemError::Refused(refusal) => refusal,
            RedeemError::File(error) => cannot_store(&error),
        })
    }

    /// More was lost than was thought: so many numbers more are left out.
    pub fn leave_out(&self, count: u32) -> Result<(), FileError> {
        self.register().leave_out(count)
    }

    /// How many numbers were left out at the last restore.
    pub fn skipped(&self) -> u32 {
        self.register().skipped()
    }

    /// A number for an installation of HQ itself; never given again.
    pub fn hq_device(&self) -> Result<DeviceNo, FileError> {
        self.register().hq_device()
    }

    /// Adds a site, or takes its new name, and gives a code for it.
    pub fn site_add(
        &self,
        site: SiteNo,
        name: &str,
        company: CompanyNo,
        now: Timestamp,
    ) -> Result<EnrolCode, SiteError> {
        self.register().site_add(site, name, company, now)?;
        self.code_add(site, now)
    }

    /// Gives a new code for a site: single use, seven days. Earlier ones stay good.
    pub fn code_add(&self, site: SiteNo, now: Timestamp) -> Result<EnrolCode, SiteError> {
        let secret = Secret(files::random()?);
        self.register().code_add(site, &secret, now)?;
        Ok(EnrolCode { pin: self.pin(), site, secret })
    }

    /// Every site.
    pub fn sites(&self) -> Vec<SiteRecord> {
        self.register().sites()
    }

    /// Every installation.
    pub fn devices(&self) -> Vec<DeviceRecord> {
        self.register().devices()
    }

    /// Gives an installation number to a branch of an installation's log: no box, and nothing that
    /// a certificate could be made for.
    pub fn branch_add(&self, of: Peer, now: Timestamp) -> Result<DeviceNo, SiteError> {
        self.register().branch_add(of.device, now)
    }

    /// Revokes every installation of a site; live connections close. Gives their numbers.
    pub fn site_revoke(&self, site: SiteNo, now: Timestamp) -> Result<Vec<DeviceNo>, SiteError> {
        let devices = self.register().devices_of(site);
        if devices.is_empty() && !self.sites().iter().any(|record| record.site == site) {
            return Err(SiteError::UnknownSite(site));
        }
        devices.iter().try_for_each(|device| self.device_revoke(*device, now))?;
        Ok(devices)
    }

    /// Revokes one installation; its live connection closes.
    pub fn device_revoke(&self, device: DeviceNo, now: Timestamp) -> Result<(), SiteError> {
        self.register().revoke(device, now)?;
        self.shared.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Changes when an installation was revoked.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What a revoked installation is told; `None` for one that is not.
    pub fn revocation(&self, peer: Peer) -> Option<Refusal> {
        self.register().is_revoked(peer.device).then(|| register::revoked(peer))
    }

    /// Whether a certificate still counts. Asked right after the handshake, whatever that said.
    pub fn admit(&self, certificate: &[u8], now: Timestamp) -> Result<Admission, Refusal> {
        let leaf = identity::read(certificate).ok_or_else(|| {
            let text = "this certificate names no site and device: enrol this node again with a code from HQ";
            Refusal::new(Code::NO_CERTIFICATE, text)
        })?;
        self.register().admit(&leaf, now)
    }

    /// Lets in an installation by its code, before it has a certificate.
    pub fn redeem(&self, request: &EnrolRequest, now: Timestamp) -> Result<Redeemed, Refusal> {
        request.verify().map_err(|_| bad_request("the log key did not sign it"))?;
        let key_hash = certificates::key_hash(&request.tls_request)
            .map_err(|error| bad_request(&error.to_string()))?;
        self.register().redeem(request, key_hash, now).map_err(|error| match error {
            RedeemError::Refused(refusal) => refusal,
            RedeemError::File(error) => cannot_store(&error),
        })
    }

    /// Makes a certificate for an installation that is let in.
    pub fn issue(&self, peer: Peer, request: &[u8], now: Timestamp) -> Result<Issued, Refusal> {
        let issued =
            self.shared.certifier.issue(peer, request, now).map_err(|error| match error {
                IssueError::BadRequest(error) => bad_request(&error.to_string()),
                IssueError::Random(error) => cannot_store(&error),
            })?;
        self.register()
            .certificate_add(peer.device, &issued)
            .map_err(|error| cannot_store(&error))?;
        Ok(issued)
    }

    /// The authority's certificate (DER).
    pub fn certificate(&self) -> &[u8] {
        self.shared.certifier.certificate()
    }

    /// Runs `copy` while nothing of the authority changes: its files can be copied meanwhile.
    pub fn while_unchanged<T>(&self, copy: impl FnOnce() -> T) -> T {
        let _unchanged = self.register();
        copy()
    }

    fn register(&self) -> MutexGuard<'_, Register> {
        // Memory changes after the file, in one step each: a panic leaves no half of a change.
        self.shared.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bad_request(why: &str) -> Refusal {
    Refusal::new(
        Code::BAD_REQUEST,
        format!("HQ can't use the request: {why}; update edge-node and try again"),
    )
}

fn cannot_store(error: &dyn std::error::Error) -> Refusal {
    tracing::error!("the site register: {error}");
    Refusal::new(
        Code::STORAGE,
        "HQ can't store anything at the moment: try again later, and tell HQ to look at its log",
    )
}
