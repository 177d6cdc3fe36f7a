use std::fmt;

use serde::{Deserialize, Serialize};

/// What a statement does to one object. The policy gate decides per (object, action).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    /// CREATE SCHEMA, TABLE, VIEW: decided on the name that would come to be.
    Create,
    Drop,
}

impl Action {
    pub const ALL: [Action; 7] = [
        Action::Select,
        Action::Insert,
        Action::Update,
        Action::Delete,
        Action::Truncate,
        Action::Create,
        Action::Drop,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Select => "select",
            Action::Insert => "insert",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Truncate => "truncate",
            Action::Create => "create",
            Action::Drop => "drop",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// Whether the action changes rows or the catalog.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Action::Select
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
