//! The engine: binds a statement to one version of the tables, governs it, plans it and runs it.
//!
//! A statement becomes a [`Planned`]: its names resolved against one snapshot and one governance, every table behind its
//! row policy, verified, traced for masked columns, optimised, with placeholders for all that belongs to one execution.
//! [`EngineSession::execute`] runs it against a snapshot and gives [`UnmaskedRows`], which only masking opens;
//! [`EngineSession::write`] gives the rows of a write to a transaction.
//!
//! Invariants:
//! - The only way from a name to a table is the binder, which hands out governed plans and nothing else; a rule verifies
//!   every plan before and after optimisation and fails closed.
//! - Nothing of the user's runs on rows that a policy hides, except comparisons of an unmasked column with a constant.
//! - UPDATE and DELETE are queries for row ids, never DataFusion's own writes.
//! - A template holds no clock, no session value and no version.
//! - Whatever a client sends, a plan ends: within its memory, its deadline and its cancellation, and without a panic.
//!
//! This is the only crate that names DataFusion. It is not a parser, decides no permission, and commits nothing.

mod barrier;
mod bind;
mod binder;
mod cast;
mod castable;
mod catalog;
mod check_default;
mod checked;
mod coerce;
mod constant;
mod dialect;
mod engine;
mod error;
mod explain;
mod functions;
mod governance;
mod governed;
mod join_keys;
mod join_order;
mod leakproof;
mod lineage;
mod literals;
mod long_joins;
mod lookup;
mod lower;
mod mask;
mod memory;
mod naming;
mod narrow;
mod numeric_digits;
mod physical;
mod plan;
mod rewrite;
mod row_check;
mod rows;
mod run;
mod scan;
mod semantics;
mod session;
mod settings;
mod text_input;
mod tree;
mod types;
mod values;
mod verify;
mod write;

pub use self::{
    engine::{Engine, EngineOptions},
    error::EngineError,
    governance::{Control, Governance, NoVirtualTables, ObjectGovernance, SessionIdentity, Snapshot, VirtualTables},
    mask::{MaskKey, MaskPlan, REDACTED},
    plan::{Estimate, Planned},
    rows::{MaskedRows, UnmaskedRows},
    session::EngineSession,
    types::Column,
    write::CopyTarget,
};
