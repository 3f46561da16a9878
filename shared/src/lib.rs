//! What an edge node and HQ must agree on, and nothing else.
//!
//! Pure: no I/O, no clock, no async, no randomness, no floats, no hash-map order. Whatever needs
//! time or chance gets it as an argument. Every byte that is hashed or signed is made here.

pub mod catalogue;
pub mod decimal;
pub mod document;
pub mod fact;
pub mod ids;
pub mod money;
pub mod planted;
pub mod quantity;
pub mod segment;
pub mod sync;
pub mod time;
pub mod varint;
