//! Parameters by name: each read once, none that nobody reads.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::ProtocolError;

/// The members of an object. `null` counts as absent, except where any value may stand.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    /// Where the object is in the parameters: empty, or such as `entries[3].`.
    path: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Params<'a> {
    pub(crate) fn of_request(raw: Option<&'a RawValue>) -> Result<Params<'a>, ProtocolError> {
        match raw {
            Some(raw) => Params::object(raw, "params", String::new()),
            None => Ok(Params { path: String::new(), members: Vec::new() }),
        }
    }

    /// The object that is the `index`th of the list `name`.
    pub(crate) fn of_element(raw: &'a RawValue, name: &str, index: usize) -> Result<Params<'a>, ProtocolError> {
        let field = format!("{name}[{index}]");
        Params::object(raw, &field, format!("{field}."))
    }

    fn object(raw: &'a RawValue, field: &str, path: String) -> Result<Params<'a>, ProtocolError> {
        if !raw.get().starts_with('{') {
            return Err(ProtocolError::field(field, "must be an object"));
        }
        let Members(members) =
            serde_json::from_str(raw.get()).map_err(|error| ProtocolError::Parse(error.to_string()))?;
        let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        if let Some((name, _)) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(ProtocolError::field(format!("{path}{}", shortened(name)), "is there twice"));
        }
        Ok(Params { path, members })
    }

    /// The path of a parameter of this object.
    pub(crate) fn field(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Whatever stands there, also `null`.
    pub(crate) fn raw(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.members.iter().position(|(other, _)| other == name)?;
        Some(self.members.swap_remove(at).1)
    }

    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<Option<T>, ProtocolError> {
        match self.raw(name).filter(|raw| raw.get() != "null") {
            Some(raw) => read(raw).map(Some).map_err(|detail| ProtocolError::field(self.field(name), detail)),
            None => Ok(None),
        }
    }

    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<T, ProtocolError> {
        self.optional(name, read)?.ok_or_else(|| ProtocolError::field(self.field(name), "is missing"))
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ProtocolError> {
        let read = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|_| "must be true or false".to_owned());
        Ok(self.optional(name, read)?.unwrap_or(false))
    }

    /// # Errors
    /// A parameter that nobody read: a misspelt `ttl` must not make a fact that stays for ever.
    pub(crate) fn end(self) -> Result<(), ProtocolError> {
        match self.members.first() {
            Some((name, _)) => {
                Err(ProtocolError::field(self.field(&shortened(name)), "is no parameter of this method"))
            }
            None => Ok(()),
        }
    }
}

/// A client's text, as far as it is worth repeating.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Members<'a>, D::Error> {
        from.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

/// A name as it stands, without a copy where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(members)
    }
}

pub(crate) fn text(raw: &RawValue) -> Result<String, String> {
    serde_json::from_str(raw.get()).map_err(|_| "must be text".to_owned())
}

/// A whole number that is not negative.
pub(crate) fn number(raw: &RawValue) -> Result<u64, String> {
    serde_json::from_str(raw.get()).map_err(|_| "must be a whole number, not negative".to_owned())
}

pub(crate) fn list(raw: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw.get()).map_err(|_| "must be a list".to_owned())
}
