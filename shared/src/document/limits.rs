//! How large shared documents may be: constants of the protocol, the same on both sides, so that
//! what one side accepts no other refuses. Whoever raises one raises the protocol's version.

/// The most bytes of a change chunk.
pub const CHANGE_BYTES_MAX: usize = 16 * 1024;

/// The most puts of a change.
pub const CHANGE_PUTS_MAX: usize = 128;

/// The most values that the puts of a change replace, all together.
pub const CHANGE_REPLACED_MAX: usize = 512;

/// The most changes that a change builds on directly.
pub const CHANGE_DEPENDENCIES_MAX: usize = 32;

/// The most actors that a change names beside its own.
pub const CHANGE_ACTORS_MAX: usize = 32;

/// The most bytes of a key.
pub const KEY_BYTES_MAX: usize = 128;

/// The most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 1024;

/// The most changes of a document's generation, its beginning included.
pub const DOCUMENT_CHANGES_MAX: usize = 1_000;

/// The most bytes of a generation's changes together.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;

/// The most values that a key may have at once.
pub const VALUES_MAX: usize = 32;
