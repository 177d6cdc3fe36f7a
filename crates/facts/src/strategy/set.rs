//! A set inside a JSON object: taking it apart, and putting it together.

use std::sync::Arc;

use serde_json::Value;

use crate::strategy::write::WriteError;

/// What was written where a set is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this namespace keeps sets: the value needs an array at `{path}`{wanted}")]
pub struct NotASet {
    path: String,
    wanted: String,
}

/// An element's id and JSON text.
pub(super) type Element = (Arc<str>, Arc<str>);

/// The value without its array, and the array's elements, each id once; of two with one id the later counts.
pub(super) fn take_apart(
    json: &str,
    path: &[String],
    id: Option<&str>,
) -> Result<(Arc<str>, Vec<Element>), WriteError> {
    let refused = |wanted: &str| NotASet { path: path.join("."), wanted: wanted.to_owned() };
    let mut value: Value = serde_json::from_str(json).map_err(|_| WriteError::NotJson)?;
    let array = at(&mut value, path).ok_or_else(|| refused(""))?;
    let Value::Array(elements) = array.take() else { return Err(refused("").into()) };
    let mut taken: Vec<Element> = Vec::with_capacity(elements.len());
    for element in elements {
        let named = match id {
            None => Some(element.to_string()),
            Some(id) => element.get(id).map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned)),
        };
        let named =
            named.ok_or_else(|| refused(&format!(" whose elements have a member `{}`", id.unwrap_or_default())))?;
        taken.retain(|(other, _)| **other != *named);
        taken.push((named.into(), element.to_string().into()));
    }
    Ok((value.to_string().into(), taken))
}

/// The value with these elements as its array; a value that has no place for them is left as it is.
pub(super) fn put_together(rest: Option<&str>, path: &[String], elements: &[&str]) -> Value {
    let mut value = rest.and_then(|rest| serde_json::from_str(rest).ok()).unwrap_or(Value::Null);
    let mut place = &mut value;
    for name in path {
        if !place.is_object() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Value::Object(members) = place else { return value };
        place = members.entry(name.clone()).or_insert(Value::Null);
    }
    *place = Value::Array(elements.iter().filter_map(|element| serde_json::from_str(element).ok()).collect());
    value
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |place, name| place.get_mut(name))
}
