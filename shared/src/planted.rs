//! Faults that the simulation must find: each takes away one thing that a promise stands on. They exist
//! only with the feature `planted-faults`, which no program that is delivered has; without it [`is`] is
//! false before the compiler has looked twice. Invariant: at most one is planted at a time.

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $word:literal;)*) => {
        /// What is wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its word.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.word() == word)
            }
        }
    };
}

faults! {
    /// HQ acknowledges facts before they are durable.
    AckBeforeDurable "ack_before_durable";
    /// A node tells the keeper that a movement is recorded before it is durable.
    RecordBeforeDurable "record_before_durable";
    /// A keeper's retry is recorded again.
    SkippedDuplicateCheck "skipped_duplicate_check";
    /// A node gives a capture number twice.
    ReusedSequence "reused_sequence";
    /// A node does not compare its log with what HQ has under its name.
    DroppedForkCheck "dropped_fork_check";
    /// A node believes words that HQ did not sign.
    BelievedAnybody "believed_anybody";
    /// A node sends half a group.
    HalfGroup "half_group";
    /// One fact that the fold can't take stops all.
    PoisonStopsAll "poison_stops_all";
    /// Pools that late facts changed are not folded again.
    SkippedSettle "skipped_settle";
    /// HQ signs that everything it has is in the books.
    PostedTooEarly "posted_too_early";
    /// A bundle begins after a fact that HQ does not have.
    GapBeforeBundle "gap_before_bundle";
}

/// Whether a fault is planted.
#[cfg(not(feature = "planted-faults"))]
pub const fn is(_fault: Fault) -> bool {
    false
}

/// Whether a fault is planted.
#[cfg(feature = "planted-faults")]
pub fn is(fault: Fault) -> bool {
    planting::now() == Some(fault)
}

#[cfg(feature = "planted-faults")]
pub use planting::plant;

#[cfg(feature = "planted-faults")]
mod planting {
    use std::sync::Mutex;
    use std::sync::PoisonError;

    use super::Fault;

    static PLANTED: Mutex<Option<Fault>> = Mutex::new(None);

    pub(super) fn now() -> Option<Fault> {
        *PLANTED.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plants a fault in the place of another one, or takes it out.
    pub fn plant(fault: Option<Fault>) {
        *PLANTED.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
