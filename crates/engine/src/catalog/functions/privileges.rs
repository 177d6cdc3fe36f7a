//! Visibility on the search path, and `has_*_privilege`, answered from the policy's decisions.

use weir_model::{Action, Refusal};

use super::{Cell, Definition, Objects, argument, oid, registered};
use crate::catalog::{
    layout::Shape,
    objects::{Kind, PG_CATALOG, Relation},
    relations,
};

pub(super) const ALL: &[Definition] = &[
    Definition::strict(&["pg_table_is_visible"], Shape::Bool, table_is_visible),
    Definition::strict(&["pg_type_is_visible"], Shape::Bool, |_, arguments| {
        Ok(oid(arguments, 0).and_then(crate::catalog::types::by_oid).map(|_| true).into())
    }),
    // There are none of these, or all of them are in pg_catalog, which every path begins with.
    Definition::strict(&["pg_function_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_operator_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_opclass_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_opfamily_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_conversion_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_collation_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_statistics_obj_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_ts_config_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_ts_dict_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_ts_parser_is_visible"], Shape::Bool, always),
    Definition::strict(&["pg_ts_template_is_visible"], Shape::Bool, always),
    Definition::strict(&["has_table_privilege"], Shape::Bool, |objects, arguments| on_relation(objects, arguments, 0)),
    Definition::strict(&["has_any_column_privilege"], Shape::Bool, |objects, arguments| {
        on_relation(objects, arguments, 0)
    }),
    Definition::strict(&["has_column_privilege"], Shape::Bool, |objects, arguments| on_relation(objects, arguments, 1)),
    Definition::strict(&["has_schema_privilege"], Shape::Bool, on_schema),
    Definition::strict(&["has_database_privilege"], Shape::Bool, on_database),
    Definition::strict(&["has_function_privilege"], Shape::Bool, always),
    Definition::strict(&["has_type_privilege"], Shape::Bool, always),
    Definition::strict(&["has_language_privilege"], Shape::Bool, never),
    Definition::strict(&["has_sequence_privilege"], Shape::Bool, never),
    Definition::strict(&["has_tablespace_privilege"], Shape::Bool, never),
    Definition::strict(&["has_foreign_data_wrapper_privilege"], Shape::Bool, never),
    Definition::strict(&["has_server_privilege"], Shape::Bool, never),
    Definition::strict(&["pg_has_role"], Shape::Bool, has_role),
    Definition::strict(&["row_security_active"], Shape::Bool, never),
];

#[allow(clippy::unnecessary_wraps, reason = "the shape of every body")]
fn always(_: &Objects, _: &[Cell]) -> Result<Cell, Refusal> {
    Ok(true.into())
}

#[allow(clippy::unnecessary_wraps, reason = "the shape of every body")]
fn never(_: &Objects, _: &[Cell]) -> Result<Cell, Refusal> {
    Ok(false.into())
}

/// Whether the bare name finds this relation: its schema is searched, and none before it has the name.
fn table_is_visible(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(oid) = oid(arguments, 0) else { return Ok(Cell::Null) };
    if let Some((_, namespace, _)) = relations::system(objects).find(|(found, _, _)| *found == oid) {
        let searched = objects.session.search_path.iter().any(|name| name == "information_schema");
        return Ok((namespace == PG_CATALOG || searched).into());
    }
    let Some(relation) = objects.relation(oid).or_else(|| objects.indexed(oid)) else { return Ok(Cell::Null) };
    Ok(is_visible(objects, relation).into())
}

pub(super) fn is_visible(objects: &Objects, relation: &Relation) -> bool {
    let name = relation.name.name();
    let taken = |schema: &str| {
        objects.find(schema, name).is_some() || crate::catalog::layout::find(Some(schema), name).is_some()
    };
    objects.searched(true).into_iter().find(|schema| taken(schema)) == Some(relation.name.schema())
}

/// The last argument is the privilege; `trailing` arguments stand between it and the relation; a role may come first.
fn on_relation(objects: &Objects, arguments: &[Cell], trailing: usize) -> Result<Cell, Refusal> {
    let Some(place) = arguments.len().checked_sub(2 + trailing) else { return Ok(Cell::Null) };
    if place > 0 && !is_self(objects, argument(arguments, 0)) {
        return Ok(false.into());
    }
    let wanted = argument(arguments, arguments.len() - 1).text().unwrap_or_default();
    let relation_oid = match argument(arguments, place) {
        Cell::Text(name) if name.parse::<u32>().is_err() => Some(registered::relation_oid(objects, name)?),
        _ => oid(arguments, place),
    };
    let Some(relation_oid) = relation_oid else { return Ok(Cell::Null) };
    if let Some(relation) = objects.relation(relation_oid) {
        return Ok(wanted.split(',').any(|each| holds(relation, each)).into());
    }
    let system = relations::system(objects).any(|(oid, ..)| oid == relation_oid);
    let reads = wanted.split(',').any(|each| each.trim().eq_ignore_ascii_case("select"));
    Ok(if system { Cell::from(reads) } else { Cell::Null })
}

/// Nobody grants on: the policy alone does.
fn holds(relation: &Relation, privilege: &str) -> bool {
    let may = |action| relation.may(action) && (action == Action::Select || relation.kind == Kind::Table);
    match privilege.trim().to_ascii_lowercase().as_str() {
        "select" => may(Action::Select),
        "insert" => may(Action::Insert),
        "update" => may(Action::Update),
        "delete" => may(Action::Delete),
        "truncate" => may(Action::Truncate),
        _ => false,
    }
}

/// Other principals are not spoken of: of them the answer is always no.
fn is_self(objects: &Objects, role: &Cell) -> bool {
    match role {
        Cell::Text(name) => *name == objects.session.user,
        other => other.int() == Some(i64::from(objects.user_oid())),
    }
}

fn subject(objects: &Objects, arguments: &[Cell]) -> Option<usize> {
    match arguments.len() {
        2 => Some(0),
        3 if is_self(objects, argument(arguments, 0)) => Some(1),
        _ => None,
    }
}

/// USAGE of every schema that can be seen. Whether CREATE is allowed is decided for the name to be created, so it is
/// not known here.
fn on_schema(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(place) = subject(objects, arguments) else { return Ok(false.into()) };
    let known = match argument(arguments, place) {
        Cell::Text(name) => objects.namespace(name).is_some(),
        other => objects.namespaces.iter().any(|namespace| other.int() == Some(i64::from(namespace.oid))),
    };
    let wanted = argument(arguments, place + 1).text().unwrap_or_default();
    let usage = wanted.split(',').any(|each| each.trim().eq_ignore_ascii_case("usage"));
    Ok(if known { Cell::from(usage) } else { Cell::Null })
}

fn on_database(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(place) = subject(objects, arguments) else { return Ok(false.into()) };
    let own = match argument(arguments, place) {
        Cell::Text(name) => *name == objects.session.database,
        other => other.int() == Some(i64::from(objects.database_oid())),
    };
    let wanted = argument(arguments, place + 1).text().unwrap_or_default();
    let connect = wanted.split(',').any(|each| each.trim().eq_ignore_ascii_case("connect"));
    Ok(if own { Cell::from(connect) } else { Cell::Null })
}

fn has_role(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(place) = subject(objects, arguments) else { return Ok(false.into()) };
    let role = match argument(arguments, place) {
        Cell::Text(name) => Some(name.as_str()),
        other => other
            .int()
            .and_then(|oid| u32::try_from(oid).ok())
            .and_then(|oid| objects.role(oid))
            .map(|role| role.name.as_str()),
    };
    let held = |role: &str| role == objects.session.user || objects.session.roles.iter().any(|name| name == role);
    Ok(role.is_some_and(held).into())
}
