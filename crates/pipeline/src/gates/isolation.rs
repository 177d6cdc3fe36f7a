use weir_model::{Code, Refusal, Result};

use crate::gates::tier::Included;

/// Every name lies within the principal's own org, and no write touches a schema of ours.
#[derive(Debug)]
pub(crate) struct Isolated(pub Included);

/// Gate 9. A session's names reach its own org only: three-part names never parse, and what an org has is looked up
/// in its own database alone; what is left to refuse here is writing into the schemas that are not the org's
/// (`pg_catalog`, `information_schema`, `weir`, `facts`). Refuses with `schema_violation`. Costs a compare per object.
pub(crate) fn pass(included: Included) -> Result<Isolated> {
    for (object, action) in included.0.0.objects.iter() {
        if action.writes() && is_reserved(object.schema()) {
            return Err(Refusal::new(
                Code::SchemaViolation,
                format!("cannot {action} in schema \"{}\"", object.schema()),
            )
            .detail(format!("object={object}"))
            .hint("the schema is the system's; use one of the organisation's own"));
        }
    }
    Ok(Isolated(included))
}

pub(crate) fn is_reserved(schema: &str) -> bool {
    schema.starts_with("pg_") || matches!(schema, "information_schema" | "weir" | "facts")
}
