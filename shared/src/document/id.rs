//! What names a shared document, and who may write it. Everything follows from the name alone: its
//! beginning, the sites that handle it, the actor of each installation. Knows no content.

use std::fmt;
use std::str::FromStr;

use crate::ids::{Capture, DeviceNo, LogId, SiteNo};
use crate::segment::context;
use crate::varint::{self, VarintError};

/// What people coordinate in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// Goods on their way between two sites.
    Transfer,
    /// An order that a site works on.
    Order,
    /// A stocktake's figures, before they are facts.
    CountSheet,
    /// What a site's people note of items and of their place.
    SiteNotes,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Transfer, Self::Order, Self::CountSheet, Self::SiteNotes];

    /// The word in ids, messages and commands.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Order => "order",
            Self::CountSheet => "count-sheet",
            Self::SiteNotes => "notes",
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Transfer => 1,
            Self::Order => 2,
            Self::CountSheet => 3,
            Self::SiteNotes => 4,
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Names a document for ever, through all its generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentId {
    /// Goods on their way.
    Transfer {
        /// The site they leave.
        from: SiteNo,
        /// The site they go to.
        to: SiteNo,
        /// The ship movement, the first of its group.
        ship: Capture,
    },
    /// An order that a site works on.
    Order {
        /// The site.
        site: SiteNo,
        /// The order's fact.
        order: Capture,
    },
    /// A stocktake.
    CountSheet {
        /// The site.
        site: SiteNo,
        /// The installation that began it, and its own number for it.
        sheet: Capture,
    },
    /// A site's notes.
    SiteNotes {
        /// The site.
        site: SiteNo,
    },
}

/// A text or bytes that name no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' names no document: they look like transfer:3-1042:5:7, order:1-9:5, count-sheet:3-2:5 \
     or notes:5"
)]
pub struct NotADocumentId(pub String);

impl DocumentId {
    /// Its kind.
    pub const fn kind(self) -> DocumentKind {
        match self {
            Self::Transfer { .. } => DocumentKind::Transfer,
            Self::Order { .. } => DocumentKind::Order,
            Self::CountSheet { .. } => DocumentKind::CountSheet,
            Self::SiteNotes { .. } => DocumentKind::SiteNotes,
        }
    }

    /// The sites that handle it: they receive it and may write it, as HQ may.
    pub fn sites(self) -> impl Iterator<Item = SiteNo> {
        let (site, other) = match self {
            Self::Transfer { from, to, .. } => (from, Some(to).filter(|to| *to != from)),
            Self::Order { site, .. } | Self::CountSheet { site, .. } | Self::SiteNotes { site } => {
                (site, None)
            }
        };
        std::iter::once(site).chain(other)
    }

    /// Whether a site handles it.
    pub fn is_of(self, site: SiteNo) -> bool {
        self.sites().any(|own| own == site)
    }

    /// What it is about, beside the sites.
    const fn capture(self) -> Option<Capture> {
        match self {
            Self::Transfer { ship, .. } => Some(ship),
            Self::Order { order, .. } => Some(order),
            Self::CountSheet { sheet, .. } => Some(sheet),
            Self::SiteNotes { .. } => None,
        }
    }

    /// The installation that its name says began it, and the site of that installation. HQ gives
    /// out the name of no other's.
    pub const fn begun_by(self) -> Option<(SiteNo, DeviceNo)> {
        match self {
            Self::Transfer { from, ship, .. } => Some((from, ship.device)),
            Self::CountSheet { site, sheet } => Some((site, sheet.device)),
            Self::Order { .. } | Self::SiteNotes { .. } => None,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        varint::write_unsigned(out, self.kind().number());
        for site in self.sites() {
            varint::write_unsigned(out, site.into());
        }
        if let Some(capture) = self.capture() {
            varint::write_unsigned(out, capture.device.into());
            varint::write_unsigned(out, capture.counter);
        }
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let number = |input: &mut &[u8]| u32::try_from(varint::read_unsigned(input).ok()?).ok();
        let capture = |input: &mut &[u8]| {
            let device = DeviceNo(number(input)?);
            Some(Capture { device, counter: varint::read_unsigned(input).ok()? })
        };
        let kind = varint::read_unsigned(input).ok()?;
        let site = SiteNo(number(input)?);
        match kind {
            1 => {
                let to = SiteNo(number(input)?);
                let ship = capture(input)?;
                (site != to).then_some(Self::Transfer { from: site, to, ship })
            }
            2 => Some(Self::Order { site, order: capture(input)? }),
            3 => Some(Self::CountSheet { site, sheet: capture(input)? }),
            4 => Some(Self::SiteNotes { site }),
            _ => None,
        }
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().word())?;
        if let Some(capture) = self.capture() {
            write!(f, ":{capture}")?;
        }
        self.sites().try_for_each(|site| write!(f, ":{site}"))
    }
}

impl FromStr for DocumentId {
    type Err = NotADocumentId;

    fn from_str(text: &str) -> Result<Self, NotADocumentId> {
        let parts: Vec<_> = text.split(':').collect();
        let site = |text: &str| text.parse().ok().map(SiteNo);
        let read = || match parts[..] {
            ["transfer", ship, from, to] => {
                let (from, to) = (site(from)?, site(to)?);
                let ship = ship.parse().ok()?;
                (from != to).then_some(Self::Transfer { from, to, ship })
            }
            ["order", order, of] => {
                Some(Self::Order { site: site(of)?, order: order.parse().ok()? })
            }
            ["count-sheet", sheet, of] => {
                Some(Self::CountSheet { site: site(of)?, sheet: sheet.parse().ok()? })
            }
            ["notes", of] => Some(Self::SiteNotes { site: site(of)? }),
            _ => None,
        };
        // One text for one document: no leading zeros, no signs.
        let id = read().filter(|id| id.to_string() == text);
        id.ok_or_else(|| NotADocumentId(text.to_owned()))
    }
}

/// A document's generation: what replicas exchange. HQ may begin the next one, and then the one
/// before takes no more changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// The document.
    pub id: DocumentId,
    /// Counts from 1.
    pub generation: u32,
}

impl DocumentKey {
    /// A document's first generation.
    pub const fn first(id: DocumentId) -> Self {
        Self { id, generation: 1 }
    }

    /// The generation after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self { id: self.id, generation: self.generation + 1 }
    }

    /// Bytes on the wire and in stores.
    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        self.write(&mut out);
        out
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        self.id.write(out);
        varint::write_unsigned(out, self.generation.into());
    }

    /// Takes a key off the front of bytes; `None` where there is none.
    pub(crate) fn read(input: &mut &[u8]) -> Option<Self> {
        let id = DocumentId::read(input)?;
        let generation: Result<u64, VarintError> = varint::read_unsigned(input);
        let generation = u32::try_from(generation.ok()?).ok().filter(|number| *number > 0)?;
        Some(Self { id, generation })
    }

    /// Reads what [`DocumentKey::encode`] wrote.
    pub fn decode(mut input: &[u8]) -> Option<Self> {
        Self::read(&mut input).filter(|_| input.is_empty())
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)?;
        if self.generation > 1 { write!(f, " (generation {})", self.generation) } else { Ok(()) }
    }
}

/// Who writes in a document: an installation's log. The site and the installation can be read
/// from it; the rest is a hash, so that an installation that begins a new log begins anew here,
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(pub [u8; 16]);

impl Actor {
    /// The actor of an installation.
    pub fn of(site: SiteNo, device: DeviceNo, log: &LogId) -> Self {
        Self::made(site, device, &context::hash(context::DOCUMENT_ACTOR, &log.0))
    }

    /// The actor of a document's beginning, which nobody writes twice.
    pub fn of_genesis(key: DocumentKey) -> Self {
        let hash = context::hash(context::DOCUMENT_GENESIS, &key.encode());
        Self::made(SiteNo(0), DeviceNo(0), &hash)
    }

    fn made(site: SiteNo, device: DeviceNo, hash: &[u8; 32]) -> Self {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&site.0.to_be_bytes());
        bytes[4..8].copy_from_slice(&device.0.to_be_bytes());
        bytes[8..].copy_from_slice(&hash[..8]);
        Self(bytes)
    }

    /// The site that it says it is of.
    pub fn site(self) -> SiteNo {
        let [a, b, c, d, ..] = self.0;
        SiteNo(u32::from_be_bytes([a, b, c, d]))
    }

    /// The installation that it says it is.
    pub fn device(self) -> DeviceNo {
        let [_, _, _, _, a, b, c, d, ..] = self.0;
        DeviceNo(u32::from_be_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> [DocumentId; 4] {
        let capture = Capture { device: DeviceNo(3), counter: 1042 };
        [
            DocumentId::Transfer { from: SiteNo(5), to: SiteNo(700), ship: capture },
            DocumentId::Order { site: SiteNo(5), order: capture },
            DocumentId::CountSheet { site: SiteNo(5), sheet: capture },
            DocumentId::SiteNotes { site: SiteNo(5) },
        ]
    }

    #[test]
    fn names_read_back() {
        for id in ids() {
            assert_eq!(id.to_string().parse(), Ok(id));
            let key = DocumentKey { id, generation: 300 };
            assert_eq!(DocumentKey::decode(&key.encode()), Some(key));
            let bytes = key.encode();
            for cut in 0..bytes.len() {
                assert_eq!(DocumentKey::decode(&bytes[..cut]), None, "{id} cut at {cut}");
            }
        }
        let wrong = [
            "",
            "notes",
            "notes:05",
            "notes:+5",
            "notes:5:6",
            "transfer:3-1:5",
            "transfer:3-1:5:5",
            "count-sheet:3:5",
        ];
        for text in wrong {
            assert_eq!(text.parse::<DocumentId>(), Err(NotADocumentId(text.to_owned())));
        }
        assert_eq!(DocumentKey::decode(&[4, 5, 0]), None, "generations count from 1");
        assert_eq!(DocumentKey::decode(&[1, 5, 5, 3, 1, 1]), None, "to where it came from");
    }

    #[test]
    fn sites_and_actors_follow_from_names() {
        let [transfer, order, ..] = ids();
        assert!(transfer.is_of(SiteNo(5)) && transfer.is_of(SiteNo(700)));
        assert!(order.is_of(SiteNo(5)) && !order.is_of(SiteNo(700)));
        let actor = Actor::of(SiteNo(5), DeviceNo(9), &LogId([1; 32]));
        assert_eq!((actor.site(), actor.device()), (SiteNo(5), DeviceNo(9)));
        assert_ne!(actor, Actor::of(SiteNo(5), DeviceNo(9), &LogId([2; 32])));
        let first = DocumentKey::first(order);
        assert_ne!(Actor::of_genesis(first), Actor::of_genesis(first.next()));
    }
}
