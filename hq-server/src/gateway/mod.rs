//! Where facts enter HQ: connections are admitted, what they bring is verified and made durable.
//! Knows nothing of the books: receiving never waits for posting.

pub mod answers;
pub mod branches;
pub mod bundle;
pub mod carry;
pub mod documents;
pub mod enrol;
pub mod intake;
pub mod keyed_state;
pub mod link;
pub mod store;
