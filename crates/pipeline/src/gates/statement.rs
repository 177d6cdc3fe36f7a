use std::{collections::BTreeSet, sync::Arc};

use weir_model::{Action, Code, ObjectName, Refusal, Result};
use weir_sql::{Kind, RawName, Statement};
use weir_store::Version;

use crate::{
    gates::{admission::Admitted, isolation::is_reserved},
    memory::{Objects, StatementMemory},
    session::SessionFacts,
    virtuals,
};

/// Views may name views, this deep.
const VIEW_DEPTH_MAX: usize = 16;

/// The statement's objects are known: names resolved against a version, views opened down to their tables.
#[derive(Debug)]
pub(crate) struct Stated {
    pub admitted: Admitted,
    pub statement: Statement,
    /// Sorted, without duplicates, catalog relations left out.
    pub objects: Objects,
    /// The objects' names, each once: what the journal notes.
    pub tables: Arc<[ObjectName]>,
    /// The version that names were resolved against; the snapshot gate pins one anew.
    pub version: Arc<Version>,
}

/// Gate 6. The text was parsed once, when it arrived, into one of the kinds of the allow-list (`syntax_error`,
/// `unsupported` were said there); here the session's credential must still hold (`credential_expired`) and the
/// names it uses are resolved along the search path. Costs a look-up per name.
pub(crate) fn pass(
    admitted: Admitted,
    statement: &Statement,
    version: Arc<Version>,
    facts: &SessionFacts,
    search_path: &Arc<[String]>,
    memory: Option<&StatementMemory>,
) -> Result<Stated> {
    check_credential(facts)?;
    let catalog = version.catalog_version();
    let (objects, tables) = match memory.and_then(|memory| memory.objects(catalog, search_path)) {
        Some(known) => known,
        None => {
            let mut objects = BTreeSet::new();
            collect(statement, &version, search_path, 0, &mut objects)?;
            let tables: BTreeSet<ObjectName> = objects.iter().map(|(object, _)| object.clone()).collect();
            let (objects, tables) = (objects.into_iter().collect(), tables.into_iter().collect());
            if let Some(memory) = memory {
                memory.keep_objects(catalog, search_path, &objects, &tables);
            }
            (objects, tables)
        }
    };
    Ok(Stated { admitted, statement: statement.clone(), objects, tables, version })
}

/// Whether what the session was opened with still holds.
pub(crate) fn check_credential(facts: &SessionFacts) -> Result<()> {
    if facts.credentials.holds(&facts.identity) {
        return Ok(());
    }
    Err(Refusal::new(Code::CredentialExpired, "the credential no longer holds: it expired or was revoked")
        .hint("connect with a valid key"))
}

fn collect(
    statement: &Statement,
    version: &Version,
    search_path: &[String],
    depth: usize,
    objects: &mut BTreeSet<(ObjectName, Action)>,
) -> Result<()> {
    if let Kind::CreateSchema(create) = statement.kind() {
        objects.insert((schema_object(&create.name)?, Action::Create));
    }
    if let Kind::Drop(drop) = statement.kind()
        && drop.kind == weir_sql::DropKind::Schema
    {
        for name in drop.names.iter().filter(|name| !drop.if_exists || version.has_schema(&name.name)) {
            objects.insert((schema_object(&name.name)?, Action::Drop));
        }
        return Ok(());
    }
    for used in statement.uses() {
        if used.action == Action::Create {
            objects.insert((created(&used.name, version, search_path)?, Action::Create));
            continue;
        }
        let object = match resolve(&used.name, version, search_path)? {
            Some(object) => object,
            None if used.action == Action::Select => continue,
            // A write to the catalogs: the isolation gate refuses it by its schema.
            None => catalog_object(&used.name)?,
        };
        let missing_and_fine =
            matches!(statement.kind(), Kind::Drop(drop) if drop.if_exists) && !exists(version, &object);
        if !missing_and_fine {
            objects.insert((object.clone(), used.action));
        }
        if used.action == Action::Select
            && let Some(view) = version.view(&object)
        {
            open_view(&view.sql, version, depth, objects)?;
        }
    }
    Ok(())
}

/// A view runs with the rights of who asks, so its tables are asked for like any other.
fn open_view(sql: &str, version: &Version, depth: usize, objects: &mut BTreeSet<(ObjectName, Action)>) -> Result<()> {
    if depth >= VIEW_DEPTH_MAX {
        return Err(Refusal::new(Code::StatementTooComplex, "views are nested too deep")
            .detail(format!("limit={VIEW_DEPTH_MAX}")));
    }
    let path = [ObjectName::DEFAULT_SCHEMA.to_owned()];
    weir_sql::parse(sql)?.iter().try_for_each(|inner| collect(inner, version, &path, depth + 1, objects))
}

/// Where a new object goes: the schema given, or the first of the search path that exists.
fn created(name: &RawName, version: &Version, search_path: &[String]) -> Result<ObjectName> {
    let schema = match &name.schema {
        Some(schema) => schema,
        None => search_path.iter().find(|schema| version.has_schema(schema)).ok_or_else(|| {
            Refusal::new(Code::UndefinedSchema, "no schema has been selected to create in")
                .hint("name one: schema.name")
        })?,
    };
    ObjectName::new(schema, &name.name).map_err(|why| Refusal::new(Code::InvalidName, why.to_string()))
}

fn catalog_object(name: &RawName) -> Result<ObjectName> {
    let schema = name.schema.as_deref().unwrap_or("pg_catalog");
    ObjectName::new(schema, &name.name).map_err(|why| Refusal::new(Code::InvalidName, why.to_string()))
}

/// What stands for a whole schema where a decision needs an object.
fn schema_object(schema: &str) -> Result<ObjectName> {
    ObjectName::new(schema, "*").map_err(|why| Refusal::new(Code::InvalidName, why.to_string()))
}

/// None for relations of the catalogs, which show a principal only what it may know.
pub(crate) fn resolve(name: &RawName, version: &Version, search_path: &[String]) -> Result<Option<ObjectName>> {
    let catalog = match &name.schema {
        Some(schema) => schema == "information_schema" || schema.starts_with("pg_"),
        None => name.name.starts_with("pg_"),
    };
    if catalog {
        return Ok(None);
    }
    name.resolve(search_path, |object| exists(version, object)).map(Some)
}

pub(crate) fn exists(version: &Version, object: &ObjectName) -> bool {
    version.table(object).is_some()
        || version.view(object).is_some()
        || (is_reserved(object.schema()) && virtuals::is_virtual(object))
}
