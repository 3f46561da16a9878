//! What HQ says is on hand at a site: for an installation that takes the place of one that is lost.
//! Signed, for a node counts on it. Knows no books and no journal.

use ed25519_dalek::{SigningKey, VerifyingKey};

use super::limits;
use super::wire::{self, FrameError, Reader, Writer};
use crate::ids::{DeviceNo, ItemNo, Seq, SiteNo};
use crate::quantity::{Quantity, ShortText};
use crate::segment::context::{self, BadSignature};
use crate::time::Timestamp;

/// How much of an item is on hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockLevel {
    /// The item.
    pub item: ItemNo,
    /// The lot, where HQ costs lots by themselves.
    pub lot: Option<ShortText>,
    /// In smallest units; below zero where more left than came.
    pub quantity: Quantity,
}

/// Up to where a log of the site is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompleteTo {
    /// The installation.
    pub device: DeviceNo,
    /// The last fact of its log that is in the books.
    pub last: Seq,
    /// When that was recorded.
    pub recorded_at: Timestamp,
}

/// A site's stock as HQ's books have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteStock {
    /// The site.
    pub site: SiteNo,
    /// HQ's time.
    pub at: Timestamp,
    /// The logs of the site.
    pub logs: Vec<CompleteTo>,
    /// Whatever is not zero.
    pub levels: Vec<StockLevel>,
}

/// A site's stock with HQ's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedSiteStock {
    /// What HQ says.
    pub stock: SiteStock,
    /// By HQ's log key.
    pub signature: [u8; 64],
}

impl SiteStock {
    /// Signs with HQ's log key; `None` where it is more than a frame may hold.
    pub fn sign(self, key: &SigningKey) -> Option<SignedSiteStock> {
        let content = self.encode();
        let fits = content.len() + 64 <= limits::STOCK_BYTES_MAX;
        let signature = context::sign(key, context::SITE_STOCK, &content);
        fits.then_some(SignedSiteStock { stock: self, signature })
    }

    fn write(&self, out: &mut Writer) {
        out.unsigned(self.site);
        out.signed(self.at.0);
        out.unsigned(self.logs.len() as u64);
        for CompleteTo { device, last, recorded_at } in &self.logs {
            out.unsigned(*device);
            out.unsigned(*last);
            out.signed(recorded_at.0);
        }
        out.unsigned(self.levels.len() as u64);
        for StockLevel { item, lot, quantity } in &self.levels {
            out.unsigned(*item);
            out.bytes(lot.as_deref().unwrap_or_default());
            out.signed(quantity.0);
        }
    }

    fn encode(&self) -> Vec<u8> {
        wire::written(|out| self.write(out))
    }
}

impl SignedSiteStock {
    /// Checks HQ's signature.
    pub fn verify(&self, hq_key: &VerifyingKey) -> Result<(), BadSignature> {
        let content = self.stock.encode();
        context::verify(hq_key, context::SITE_STOCK, &content, &self.signature)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        self.stock.write(out);
        out.raw(&self.signature);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, FrameError> {
        let (site, at) = (SiteNo(input.small("a site")?), Timestamp(input.signed()?));
        let (mut logs, mut levels) = (Vec::new(), Vec::new());
        for _ in 0..input.unsigned()? {
            logs.push(CompleteTo {
                device: DeviceNo(input.small("an installation")?),
                last: Seq(input.unsigned()?),
                recorded_at: Timestamp(input.signed()?),
            });
        }
        for _ in 0..input.unsigned()? {
            let item = ItemNo(input.small("an item")?);
            let lot = input.bytes(LOT_BYTES_MAX, "a lot")?;
            let lot = (!lot.is_empty()).then(|| ShortText::from_slice(lot));
            levels.push(StockLevel { item, lot, quantity: Quantity(input.signed()?) });
        }
        let stock = SiteStock { site, at, logs, levels };
        Ok(Self { stock, signature: input.array()? })
    }
}

/// The most bytes of a lot, as of any field.
const LOT_BYTES_MAX: usize = crate::fact::record::FIELD_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_signed() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let lot = Some(ShortText::from_slice(b"L-1"));
        let signed = SiteStock {
            site: SiteNo(3),
            at: Timestamp(1_795_519_885_123),
            logs: vec![CompleteTo {
                device: DeviceNo(2),
                last: Seq(700),
                recorded_at: Timestamp(1_795_519_000_000),
            }],
            levels: vec![
                StockLevel { item: ItemNo(1), lot: None, quantity: Quantity(12) },
                StockLevel { item: ItemNo(1), lot, quantity: Quantity(-7) },
            ],
        };
        let signed = signed.sign(&key).expect("little");
        let bytes = wire::written(|out| signed.write(out));
        let read = SignedSiteStock::read(&mut Reader::new(&bytes)).expect("a stock");
        assert_eq!((read.verify(&key.verifying_key()), &read), (Ok(()), &signed));
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let accepted = SignedSiteStock::read(&mut Reader::new(&changed))
                .is_ok_and(|changed| changed.verify(&key.verifying_key()).is_ok());
            assert!(!accepted, "byte {index} is not covered");
        }
    }
}
