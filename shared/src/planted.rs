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
    /// HQ tells of decisions on changes of documents before they are durable.
    DecidedBeforeDurable "decided_before_durable";
    /// A person is told that an edit is kept before it is durable.
    EditBeforeDurable "edit_before_durable";
    /// HQ takes changes in anybody's name.
    AnybodysChange "anybodys_change";
    /// HQ takes changes of documents that a site does not handle.
    OtherSitesChange "other_sites_change";
    /// A site is told of documents that it does not handle.
    ToldOfAll "told_of_all";
    /// Of several values that wait for a person one is shown.
    DroppedConflict "dropped_conflict";
    /// An edit that HQ refused is not kept for its author.
    ForgottenRefusal "forgotten_refusal";
    /// What HQ told of documents is not given back to an HQ that was put back.
    KeptToItself "kept_to_itself";
    /// A branch's facts keep the numbers that other facts have.
    BranchKeepsNumbers "branch_keeps_numbers";
    /// A node keeps what another life of HQ told of vouchers.
    StaleVouchers "stale_vouchers";
    /// An item that a site takes up is not told to a site that has heard everything else.
    SilentItem "silent_item";
    /// A metered link closes before all is said.
    LeavesEarly "leaves_early";
    /// A node goes on after what HQ once acknowledged, and not where HQ is.
    WrongCursorAfterRestore "wrong_cursor_after_restore";
    /// A carrier drops what HQ has received and not copied.
    TrimAtReceived "trim_at_received";
    /// A restored HQ passes over what nodes give back.
    GivenBackIgnored "given_back_ignored";
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
