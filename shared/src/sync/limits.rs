//! How large and how many: constants of the protocol, the same on both sides. Invariant: whatever
//! a correct peer sends fits them, and whatever doesn't fit is refused before it is held.

use crate::segment::SEGMENT_BYTES_MAX;

/// The most packed bytes of a run: the largest group of the largest facts still fits.
pub const FACTS_BYTES_MAX: usize = SEGMENT_BYTES_MAX + 64 * 1024;

/// What a sender aims at for the packed bytes of a run; only a single group may be larger.
pub const FACTS_BYTES_AIM: usize = 256 * 1024;

/// The most packed bytes of a batch of state.
pub const STATE_BYTES_MAX: usize = 256 * 1024;

/// The most bytes of a site's stock.
pub const STOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most facts of a batch of state.
pub const STATE_FACTS_MAX: usize = 1024;

/// The most packed bytes of a batch of documents' changes.
pub const DOCUMENTS_BYTES_MAX: usize = 256 * 1024;

/// The most bytes that a batch of documents' changes unpacks to.
pub const DOCUMENTS_UNPACKED_MAX: usize = 512 * 1024;

/// What HQ aims at for them; a single change may be more.
pub const DOCUMENTS_BYTES_AIM: usize = 64 * 1024;

/// The most news in a batch.
pub const DOCUMENT_NEWS_MAX: usize = 1024;

/// The most heads of a document: each is a change of its own.
pub const DOCUMENT_HEADS_MAX: usize = 1_000;

/// The most changes of documents that a site has under way and HQ did not decide on, and the most
/// that wait for HQ's store before no more frames are read.
pub const DOCUMENT_CHANGES_WINDOW: usize = 64;

/// The most bytes of a text that people read.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Cuts a text that people read to `bytes_max`, between characters.
pub fn cut(text: &mut String, bytes_max: usize) {
    let mut ends = (0..=bytes_max.min(text.len())).rev();
    text.truncate(ends.find(|end| text.is_char_boundary(*end)).unwrap_or(0));
}

/// The most bytes of one certificate or certificate request.
pub const CERTIFICATE_BYTES_MAX: usize = 4 * 1024;

/// The most certificates of a chain.
pub const CHAIN_MAX: usize = 4;

/// The most logs of HQ itself: one more with each restore.
pub const HQ_LOGS_MAX: usize = 64;
