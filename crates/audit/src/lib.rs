//! The audit journal: what happened, in order, and how to show that nobody changed it since.
//!
//! Every statement writes an intent before its first effect and an outcome after its last row; both are one record where
//! effect and end are one, as for a refusal or a row that was looked up. Records carry three
//! layers of evidence: each session's chain of hashes, one Merkle log over all records (RFC 9162), and signed
//! checkpoints of that log (C2SP tlog-checkpoint).
//!
//! Invariants:
//! - Records are appended; nothing is ever written over. A record is in the file before the append returns.
//! - After a write or fsync failed nothing is written again: every append is refused with `audit_unavailable`. A write
//!   that found the disk full is the exception: it is taken back, and its records wait, refusing others, for room.
//! - What a checkpoint vouches for is durable before the checkpoint is.
//! - A leaf commits to salted content, so a record can be erased later and the proofs still hold.
//! - A statement that policy refused leaves its fingerprint, not its text.
//!
//! It is not a place for query results, and not a queue: nobody is told of a record but who asks.

mod books;
mod chain;
mod checkpoint;
mod core;
mod error;
mod export;
mod form;
mod frame;
mod hash;
mod journal;
mod keeper;
mod keys;
mod layout;
mod log;
pub mod merkle;
mod note;
mod reader;
mod record;
mod recovery;
mod rows;
mod scan;
mod session;
mod state;
mod stored;
mod verify;

pub use self::{
    checkpoint::Checkpoint,
    error::AuditError,
    export::{ExportFilter, ExportFormat, export},
    form::IntentForm,
    hash::Hash,
    journal::{Durability, InclusionProof, Journal, JournalOptions},
    record::{Decision, EventFields, EventKind, IntentFields, MaskApplied, Outcome, OutcomeFields, SQL_BYTES_MAX},
    rows::schema,
    scan::{Charges, Scan, Settled},
    session::{IntentReceipt, QueuedOutcome, SessionChain},
    verify::{Fault, Report, VerifyOptions, verify, verify_with},
};
