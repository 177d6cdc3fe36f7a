use std::{fmt, ops::Deref, sync::Arc};

use serde::de::IgnoredAny;

/// JSON text, seen to be such: what is read again and again is parsed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(Arc<str>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value is not JSON")]
pub struct InvalidJson;

impl JsonText {
    /// # Errors
    /// [`InvalidJson`].
    pub fn new(text: impl Into<Arc<str>>) -> Result<JsonText, InvalidJson> {
        let text = text.into();
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Ok(JsonText(text)),
            Err(_) => Err(InvalidJson),
        }
    }

    /// What a serializer has written.
    pub(crate) fn written(text: impl Into<Arc<str>>) -> JsonText {
        JsonText(text.into())
    }

    #[must_use]
    pub fn into_text(self) -> Arc<str> {
        self.0
    }

    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl From<&serde_json::Value> for JsonText {
    fn from(value: &serde_json::Value) -> JsonText {
        JsonText::written(value.to_string())
    }
}

impl Deref for JsonText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
