#![doc = include_str!("FORMAT.md")]

mod body;
mod by_number;
pub mod effective;
pub mod field;
#[cfg(test)]
pub(crate) mod generated;
pub mod kind;
pub mod record;
pub mod reversals;
pub mod statement;

pub(crate) use body::Encoded;
pub use kind::{Kind, KindNo};
pub use record::{Fact, Fields, Malformed, Tag, Value, WireType};
