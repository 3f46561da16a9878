//! The site register: sites, one-time codes, installations with their certificates. Knows no
//! connection and no certificate format. Invariants: a code lets in one installation; a device
//! number is given once; what was revoked stays revoked.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::ids::{CompanyNo, DeviceNo, SiteNo};
use shared::sync::{Code, EnrolRequest, Introduction, Refusal, Secret};
use shared::time::{Day, OffsetMinutes, Timestamp};

use super::cannot_store;
use super::certificates::{Issued, issued_on};
use super::hex::Hex;
use super::identity::Leaf;
use crate::gateway::store::Peer;
use crate::store::{DamagedFile, FileError};

const FILE: &str = "register.redb";
const VERSION: u32 = 1;

const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
const SITES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("sites");
const CODES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("codes");
const DEVICES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("devices");

/// Rows of META.
const DEVICE_FLOOR: &str = "device_floor";
const SITE_FLOOR: &str = "site_floor";
const SKIPPED: &str = "skipped";
const BACKUP_DAY: &str = "backup_day";
const RESTORE_DAY: &str = "restore_day";

/// How long a one-time code is good for.
const CODE_MS: i64 = 7 * 86_400_000;

/// The first installation that is not HQ's own.
const FIRST_DEVICE: u32 = 2;

/// Certificates of one installation that count at the same time: one in use, one just renewed, and
/// one whose renewal was interrupted.
const CERTIFICATES_MAX: usize = 3;

/// A site as the register knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteRecord {
    /// Its number.
    pub site: SiteNo,
    /// Its name.
    pub name: String,
    /// Its company.
    pub company: CompanyNo,
    /// When it was added.
    pub added_at: Timestamp,
}

/// A one-time code; the secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CodeRecord {
    site: SiteNo,
    expires_at: Timestamp,
    used_by: Option<DeviceNo>,
    /// Who used it, so that the same installation may ask again after a lost answer.
    used_with: Option<Hex<32>>,
}

/// An installation as the register knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its number.
    pub device: DeviceNo,
    /// Its site.
    pub site: SiteNo,
    /// The key that signs its log.
    pub log_key: Hex<32>,
    /// The random bytes of its log's genesis.
    pub genesis_random: Hex<32>,
    /// When it was let in.
    pub enrolled_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// It is no box of its own: another installation's log was continued twice, and this is the
    /// number of what differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch_of: Option<DeviceNo>,
    /// Its certificates, oldest first.
    certificates: Vec<CertificateRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CertificateRecord {
    serial: Hex<16>,
    key_hash: Hex<32>,
    valid_until: Timestamp,
}

/// Why a site can't be added, changed or given a code.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The number belongs to HQ, or to a site of another company.
    #[error("site {0} is HQ's or another company's: give the new one another number")]
    NumberTaken(SiteNo),
    /// A name is missing or too long.
    #[error("a site's name has 1 to {} bytes", shared::sync::NAME_BYTES_MAX)]
    BadName,
    /// No such site.
    #[error("there is no site {0}: list them with `hq-server site list`")]
    UnknownSite(SiteNo),
    /// No such installation.
    #[error("there is no device {0}: list them with `hq-server site list`")]
    UnknownDevice(DeviceNo),
    /// No randomness, or a key file fails.
    #[error(transparent)]
    KeyFile(#[from] super::KeyFileError),
    /// The register can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// An installation that a code let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redeemed {
    /// Site and device.
    pub peer: Peer,
    /// The site's company.
    pub company: CompanyNo,
    /// The site's name.
    pub site_name: String,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whose it is.
    pub peer: Peer,
    /// It has expired: it may only be renewed.
    pub is_expired: bool,
    /// The installation is not in the register, for HQ was restored from a backup: it may only
    /// introduce itself.
    pub is_forgotten: bool,
}

/// The register: in memory, and durable with every change.
#[derive(Debug)]
pub(super) struct Register {
    database: Database,
    sites: BTreeMap<SiteNo, SiteRecord>,
    codes: BTreeMap<[u8; 32], CodeRecord>,
    devices: BTreeMap<DeviceNo, DeviceRecord>,
    /// No installation number up to this one is given again, and no number of a site.
    floor: Floor,
}

/// Numbers that are not given, in the register of an HQ that was restored from a backup: a lost
/// history may have given them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Floor {
    device: u32,
    site: u32,
    /// How many were left out at the last restore.
    skipped: u32,
    /// The day of the backup that HQ was last restored from, and the day of that: certificates that
    /// were issued then are not in the register.
    forgotten: Option<(Day, Day)>,
}

impl Register {
    /// Makes an empty register.
    pub(super) fn create(directory: &Path) -> Result<(), FileError> {
        let database = Database::create(directory.join(FILE))?;
        let write = database.begin_write()?;
        write.open_table(META)?.insert("version", VERSION)?;
        write.open_table(SITES)?;
        write.open_table(CODES)?;
        write.open_table(DEVICES)?;
        Ok(write.commit()?)
    }

    /// Reads the register.
    pub(super) fn open(directory: &Path) -> Result<Self, FileError> {
        let database = Database::open(directory.join(FILE))?;
        let read = database.begin_read()?;
        if read.open_table(META)?.get("version")?.map(|version| version.value()) != Some(VERSION) {
            return Err(FileError::OtherVersion("the site register"));
        }
        let (mut sites, mut codes, mut devices) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for row in read.open_table(SITES)?.iter()? {
            let record: SiteRecord = from_json(row?.1.value(), "a site")?;
            sites.insert(record.site, record);
        }
        for row in read.open_table(CODES)?.iter()? {
            let (key, value) = row?;
            let key = key.value().try_into().map_err(|_| damaged("a code"))?;
            codes.insert(key, from_json(value.value(), "a code")?);
        }
        for row in read.open_table(DEVICES)?.iter()? {
            let record: DeviceRecord = from_json(row?.1.value(), "a device")?;
            devices.insert(record.device, record);
        }
        let meta = read.open_table(META)?;
        let number = |name| Ok::<_, FileError>(meta.get(name)?.map_or(0, |number| number.value()));
        let floor = Floor {
            device: number(DEVICE_FLOOR)?,
            site: number(SITE_FLOOR)?,
            skipped: number(SKIPPED)?,
            forgotten: match (number(BACKUP_DAY)?, number(RESTORE_DAY)?) {
                (_, 0) => None,
                (from, to) => Some((Day(from.cast_signed()), Day(to.cast_signed()))),
            },
        };
        drop((meta, read));
        Ok(Self { database, sites, codes, devices, floor })
    }

    /// The register came out of a backup: `count` numbers of sites and of installations are left
    /// out.
    pub(super) fn note_restore(
        &mut self,
        count: u32,
        made_at: Timestamp,
        now: Timestamp,
    ) -> Result<(), FileError> {
        let (site, device) = (self.site_next().0 - 1, self.next_device().0 - 1);
        let day = |at: Timestamp| at.max(Timestamp(0)).day(OffsetMinutes(0));
        self.raise(Floor {
            device: device.saturating_add(count),
            site: site.saturating_add(count),
            skipped: count,
            forgotten: Some((day(made_at), day(now).max(day(made_at)))),
        })
    }

    /// So many numbers more are left out.
    pub(super) fn leave_out(&mut self, count: u32) -> Result<(), FileError> {
        let Floor { device, site, .. } = self.floor;
        let (device, site) = (device.saturating_add(count), site.saturating_add(count));
        self.raise(Floor { device, site, ..self.floor })
    }

    /// How many numbers were left out at the last restore.
    pub(super) const fn skipped(&self) -> u32 {
        self.floor.skipped
    }

    /// A number for an installation of HQ itself; never given again.
    pub(super) fn hq_device(&mut self) -> Result<DeviceNo, FileError> {
        let device = self.next_device();
        self.raise(Floor { device: device.0, ..self.floor })?;
        Ok(device)
    }

    fn raise(&mut self, floor: Floor) -> Result<(), FileError> {
        let write = self.database.begin_write()?;
        let mut meta = write.open_table(META)?;
        meta.insert(DEVICE_FLOOR, floor.device)?;
        meta.insert(SITE_FLOOR, floor.site)?;
        meta.insert(SKIPPED, floor.skipped)?;
        if let Some((from, to)) = floor.forgotten {
            meta.insert(BACKUP_DAY, from.0.cast_unsigned())?;
            meta.insert(RESTORE_DAY, to.0.cast_unsigned())?;
        }
        drop(meta);
        write.commit()?;
        self.floor = floor;
        Ok(())
    }

    pub(super) fn sites(&self) -> Vec<SiteRecord> {
        self.sites.values().cloned().collect()
    }

    pub(super) fn devices(&self) -> Vec<DeviceRecord> {
        self.devices.values().cloned().collect()
    }

    pub(super) fn site_next(&self) -> SiteNo {
        SiteNo(self.sites.keys().next_back().map_or(0, |last| last.0).max(self.floor.site) + 1)
    }

    /// Adds a site, or gives it another name.
    pub(super) fn site_add(
        &mut self,
        site: SiteNo,
        name: &str,
        company: CompanyNo,
        now: Timestamp,
    ) -> Result<(), SiteError> {
        let name = name.trim();
        if name.is_empty() || name.len() > shared::sync::NAME_BYTES_MAX {
            return Err(SiteError::BadName);
        }
        let known = self.sites.get(&site);
        if site == SiteNo::HQ || known.is_some_and(|known| known.company != company) {
            return Err(SiteError::NumberTaken(site));
        }
        let added_at = known.map_or(now, |known| known.added_at);
        let record = SiteRecord { site, name: name.to_owned(), company, added_at };
        if known != Some(&record) {
            self.write(&[Row::Site(&record)])?;
            self.sites.insert(site, record);
        }
        Ok(())
    }

    /// Remembers a fresh code for a site.
    pub(super) fn code_add(
        &mut self,
        site: SiteNo,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<(), SiteError> {
        if !self.sites.contains_key(&site) {
            return Err(SiteError::UnknownSite(site));
        }
        let expires_at = Timestamp(now.0.saturating_add(CODE_MS));
        let record = CodeRecord { site, expires_at, used_by: None, used_with: None };
        self.write(&[Row::Code(&secret.hash(), &record)])?;
        self.codes.insert(secret.hash(), record);
        Ok(())
    }

    /// Lets in an installation by its code. Asked again with the same keys, gives the same answer:
    /// the first may have been lost.
    pub(super) fn redeem(
        &mut self,
        request: &EnrolRequest,
        key_hash: [u8; 32],
        now: Timestamp,
    ) -> Result<Redeemed, RedeemError> {
        let site = self.sites.get(&request.site).ok_or_else(|| unknown_site(request.site))?.clone();
        let hash = request.secret.hash();
        let code = self
            .codes
            .get(&hash)
            .filter(|code| code.site == request.site)
            .ok_or_else(|| wrong_code(request.site))?
            .clone();
        let used_with = Hex(installation(request, key_hash));
        let redeemed = |device| Redeemed {
            peer: Peer { site: site.site, device },
            company: site.company,
            site_name: site.name.clone(),
        };
        if let Some(device) = code.used_by {
            let is_same = code.used_with == Some(used_with) && !self.is_revoked(device);
            return if is_same { Ok(redeemed(device)) } else { Err(code_used().into()) };
        }
        if code.expires_at <= now {
            return Err(code_expired(code.expires_at).into());
        }
        if self.devices.values().any(|device| device.log_key.0 == request.log_key) {
            return Err(keys_taken().into());
        }
        let device = self.new_device(request, now);
        let code = CodeRecord { used_by: Some(device.device), used_with: Some(used_with), ..code };
        self.write(&[Row::Device(&device), Row::Code(&hash, &code)])?;
        let answer = redeemed(device.device);
        self.codes.insert(hash, code);
        self.devices.insert(device.device, device);
        Ok(answer)
    }

    fn new_device(&self, request: &EnrolRequest, now: Timestamp) -> DeviceRecord {
        DeviceRecord {
            device: self.next_device(),
            site: request.site,
            log_key: Hex(request.log_key),
            genesis_random: Hex(request.genesis_random),
            enrolled_at: now,
            revoked_at: None,
            branch_of: None,
            certificates: Vec::new(),
        }
    }

    fn next_device(&self) -> DeviceNo {
        let last = self.devices.keys().next_back();
        let next = last.map_or(FIRST_DEVICE, |last| last.0 + 1);
        DeviceNo(next.max(self.floor.device + 1))
    }

    /// Gives a number to a branch of an installation's log.
    pub(super) fn branch_add(
        &mut self,
        of: DeviceNo,
        now: Timestamp,
    ) -> Result<DeviceNo, SiteError> {
        let record = self.devices.get(&of).ok_or(SiteError::UnknownDevice(of))?;
        let branch = DeviceRecord {
            device: self.next_device(),
            enrolled_at: now,
            branch_of: Some(of),
            certificates: Vec::new(),
            ..record.clone()
        };
        self.write(&[Row::Device(&branch)])?;
        let device = branch.device;
        self.devices.insert(device, branch);
        Ok(device)
    }

    /// Remembers a certificate that was made for an installation.
    pub(super) fn certificate_add(
        &mut self,
        device: DeviceNo,
        issued: &Issued,
    ) -> Result<(), SiteError> {
        let mut record = self.devices.get(&device).ok_or(SiteError::UnknownDevice(device))?.clone();
        record.certificates.push(CertificateRecord {
            serial: Hex(issued.serial),
            key_hash: Hex(issued.key_hash),
            valid_until: issued.valid_until,
        });
        let surplus = record.certificates.len().saturating_sub(CERTIFICATES_MAX);
        record.certificates.drain(..surplus);
        self.write(&[Row::Device(&record)])?;
        self.devices.insert(device, record);
        Ok(())
    }

    /// Revokes an installation for ever.
    pub(super) fn revoke(&mut self, device: DeviceNo, now: Timestamp) -> Result<(), SiteError> {
        let mut record = self.devices.get(&device).ok_or(SiteError::UnknownDevice(device))?.clone();
        if record.revoked_at.is_none() {
            record.revoked_at = Some(now);
            self.write(&[Row::Device(&record)])?;
            self.devices.insert(device, record);
        }
        Ok(())
    }

    pub(super) fn is_revoked(&self, device: DeviceNo) -> bool {
        self.devices.get(&device).is_none_or(|record| record.revoked_at.is_some())
    }

    /// The installations of a site.
    pub(super) fn devices_of(&self, site: SiteNo) -> Vec<DeviceNo> {
        let of_site = self.devices.values().filter(|record| record.site == site);
        of_site.map(|record| record.device).collect()
    }

    /// Whether a certificate of the authority still counts, and for what.
    ///
    /// One that HQ issued after the backup that it was restored from is not in the register, and
    /// counts: the authority's signature proves that it was issued.
    pub(super) fn admit(&mut self, leaf: &Leaf, now: Timestamp) -> Result<Admission, Refusal> {
        let Peer { site, device } = leaf.peer;
        let is_expired = leaf.valid_until <= now;
        let is_forgotten = self.is_forgotten(leaf);
        let known = self.devices.get(&device);
        if known.is_none() && is_forgotten {
            return Ok(Admission { peer: leaf.peer, is_expired, is_forgotten });
        }
        let known = known.filter(|record| record.site == site);
        let record = known.ok_or_else(|| unknown_installation(leaf.peer))?;
        if record.revoked_at.is_some() {
            return Err(revoked(leaf.peer));
        }
        let counts = record.certificates.iter().any(|certificate| {
            certificate.serial.0 == leaf.serial && certificate.key_hash.0 == leaf.key_hash
        });
        if !counts && record.branch_of.is_none() && is_forgotten {
            let Leaf { serial, key_hash, valid_until, .. } = leaf.clone();
            let issued = Issued { chain: Vec::new(), serial, key_hash, valid_until };
            self.certificate_add(device, &issued).map_err(|error| cannot_store(&error))?;
        } else if !counts {
            return Err(unknown_installation(leaf.peer));
        }
        Ok(Admission { peer: leaf.peer, is_expired, is_forgotten: false })
    }

    /// Whether a certificate was issued after the backup that HQ was restored from.
    fn is_forgotten(&self, leaf: &Leaf) -> bool {
        let issued = issued_on(leaf.valid_until);
        self.floor.forgotten.is_some_and(|(from, to)| (from..=to).contains(&issued))
    }

    /// Lets in again an installation that was let in after the backup.
    pub(super) fn introduce(
        &mut self,
        peer: Peer,
        introduction: &Introduction,
        now: Timestamp,
    ) -> Result<(), RedeemError> {
        let Introduction { genesis, company, site_name, .. } = introduction;
        let same = |record: &DeviceRecord| {
            (record.device, record.site, record.log_key.0)
                == (peer.device, peer.site, genesis.public_key)
        };
        if self.devices.get(&peer.device).is_some_and(same) {
            return Ok(());
        }
        let mut keys = self.devices.values().map(|record| record.log_key.0);
        if self.devices.contains_key(&peer.device) || keys.any(|key| key == genesis.public_key) {
            return Err(keys_taken().into());
        }
        let known = self.sites.get(&peer.site);
        if known.is_some_and(|known| known.company != *company) {
            return Err(unknown_site(peer.site).into());
        }
        let site = known.cloned().unwrap_or_else(|| SiteRecord {
            site: peer.site,
            name: site_name.clone(),
            company: *company,
            added_at: now,
        });
        let device = DeviceRecord {
            device: peer.device,
            site: peer.site,
            log_key: Hex(genesis.public_key),
            genesis_random: Hex(genesis.random),
            enrolled_at: now,
            revoked_at: None,
            branch_of: None,
            certificates: Vec::new(),
        };
        self.write(&[Row::Site(&site), Row::Device(&device)])?;
        self.sites.insert(site.site, site);
        self.devices.insert(device.device, device);
        Ok(())
    }

    fn write(&self, rows: &[Row<'_>]) -> Result<(), FileError> {
        let write = self.database.begin_write()?;
        for row in rows {
            match row {
                Row::Site(record) => {
                    write.open_table(SITES)?.insert(record.site.0, &*to_json(record))?;
                }
                Row::Code(hash, record) => {
                    write.open_table(CODES)?.insert(hash.as_slice(), &*to_json(record))?;
                }
                Row::Device(record) => {
                    write.open_table(DEVICES)?.insert(record.device.0, &*to_json(record))?;
                }
            }
        }
        Ok(write.commit()?)
    }
}

enum Row<'a> {
    Site(&'a SiteRecord),
    Code(&'a [u8; 32], &'a CodeRecord),
    Device(&'a DeviceRecord),
}

/// Why a code lets nobody in.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedeemError {
    /// The node is told why.
    #[error("{}", .0.text)]
    Refused(Refusal),
    /// The register fails.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<Refusal> for RedeemError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Names whoever used a code, so that the same one may ask again.
fn installation(request: &EnrolRequest, key_hash: [u8; 32]) -> [u8; 32] {
    let parts = [request.log_key, request.genesis_random, key_hash].concat();
    shared::segment::context::hash("warebook 2026-11 enrolled installation", &parts)
}

fn unknown_site(site: SiteNo) -> Refusal {
    let text = format!(
        "HQ has no site {site}: ask HQ for a code of an existing site (hq-server site list, hq-server site code SITE)"
    );
    Refusal::new(Code::UNKNOWN_SITE, text)
}

fn wrong_code(site: SiteNo) -> Refusal {
    let text = format!(
        "HQ never gave this code for site {site}: copy it again in one piece, or ask HQ for a new one (hq-server site code SITE)"
    );
    Refusal::new(Code::WRONG_CODE, text)
}

fn code_used() -> Refusal {
    let text = "this code was used by another installation already: a code lets in one; ask HQ for a new one (hq-server site code SITE)";
    Refusal::new(Code::CODE_USED, text)
}

fn code_expired(expired_at: Timestamp) -> Refusal {
    let text = format!(
        "this code expired at {expired_at}: ask HQ for a new one (hq-server site code SITE)"
    );
    Refusal::new(Code::CODE_EXPIRED, text)
}

fn keys_taken() -> Refusal {
    let text = "this node's keys are enrolled already: run `edge-node init` in an empty directory and enrol that one";
    Refusal::new(Code::KEYS_TAKEN, text)
}

/// What a revoked installation is told.
pub(super) fn revoked(peer: Peer) -> Refusal {
    let text = format!(
        "HQ has revoked this node (site {}, device {}): what it recorded stays in its log; ask HQ for a new code (hq-server site code SITE) and enrol a new installation",
        peer.site, peer.device
    );
    Refusal::new(Code::REVOKED, text)
}

fn unknown_installation(peer: Peer) -> Refusal {
    let text = format!(
        "HQ's register does not know this certificate of site {}, device {}: HQ may have been restored from a backup; ask HQ for a new code (hq-server site code SITE)",
        peer.site, peer.device
    );
    Refusal::new(Code::UNKNOWN_SITE, text)
}

fn damaged(what: &'static str) -> FileError {
    FileError::Damaged(DamagedFile { file: FILE, what })
}

fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|_| damaged(what))
}

fn to_json(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records are plain data")
}
