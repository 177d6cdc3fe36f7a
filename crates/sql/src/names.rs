use sqlparser::ast::{Ident, ObjectName as TreeName, ObjectNamePart};
use weir_model::{Code, ObjectName, Refusal, Result, fold_identifier};

/// Identifiers with this prefix are ours (`__weir_row`); a client's statement may not name one.
pub const HIDDEN_PREFIX: &str = "__weir";

/// A name as written, folded, not yet resolved against a search path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawName {
    pub schema: Option<String>,
    pub name: String,
}

impl RawName {
    /// The first candidate along the search path for which `exists` holds; without one, the name in the schema given
    /// or in the first of the path.
    ///
    /// # Errors
    /// `invalid_name` when a part is no valid identifier.
    pub fn resolve(&self, search_path: &[String], exists: impl Fn(&ObjectName) -> bool) -> Result<ObjectName> {
        let valid = |schema: &str| {
            ObjectName::new(schema, &self.name).map_err(|why| Refusal::new(Code::InvalidName, why.to_string()))
        };
        if let Some(schema) = &self.schema {
            return valid(schema);
        }
        for schema in search_path {
            let candidate = valid(schema)?;
            if exists(&candidate) {
                return Ok(candidate);
            }
        }
        valid(search_path.first().map_or(ObjectName::DEFAULT_SCHEMA, String::as_str))
    }
}

impl std::fmt::Display for RawName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

pub(crate) fn fold(ident: &Ident) -> String {
    fold_identifier(&ident.value, ident.quote_style.is_some())
}

/// `name` or `schema.name`; a third part would name a database, and a session has one.
///
/// # Errors
/// `unsupported` for three parts or a name made by a function.
pub fn raw_name(name: &TreeName) -> Result<RawName> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
        ObjectNamePart::Function(_) => Err(Refusal::unsupported("a name computed by a function")),
    };
    match name.0.as_slice() {
        [only] => Ok(RawName { schema: None, name: part(only)? }),
        [schema, last] => Ok(RawName { schema: Some(part(schema)?), name: part(last)? }),
        _ => Err(Refusal::new(Code::SchemaViolation, format!("cross-database reference `{name}` is refused"))
            .detail("a session sees the objects of its own organisation only")
            .hint("name the object as schema.name")),
    }
}
