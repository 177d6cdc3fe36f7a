use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest identifier in bytes, as in PostgreSQL (NAMEDATALEN − 1). Longer ones are refused, not cut.
pub const NAME_BYTES_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid name: {why}")]
pub struct InvalidName {
    name: String,
    why: &'static str,
}

impl InvalidName {
    pub(crate) fn new(name: &str, why: &'static str) -> InvalidName {
        InvalidName { name: name.chars().take(80).collect(), why }
    }
}

/// Folds an identifier as PostgreSQL does: as written when quoted, ASCII lower case otherwise.
#[must_use]
pub fn fold_identifier(text: &str, quoted: bool) -> String {
    if quoted { text.to_owned() } else { text.to_ascii_lowercase() }
}

/// A table or view within an org, fully qualified and already folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    schema: Arc<str>,
    name: Arc<str>,
}

impl ObjectName {
    /// # Errors
    /// [`InvalidName`] when a part is empty, longer than [`NAME_BYTES_MAX`], or holds a control character.
    pub fn new(schema: &str, name: &str) -> Result<ObjectName, InvalidName> {
        for part in [schema, name] {
            if part.is_empty() || part.len() > NAME_BYTES_MAX {
                return Err(InvalidName::new(part, "a name is 1 to 63 bytes"));
            }
            if part.chars().any(char::is_control) {
                return Err(InvalidName::new(part, "a name holds no control character"));
            }
        }
        Ok(ObjectName { schema: schema.into(), name: name.into() })
    }

    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `schema.name`, parts quoted where SQL needs it; [`ObjectName`]'s `TryFrom<String>` reads it back.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_part(f, &self.schema)?;
        f.write_str(".")?;
        write_part(f, &self.name)
    }
}

fn write_part(f: &mut fmt::Formatter<'_>, part: &str) -> fmt::Result {
    let mut bytes = part.bytes();
    let plain = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'$');
    if plain { f.write_str(part) } else { write!(f, "\"{}\"", part.replace('"', "\"\"")) }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for ObjectName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<ObjectName, InvalidName> {
        let (schema, rest) = read_part(&text)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return if rest.is_empty() {
                ObjectName::new(ObjectName::DEFAULT_SCHEMA, &schema)
            } else {
                Err(InvalidName::new(&text, "expected `schema.name`"))
            };
        };
        let (name, rest) = read_part(rest)?;
        if rest.is_empty() {
            ObjectName::new(&schema, &name)
        } else {
            Err(InvalidName::new(&text, "expected `schema.name`"))
        }
    }
}

/// One identifier from the front of `text`, folded, and what follows it.
fn read_part(text: &str) -> Result<(String, &str), InvalidName> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (part, rest) = match text.split_once('.') {
            Some((part, _)) => (part, text.strip_prefix(part).unwrap_or_default()),
            None => (text, ""),
        };
        return Ok((fold_identifier(part, false), rest));
    };
    let mut part = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        if character != '"' {
            part.push(character);
        } else if characters.as_str().starts_with('"') {
            part.push('"');
            characters.next();
        } else {
            return Ok((part, characters.as_str()));
        }
    }
    Err(InvalidName::new(text, "a quote is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_print_and_read_back() {
        for (schema, name) in [("public", "orders"), ("S", "a.b"), ("x", "we \"quote\""), ("_a", "b$1")] {
            let object = ObjectName::new(schema, name).unwrap();
            assert_eq!(ObjectName::try_from(object.to_string()).unwrap(), object, "{object}");
        }
    }

    #[test]
    fn text_reads_as_sql_would() {
        let check = |text: &str, expected: Option<&str>| {
            let read = ObjectName::try_from(text.to_owned()).ok().map(|name| name.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("orders", Some("public.orders"));
        check("Sales.Orders", Some("sales.orders"));
        check("\"Sales\".\"Or\"\"ders\"", Some("\"Sales\".\"Or\"\"ders\""));
        check("a.b.c", None);
        check("", None);
        check("\"open", None);
        check("a.", None);
    }
}
