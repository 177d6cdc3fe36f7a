//! Parameters by name: each read once, none that nobody reads.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    error::ProtocolError,
    quick,
    raw::{Members, Objects, Raw},
};

/// The members of an object. `null` counts as absent, except where any value may stand.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    /// Of an object in a list: the list's name, and which of it.
    element: Option<(&'static str, usize)>,
    members: Members<'a>,
    /// Of a list among them that was taken apart.
    objects: Option<Objects<'a>>,
}

impl<'a> Params<'a> {
    pub(crate) fn of_request(
        given: Option<Given<'a>>,
        objects: Option<Objects<'a>>,
    ) -> Result<Params<'a>, ProtocolError> {
        Ok(Params { objects, ..Params::object(given.unwrap_or(Given::Object(Vec::new())), None)? })
    }

    /// The object that is the `index`th of the list `name`.
    pub(crate) fn of_element(given: Given<'a>, name: &'static str, index: usize) -> Result<Params<'a>, ProtocolError> {
        Params::object(given, Some((name, index)))
    }

    fn object(given: Given<'a>, element: Option<(&'static str, usize)>) -> Result<Params<'a>, ProtocolError> {
        let Given::Object(members) = given else {
            let field = element.map_or("params".to_owned(), |(name, index)| format!("{name}[{index}]"));
            return Err(ProtocolError::field(field, "must be an object"));
        };
        let params = Params { element, members, objects: None };
        match first_twice(params.members.iter().map(|(name, _)| &**name)) {
            Some(name) => Err(ProtocolError::field(params.field(&shortened(name)), "is there twice")),
            None => Ok(params),
        }
    }

    /// The path of a parameter of this object.
    pub(crate) fn field(&self, name: &str) -> String {
        match self.element {
            Some((list, index)) => format!("{list}[{index}].{name}"),
            None => name.to_owned(),
        }
    }

    /// Whatever stands there, also `null`.
    pub(crate) fn raw(&mut self, name: &str) -> Option<Raw<'a>> {
        let at = self.members.iter().position(|(other, _)| other == name)?;
        Some(self.members.swap_remove(at).1)
    }

    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Raw<'a>) -> Result<T, String>,
    ) -> Result<Option<T>, ProtocolError> {
        match self.raw(name).filter(|raw| !raw.is_null()) {
            Some(raw) => read(raw).map(Some).map_err(|detail| ProtocolError::field(self.field(name), detail)),
            None => Ok(None),
        }
    }

    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Raw<'a>) -> Result<T, String>,
    ) -> Result<T, ProtocolError> {
        self.optional(name, read)?.ok_or_else(|| ProtocolError::field(self.field(name), "is missing"))
    }

    /// A list of objects, as it should be.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Given<'a>>, ProtocolError> {
        match self.objects.take_if(|(list, _)| *list == name) {
            Some((_, all)) => {
                self.raw(name);
                Ok(all.into_iter().map(Given::Object).collect())
            }
            None => self.required(name, objects),
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ProtocolError> {
        let read = |raw: Raw<'_>| serde_json::from_str(raw.get()).map_err(|_| "must be true or false".to_owned());
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

/// The first that comes a second time, in the order of the alphabet where there are many.
pub(crate) fn first_twice<T: Ord + Copy>(all: impl ExactSizeIterator<Item = T> + Clone) -> Option<T> {
    if all.len() <= 8 {
        return all
            .clone()
            .enumerate()
            .find(|(at, one)| all.clone().take(*at).any(|other| other == *one))
            .map(|(_, one)| one);
    }
    let mut sorted: Vec<T> = all.collect();
    sorted.sort_unstable();
    sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| a == b).map(|(one, _)| *one)
}

/// What stands where an object is to be, with the object's members unread.
#[derive(Debug)]
pub(crate) enum Given<'a> {
    Object(Members<'a>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Given<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Given<'a>, D::Error> {
        from.deserialize_any(GivenVisitor)
    }
}

struct GivenVisitor;

/// A name as it stands, without a copy where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for GivenVisitor {
    type Value = Given<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<_, &'de RawValue>()? {
            members.push((name, Raw::from(value)));
        }
        Ok(Given::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other)
    }

    fn visit_unit<E>(self) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Given<'de>, E> {
        Ok(Given::Other)
    }
}

/// Without a copy where it has no escapes.
pub(crate) fn text(raw: Raw<'_>) -> Result<Cow<'_, str>, String> {
    let text = raw.get();
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match inner.filter(|inner| raw.is_compact() || !inner.contains('\\')) {
        Some(plain) => Ok(Cow::Borrowed(plain)),
        None => serde_json::from_str(text).map(Cow::Owned).map_err(|_| "must be text".to_owned()),
    }
}

/// A whole number that is not negative.
pub(crate) fn number(raw: Raw<'_>) -> Result<u64, String> {
    serde_json::from_str(raw.get()).map_err(|_| "must be a whole number, not negative".to_owned())
}

pub(crate) fn list<'a, T: Deserialize<'a>>(raw: Raw<'a>) -> Result<Vec<T>, String> {
    serde_json::from_str(raw.get()).map_err(|_| "must be a list".to_owned())
}

fn objects(raw: Raw<'_>) -> Result<Vec<Given<'_>>, String> {
    match quick::objects(raw.get()) {
        Some(all) => Ok(all.into_iter().map(Given::Object).collect()),
        None => list(raw),
    }
}
