//! What an object is, in SQL: types, defaults, indexes, constraints, views; comments and sizes, of which there are none.

use weir_model::Refusal;

use super::{Cell, Definition, Objects, argument, oid, registered, text};
use crate::catalog::{layout::Shape, objects::Kind, relations, text as spelled, types};

pub(super) const ALL: &[Definition] = &[
    Definition::lax(&["format_type"], Shape::Text, |_, arguments| {
        Ok(oid(arguments, 0).map(|oid| types::format(oid, argument(arguments, 1).int())).into())
    }),
    Definition::strict(&["pg_get_expr"], Shape::Text, |_, arguments| Ok(text(arguments, 0).into())),
    Definition::strict(&["pg_get_indexdef"], Shape::Text, index_definition),
    Definition::strict(&["pg_get_constraintdef"], Shape::Text, |objects, arguments| {
        let constrained = oid(arguments, 0).and_then(|oid| objects.constrained(oid));
        Ok(constrained.map(|relation| format!("PRIMARY KEY ({})", relations::key_list(relation))).into())
    }),
    Definition::strict(&["pg_get_viewdef"], Shape::Text, view_definition),
    Definition::lax(&["pg_get_ruledef"], Shape::Text, none),
    Definition::lax(&["pg_get_triggerdef"], Shape::Text, none),
    Definition::lax(&["pg_get_functiondef"], Shape::Text, none),
    Definition::lax(&["pg_get_function_result"], Shape::Text, none),
    Definition::lax(&["pg_get_function_arguments"], Shape::Text, none),
    Definition::lax(&["pg_get_function_identity_arguments"], Shape::Text, none),
    Definition::lax(&["pg_get_function_sqlbody"], Shape::Text, none),
    Definition::lax(&["pg_get_partkeydef"], Shape::Text, none),
    Definition::lax(&["pg_get_partition_constraintdef"], Shape::Text, none),
    Definition::lax(&["pg_get_serial_sequence"], Shape::Text, none),
    Definition::lax(&["pg_get_statisticsobjdef"], Shape::Text, none),
    Definition::lax(&["pg_get_statisticsobjdef_columns"], Shape::Text, none),
    Definition::strict(&["pg_relation_is_publishable"], Shape::Bool, |_, _| Ok(false.into())),
    Definition::strict(&["pg_relation_is_updatable"], Shape::Int4, |objects, arguments| {
        // The bits of INSERT, UPDATE and DELETE, for any table.
        let table = oid(arguments, 0).and_then(|oid| objects.relation(oid));
        Ok(if table.is_some_and(|table| table.kind == Kind::Table) { 28 } else { 0 }.into())
    }),
    Definition::lax(&["obj_description"], Shape::Text, none),
    Definition::lax(&["col_description"], Shape::Text, none),
    Definition::lax(&["shobj_description"], Shape::Text, none),
    // A size would tell how many rows there are that the session may not see.
    Definition::lax(&["pg_relation_size"], Shape::Int8, none),
    Definition::lax(&["pg_table_size"], Shape::Int8, none),
    Definition::lax(&["pg_indexes_size"], Shape::Int8, none),
    Definition::lax(&["pg_total_relation_size"], Shape::Int8, none),
    Definition::lax(&["pg_database_size"], Shape::Int8, none),
    Definition::lax(&["pg_tablespace_size"], Shape::Int8, none),
    Definition::lax(&["pg_stat_get_numscans"], Shape::Int8, none),
    Definition::lax(&["pg_relation_filenode"], Shape::Int8, none),
    Definition::lax(&["pg_relation_filepath"], Shape::Text, none),
    Definition::strict(&["pg_size_pretty"], Shape::Text, |_, arguments| {
        Ok(argument(arguments, 0).int().map(spelled::size_pretty).into())
    }),
];

#[allow(clippy::unnecessary_wraps, reason = "the shape of every body")]
fn none(_: &Objects, _: &[Cell]) -> Result<Cell, Refusal> {
    Ok(Cell::Null)
}

/// The whole index, or with a column number that column alone.
fn index_definition(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(relation) = oid(arguments, 0).and_then(|oid| objects.indexed(oid)) else { return Ok(Cell::Null) };
    let column = argument(arguments, 1).int().unwrap_or(0);
    if column == 0 {
        return Ok(relations::index_definition(relation).into());
    }
    let place = usize::try_from(column - 1).ok();
    let found = place.and_then(|place| relation.key_columns().nth(place));
    Ok(found.map_or_else(String::new, |(_, column)| spelled::quote_identifier(&column.name)).into())
}

/// PostgreSQL prints a view from its tree; here it is the text it was made with.
fn view_definition(objects: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let found = match argument(arguments, 0) {
        Cell::Text(name) if name.parse::<u32>().is_err() => Some(registered::relation_oid(objects, name)?),
        _ => oid(arguments, 0),
    };
    let Some(view) = found.and_then(|oid| objects.relation(oid)) else { return Ok(Cell::Null) };
    let definition = view.definition.as_deref().map(|text| text.trim_end_matches([';', ' ', '\n']));
    Ok(definition.map(|definition| format!(" {definition};")).into())
}
