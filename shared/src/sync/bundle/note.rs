//! A dispatch note: what one site has shipped to another, for the two of them to read, so that goods
//! can be received before HQ has told of them. Knows no catalogue. Invariant: its facts are those of
//! the sender's log, signed with that log's key for this receiver.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::super::frame::Frame;
use super::super::payload;
use super::{BundleError, BundleHead, BundleReader, BundleScan, BundleWriter, Direction, Seed};
use crate::fact::Fact;

/// The most facts of a note.
pub const NOTE_FACTS_MAX: usize = 1_024;

/// Facts of a frame: the largest ones fit it.
const FRAME_FACTS: usize = 64;

/// Makes a note of whole facts: from the sender's log key to the receiver's.
pub fn write_note(
    head: &BundleHead,
    receiver: &VerifyingKey,
    sender: SigningKey,
    seed: &Seed,
    facts: &[Fact],
) -> Result<Vec<u8>, BundleError> {
    let mut writer = BundleWriter::new(head, receiver, sender, seed)?;
    for facts in facts.chunks(FRAME_FACTS) {
        writer.push(&Frame::Dispatch(facts.len() as u64, payload::pack(facts)));
    }
    Ok(writer.finish())
}

/// Proves that `sender` made a note, and gives its facts to the receiver.
pub fn read_note(
    bytes: &[u8],
    sender: &VerifyingKey,
    receiver: &SigningKey,
) -> Result<Vec<Fact>, BundleError> {
    let mut scan = BundleScan::new();
    scan.push(bytes)?;
    let scanned = scan.finish()?;
    if !matches!(scanned.head().direction, Direction::ToSite(_)) {
        return Err(BundleError::WrongWay(scanned.head().direction));
    }
    let mut reader = BundleReader::new(scanned.verify(sender)?, receiver)?;
    reader.push(bytes)?;
    let mut facts = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        if let Frame::Dispatch(count, packed) = frame {
            let read = payload::unpack(&packed, count);
            facts.extend(read.map_err(|error| BundleError::Inside(error.to_string()))?);
        }
        if facts.len() > NOTE_FACTS_MAX {
            return Err(BundleError::Inside("it has too many facts".to_owned()));
        }
    }
    reader.finish()?;
    Ok(facts)
}
