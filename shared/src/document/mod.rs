//! Documents that any Automerge program can read. Facts decide money, documents coordinate people:
//! nothing that changes an amount lives only here.

pub mod journal;
