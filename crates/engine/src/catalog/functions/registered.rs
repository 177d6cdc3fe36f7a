//! The `reg…` types: names that are oids. The rewrite turns `x::regclass` into one of these functions, by whether the
//! oid or the name is wanted.

use weir_model::{Code, Refusal};

use super::{Cell, Definition, Objects, argument, privileges};
use crate::catalog::{layout, layout::Shape, objects::system_oid, relations, text, types};

/// `__weir_regclass_oid(x)`: x, an oid or a name, as an oid.
pub(crate) const OID_SUFFIX: &str = "_oid";
/// `__weir_regclass_name(x)`: x, an oid or a name, as PostgreSQL prints the `regclass`.
pub(crate) const NAME_SUFFIX: &str = "_name";

pub(super) const ALL: &[Definition] = &[
    Definition::strict(&["__weir_regclass_oid"], Shape::Int8, |objects, arguments| {
        by_number_or(arguments, |name| relation_oid(objects, name))
    }),
    Definition::strict(&["__weir_regtype_oid"], Shape::Int8, |_, arguments| by_number_or(arguments, type_oid)),
    Definition::strict(&["__weir_regnamespace_oid"], Shape::Int8, |objects, arguments| {
        by_number_or(arguments, |name| schema_oid(objects, name))
    }),
    Definition::strict(&["__weir_regrole_oid"], Shape::Int8, |objects, arguments| {
        by_number_or(arguments, |name| role_oid(objects, name))
    }),
    Definition::strict(&["__weir_regclass_name"], Shape::Text, |objects, arguments| {
        Ok(printed(arguments, relation_oid_or_zero(objects, arguments)?, |oid| relation_name(objects, oid)))
    }),
    Definition::strict(&["__weir_regtype_name"], Shape::Text, |_, arguments| {
        let oid = by_number_or(arguments, type_oid)?;
        Ok(printed(arguments, oid, |oid| types::by_oid(oid).map(|found| found.sql_name.clone())))
    }),
    Definition::strict(&["__weir_regnamespace_name"], Shape::Text, |objects, arguments| {
        let oid = by_number_or(arguments, |name| schema_oid(objects, name))?;
        Ok(printed(arguments, oid, |oid| {
            let found = objects.namespaces.iter().find(|namespace| namespace.oid == oid);
            found.map(|namespace| text::quote_identifier(&namespace.name))
        }))
    }),
    Definition::strict(&["__weir_regrole_name"], Shape::Text, |objects, arguments| {
        let oid = by_number_or(arguments, |name| role_oid(objects, name))?;
        Ok(printed(arguments, oid, |oid| objects.role(oid).map(|role| text::quote_identifier(&role.name))))
    }),
    // Functions are named, never numbered, in these catalogs.
    Definition::strict(&["__weir_regproc_name"], Shape::Text, |_, arguments| {
        let name = argument(arguments, 0).text().unwrap_or("-");
        Ok(name.strip_prefix("pg_catalog.").unwrap_or(name).into())
    }),
    Definition::strict(&["to_regclass"], Shape::Int8, |objects, arguments| {
        Ok(relation_oid_or_zero(objects, arguments).unwrap_or(Cell::Null))
    }),
    Definition::strict(&["to_regtype"], Shape::Int8, |_, arguments| {
        Ok(by_number_or(arguments, type_oid).unwrap_or(Cell::Null))
    }),
    Definition::strict(&["to_regnamespace"], Shape::Int8, |objects, arguments| {
        Ok(by_number_or(arguments, |name| schema_oid(objects, name)).unwrap_or(Cell::Null))
    }),
    Definition::strict(&["to_regrole"], Shape::Int8, |objects, arguments| {
        Ok(by_number_or(arguments, |name| role_oid(objects, name)).unwrap_or(Cell::Null))
    }),
    Definition::lax(&["to_regproc"], Shape::Int8, |_, _| Ok(Cell::Null)),
    Definition::lax(&["to_regprocedure"], Shape::Int8, |_, _| Ok(Cell::Null)),
];

fn by_number_or(arguments: &[Cell], resolve: impl Fn(&str) -> Result<u32, Refusal>) -> Result<Cell, Refusal> {
    match argument(arguments, 0) {
        Cell::Text(name) if name == "-" => Ok(0.into()),
        Cell::Text(name) => match name.trim().parse::<u32>() {
            Ok(oid) => Ok(oid.into()),
            Err(_) => resolve(name).map(Cell::from),
        },
        other => Ok(other.int().into()),
    }
}

fn relation_oid_or_zero(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    by_number_or(arguments, |name| relation_oid(objects, name))
}

/// As PostgreSQL prints: `-` for none, the number where the oid is nobody's (any more, or for this session).
fn printed(_: &[Cell], oid: Cell, name: impl Fn(u32) -> Option<String>) -> Cell {
    let Some(number) = oid.int() else { return Cell::Null };
    if number == 0 {
        return "-".into();
    }
    u32::try_from(number).ok().and_then(name).unwrap_or_else(|| number.to_string()).into()
}

/// The relation, index or system relation that a name means on this session's path.
pub(super) fn relation_oid(objects: &Objects, name: &str) -> Result<u32, Refusal> {
    let missing = || Refusal::new(Code::UndefinedTable, format!("relation \"{name}\" does not exist"));
    let parts = text::parse_identifier(name).ok_or_else(|| Refusal::new(Code::InvalidName, "invalid name syntax"))?;
    let found = match parts.as_slice() {
        [name] => objects.searched(true).into_iter().find_map(|schema| in_schema(objects, schema, name)),
        [schema, name] => in_schema(objects, schema, name),
        [database, schema, name] if *database == objects.session.database => in_schema(objects, schema, name),
        _ => None,
    };
    found.ok_or_else(missing)
}

fn in_schema(objects: &Objects, schema: &str, name: &str) -> Option<u32> {
    if let Some(relation) = objects.find(schema, name) {
        return Some(relation.oid);
    }
    let indexed = |relation: &&crate::catalog::objects::Relation| {
        relation.name.schema() == schema && relation.key_name().as_deref() == Some(name)
    };
    if let Some(relation) = objects.relations.iter().find(indexed) {
        return Some(crate::catalog::objects::index_oid(relation.oid));
    }
    let place = layout::all().iter().position(|layout| layout.schema == schema && layout.name == name)?;
    layout::all().get(place).filter(|layout| layout.kind != "f").map(|layout| system_oid(layout, place))
}

fn relation_name(objects: &Objects, oid: u32) -> Option<String> {
    if let Some((_, _, system)) = relations::system(objects).find(|(found, ..)| *found == oid) {
        let bare = system.schema == "pg_catalog";
        return Some(if bare { system.name.to_owned() } else { text::qualified(system.schema, system.name) });
    }
    let (relation, name) = match objects.relation(oid) {
        Some(relation) => (relation, relation.name.name().to_owned()),
        None => objects.indexed(oid).and_then(|relation| Some((relation, relation.key_name()?)))?,
    };
    if privileges::is_visible(objects, relation) {
        return Some(text::quote_identifier(&name));
    }
    Some(text::qualified(relation.name.schema(), &name))
}

fn type_oid(name: &str) -> Result<u32, Refusal> {
    let lower = name.trim().to_ascii_lowercase();
    let bare = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    // A modifier is allowed and forgotten: `numeric(10,2)`.
    let (bare, rest) = match bare.split_once('(') {
        Some((bare, rest)) => (bare.trim(), rest.split_once(')').map_or("", |(_, rest)| rest)),
        None => (bare, ""),
    };
    let spelled = format!("{bare}{rest}");
    let found = types::by_name(spelled.trim()).or_else(|| {
        let element = types::by_name(spelled.strip_suffix("[]")?.trim())?;
        types::by_oid(element.array)
    });
    let missing = || Refusal::new(Code::UndefinedObject, format!("type \"{name}\" does not exist"));
    found.map(|found| found.oid).ok_or_else(missing)
}

fn one_part(name: &str) -> Option<String> {
    text::parse_identifier(name).and_then(|parts| match <[String; 1]>::try_from(parts) {
        Ok([part]) => Some(part),
        Err(_) => None,
    })
}

fn schema_oid(objects: &Objects, name: &str) -> Result<u32, Refusal> {
    let found = one_part(name).and_then(|name| objects.namespace(&name).map(|namespace| namespace.oid));
    found.ok_or_else(|| Refusal::new(Code::UndefinedSchema, format!("schema \"{name}\" does not exist")))
}

fn role_oid(objects: &Objects, name: &str) -> Result<u32, Refusal> {
    let found = one_part(name).and_then(|name| objects.roles.iter().find(|role| role.name == name));
    found
        .map(|role| role.oid)
        .ok_or_else(|| Refusal::new(Code::UndefinedObject, format!("role \"{name}\" does not exist")))
}
