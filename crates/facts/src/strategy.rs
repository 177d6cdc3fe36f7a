//! What a namespace makes of writes that did not know of each other.

mod set;
mod view;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::{
    set::NotASet,
    view::{Found, Shown, View},
    write::{Stamp, WriteError},
};

/// Of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The later write, by hybrid logical clock; the other is kept in the history.
    #[default]
    Lww,
    /// A deletion, whenever it was made; between values the later one.
    DenyWins,
    /// All of them, until somebody who saw them writes again.
    MultiValue,
    /// The value is an object with an array at `path` (its members' names, from the outside); the array's elements, known
    /// by their member `id` or, without one, by all they are, are added and removed one by one. What was added stays unless its removal had
    /// seen it. Beside the array the later write counts.
    OrSet { path: Arc<[String]>, id: Option<String> },
    /// The value is a number: what all nodes added, less what they took.
    Counter,
}

impl Strategy {
    /// As configuration has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::Lww => "lww",
            Strategy::DenyWins => "deny_wins",
            Strategy::MultiValue => "multi_value",
            Strategy::OrSet { .. } => "or_set",
            Strategy::Counter => "counter",
        }
    }
}
