//! What reports read beside the books: stored vouchers and stored facts. Knows no file and no
//! database; whoever keeps them lends them through [`Archive`].

use std::ops::RangeInclusive;

use shared::fact::Fact;
use shared::ids::{Capture, CompanyNo, DeviceNo, Head, LogId, Seq, SiteNo};
use shared::segment::seal::SignedSeal;
use shared::time::{Month, Timestamp};

use crate::books::Voucher;

/// The archive can't be read. The sentence says which file and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveError(pub String);

/// A voucher with its place in the sequence.
#[derive(Clone, Debug)]
pub struct StoredVoucher {
    /// The voucher.
    pub voucher: Voucher,
    /// The entry of the sequence that posted it.
    pub position: u64,
    /// When HQ received what it posts.
    pub posted_at: Timestamp,
}

/// A fact as it was signed, with its place in its log.
#[derive(Clone, Debug)]
pub struct StoredFact {
    /// The fact.
    pub fact: Fact,
    /// The site whose log it is.
    pub site: SiteNo,
    /// The log.
    pub log: LogId,
    /// The place in it.
    pub seq: Seq,
    /// When HQ received it, where it is sequenced.
    pub received_at: Option<Timestamp>,
    /// The chain's head after it.
    pub head: Head,
    /// The seal that covers it.
    pub seal: Option<StoredSeal>,
    /// The other facts of its group.
    pub group: Vec<Capture>,
    /// The vouchers that name it.
    pub vouchers: Vec<StoredVoucher>,
}

/// A seal with what it was checked by.
#[derive(Clone, Debug)]
pub struct StoredSeal {
    /// The seal.
    pub seal: SignedSeal,
    /// The log's key.
    pub public_key: [u8; 32],
    /// Signature and head were checked just now.
    pub verified: bool,
}

/// Stored vouchers and facts.
pub trait Archive: Send + Sync + 'static {
    /// Vouchers of a company and month with these numbers, ascending.
    fn vouchers(
        &self,
        company: CompanyNo,
        month: Month,
        numbers: RangeInclusive<u32>,
    ) -> Result<Vec<StoredVoucher>, ArchiveError>;

    /// The fact at a place of an installation's log.
    fn fact(&self, device: DeviceNo, seq: Seq) -> Result<Option<StoredFact>, ArchiveError>;
}
