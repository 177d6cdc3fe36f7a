//! The same messages as JSON and as MessagePack.
//!
//! MessagePack is turned into JSON text before it is read, and JSON into MessagePack after it is written: there is one
//! reader, so that no message means one thing in one encoding and another in the other. In a frame, whose lines cannot
//! hold arbitrary bytes, MessagePack is base64 (RFC 4648, section 4) after a field `data-encoding: msgpack`; as the body
//! of a POST it is plain, with `Content-Type: application/msgpack`.
//!
//! Numbers are kept exactly: whole ones within 64 bits, others as doubles.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{error::ProtocolError, json};

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Json,
    MessagePack,
}

impl Encoding {
    /// As `hello` and the field `data-encoding` name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Json => "json",
            Encoding::MessagePack => "msgpack",
        }
    }

    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::MessagePack => "application/msgpack",
        }
    }

    pub(crate) fn of_content_type(text: &str) -> Option<Encoding> {
        let media = text.split(';').next().unwrap_or_default().trim();
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        if is("application/msgpack") || is("application/x-msgpack") || is("application/vnd.msgpack") {
            return Some(Encoding::MessagePack);
        }
        is("application/json").then_some(Encoding::Json)
    }

    /// The JSON text of a message.
    ///
    /// # Errors
    /// [`ProtocolError::Parse`]: it is not in the encoding, or says what JSON cannot say. JSON text is not looked at.
    pub fn to_json(self, message: &[u8]) -> Result<Cow<'_, str>, ProtocolError> {
        match self {
            Encoding::Json => {
                let text = std::str::from_utf8(message).map_err(|error| ProtocolError::Parse(error.to_string()))?;
                Ok(Cow::Borrowed(text))
            }
            Encoding::MessagePack => message_pack_to_json(message).map(Cow::Owned),
        }
    }

    /// The message of JSON text.
    ///
    /// # Errors
    /// [`ProtocolError::Internal`]: the text is not JSON.
    pub fn from_json(self, text: &str) -> Result<Cow<'_, [u8]>, ProtocolError> {
        match self {
            Encoding::Json => Ok(Cow::Borrowed(text.as_bytes())),
            Encoding::MessagePack => {
                let value: serde_json::Value = serde_json::from_str(text).map_err(|_| ProtocolError::Internal)?;
                rmp_serde::to_vec(&value).map(Cow::Owned).map_err(|_| ProtocolError::Internal)
            }
        }
    }

    /// The JSON text of a frame's data.
    ///
    /// # Errors
    /// See [`Encoding::to_json`].
    pub fn frame_to_json(self, data: &[u8]) -> Result<Cow<'_, str>, ProtocolError> {
        match self {
            Encoding::Json => self.to_json(data),
            Encoding::MessagePack => {
                let joined: Vec<u8> = data.iter().copied().filter(|byte| *byte != b'\n').collect();
                let message = STANDARD
                    .decode(joined)
                    .map_err(|error| ProtocolError::Parse(format!("MessagePack in a frame is base64: {error}")))?;
                message_pack_to_json(&message).map(Cow::Owned)
            }
        }
    }

    /// A frame's data for JSON text: one line.
    ///
    /// # Errors
    /// See [`Encoding::from_json`].
    pub fn frame_from_json(self, text: &str) -> Result<Cow<'_, str>, ProtocolError> {
        match self {
            Encoding::Json => Ok(Cow::Borrowed(text)),
            Encoding::MessagePack => Ok(Cow::Owned(STANDARD.encode(self.from_json(text)?))),
        }
    }
}

fn message_pack_to_json(message: &[u8]) -> Result<String, ProtocolError> {
    let mut rest = message;
    let text = json::compact(&mut rmp_serde::Deserializer::new(&mut rest))
        .map_err(|error| ProtocolError::Parse(format!("MessagePack: {error}")))?;
    if rest.is_empty() {
        Ok(text)
    } else {
        Err(ProtocolError::Parse("MessagePack: bytes after the message".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn messages_are_the_same_in_both_encodings() {
        for text in [
            r#"{"jsonrpc":"2.0","id":7,"result":{"key":"a.b","value":[1,-2,2.5,true,null,"ä"],"version":9007199254740991}}"#,
            "[]",
            "null",
            r#"{"a":{"b":{"c":[[[]]]}}}"#,
        ] {
            let packed = Encoding::MessagePack.from_json(text).unwrap();
            assert_eq!(Encoding::MessagePack.to_json(&packed).unwrap(), text);
            let framed = Encoding::MessagePack.frame_from_json(text).unwrap();
            assert_eq!(Encoding::MessagePack.frame_to_json(framed.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        let check = |message: &[u8], expected: &str| {
            let error = Encoding::MessagePack.to_json(message).unwrap_err().to_string();
            assert!(error.contains(expected), "{message:02x?}: {error}");
        };
        check(&[0xc4, 1, 0], "byte array");
        check(&[0x81, 0x01, 0x02], "a name that is text");
        check(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], "infinite");
        check(&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2], "twice");
        check(&[0x01, 0x02], "bytes after");
        check(&[0xc7, 1, 5, 0], "MessagePack");
        check(&[], "MessagePack");
        // Lengths are claims: nothing is set aside for them.
        check(&[0xdd, 0xff, 0xff, 0xff, 0xff], "MessagePack");
        check(&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'], "MessagePack");
        check(&[0x91; 100], "at most 64 deep");
    }
}
