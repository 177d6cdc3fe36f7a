//! Pieces of a message's text that are JSON, read no further than they have to be.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// Of an object, in the order in which they came. Names may come twice.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

/// A list of objects: its name, and their members.
pub(crate) type Objects<'a> = (&'a str, Vec<Members<'a>>);

/// The text of a JSON value, without spaces around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Raw<'a> {
    text: &'a str,
    is_compact: bool,
}

impl<'a> Raw<'a> {
    /// `is_compact`: it is known to be as [`json::compact`](super::json::compact) would write it, without escapes and with
    /// no name twice in an object.
    pub(super) fn seen(text: &'a str, is_compact: bool) -> Raw<'a> {
        Raw { text, is_compact }
    }

    pub(crate) fn get(self) -> &'a str {
        self.text
    }

    /// `false`: it may be or not.
    pub(crate) fn is_compact(self) -> bool {
        self.is_compact
    }

    pub(crate) fn is_null(self) -> bool {
        self.text == "null"
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Raw<'a> {
        Raw::seen(value.get(), false)
    }
}
