//! The nouns every room of Weir shares.
//!
//! Plain data, no I/O, no other crate of ours: organisations and principals, object names, actions, column types,
//! values and their text forms, and the refusals and errors that a client reads.

mod action;
mod array_text;
mod column_type;
mod identity;
mod ids;
mod name;
mod refusal;
pub mod text;
mod value;
mod value_type;

pub use self::{
    action::Action,
    array_text::{ArrayFault, read_array},
    column_type::{ColumnType, TYPE_TAG},
    identity::{AttributeValue, Attributes, Claims, ClientAddress, CredentialKind, Identity, OrgName, Principal},
    ids::{CredentialId, SessionId, StatementId},
    name::{InvalidName, NAME_BYTES_MAX, ObjectName, fold_identifier},
    refusal::{Code, Refusal, Result, SqlState},
    value::Value,
    value_type::ValueType,
};
