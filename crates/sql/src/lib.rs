//! SQL text to [`Statement`]: parsed once, and from then on only the tree is asked.
//!
//! A statement knows its kind, the objects it names with what it does to each, its fingerprint and its shape for the
//! cost estimate. Only kinds on the allow-list of [`Kind`] exist; a construct that the engine would ignore in silence
//! (TABLESAMPLE, FOR UPDATE, …) is refused here, by name.
//!
//! It is not: a catalogue (names are not resolved), a planner, or a printer. No tree is ever printed and parsed again.

mod copy;
mod ddl;
mod fingerprint;
mod glance;
mod limits;
mod names;
mod parse;
mod restrictions;
mod session;
mod shape;
mod statement;
mod types;
mod uses;

/// The syntax tree's crate, the same one the engine plans from.
pub use sqlparser::ast;

pub use self::{
    copy::{CopyDirection, CopyFormat, CopyOptions, CopyStatement},
    ddl::{ColumnDefinition, CreateSchema, CreateTableAs, CreateView, DropKind, DropObjects, TableDefinition},
    fingerprint::Fingerprint,
    limits::{CHAIN_LENGTH_MAX, JOINS_MAX, NESTING_MAX, TOKENS_MAX},
    names::{HIDDEN_PREFIX, RawName, raw_name},
    parse::parse,
    session::{DeclareCursor, FetchCount, FetchCursor, Prepare, SetStatement},
    shape::{Expected, Shape},
    statement::{Kind, Statement},
    types::{column_type, value_type},
    uses::ObjectUse,
};
