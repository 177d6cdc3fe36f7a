use serde_json::{Map, Value, value::RawValue};

use super::{Evaluate, facts};
use crate::causality::NodeId;
use crate::protocol::{
    Id,
    error::ProtocolError,
    json,
    limits::NAME_BYTES_MAX,
    params::{Params, number, text},
    raw::Raw,
};

/// The name of something that is no fact: of one line, not too long.
pub(super) fn name(raw: Raw<'_>) -> Result<String, String> {
    let name = text(raw)?;
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("must be at most {NAME_BYTES_MAX} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("must have no control characters".to_owned());
    }
    Ok(name.into_owned())
}

pub(super) fn node(raw: Raw<'_>) -> Result<NodeId, String> {
    NodeId::new(&text(raw)?).map_err(|error| error.to_string())
}

pub(super) fn object(raw: Raw<'_>) -> Result<Map<String, Value>, String> {
    // By way of the text without repeated names, which a map would silently keep the last of.
    let plain = json::compact(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|error| error.to_string())?;
    serde_json::from_str(&plain).map_err(|_| "must be an object".to_owned())
}

pub(super) fn names(params: &mut Params<'_>) -> Result<Vec<String>, ProtocolError> {
    let field = params.field("policies");
    let elements = facts::batch(params, "policies")?.into_iter().enumerate();
    let each = |(index, raw): (usize, &RawValue)| {
        name(raw.into()).map_err(|detail| ProtocolError::field(format!("{field}[{index}]"), detail))
    };
    elements.map(each).collect()
}

impl Evaluate {
    pub(super) fn read(params: &mut Params<'_>) -> Result<Evaluate, ProtocolError> {
        Ok(Evaluate {
            policies: names(params)?,
            context: params.required("context", object)?,
            min_cursor: params.optional("min_cursor", facts::cursor)?,
            max_staleness_ms: params.optional("max_staleness_ms", number)?,
        })
    }
}

pub(super) fn evaluations(params: &mut Params<'_>) -> Result<Vec<(Id, Evaluate)>, ProtocolError> {
    let elements = facts::batch_of_objects(params, "evaluations")?.into_iter().enumerate();
    let evaluations = elements.map(|(index, given)| {
        let mut entry = Params::of_element(given, "evaluations", index)?;
        let id = entry.optional("id", Id::read)?.unwrap_or_default();
        let evaluation = Evaluate::read(&mut entry)?;
        entry.end().map(|()| (id, evaluation))
    });
    evaluations.collect()
}
