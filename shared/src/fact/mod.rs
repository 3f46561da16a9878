#![doc = include_str!("FORMAT.md")]

pub mod effective;
pub mod field;
pub mod kind;
pub mod record;
pub mod statement;

pub use kind::{Kind, KindNo};
pub use record::{Fact, Malformed, Tag, Value, WireType};
