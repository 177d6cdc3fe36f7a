//! `pg_catalog` and `information_schema`, answered truthfully for one principal.
//!
//! Relations are built as Arrow batches from a version's definitions and the principal's permissions, when a plan that
//! names them runs. They are PostgreSQL 15's in shape; of what is not here (triggers, publications, …) there are no rows.
//! Row counts and sizes are unknown to everybody, since hidden rows would change them.
//!
//! INVARIANT: what the principal may not see is filtered out before anything else happens, in [`view`];
//! relations and functions see only what is left.
//!
//! It is not a place for anything to be stored, and plans over it hold for one version and one principal: they must not
//! outlive either.

mod cluster;
mod functions;
mod information_schema;
mod layout;
mod objects;
mod relations;
mod rewrite;
mod rows;
mod text;
mod types;
mod view;

use arrow::{array::RecordBatch, error::ArrowError};

use self::{layout::Layout, objects::Objects, rows::Rows};
pub(crate) use self::{rewrite::shown_name, view::CatalogView};

type Build = fn(&'static Layout, &Objects) -> Result<RecordBatch, ArrowError>;

/// What fills a relation; None where there is nothing to fill it with.
fn builder(layout: &Layout) -> Option<Build> {
    Some(match (layout.schema, layout.name) {
        ("pg_catalog", "pg_am") => cluster::access_method,
        ("pg_catalog", "pg_attrdef") => relations::attrdef,
        ("pg_catalog", "pg_attribute") => relations::attribute,
        ("pg_catalog", "pg_auth_members") => cluster::auth_members,
        ("pg_catalog", "pg_class") => relations::class,
        ("pg_catalog", "pg_collation") => cluster::collation,
        ("pg_catalog", "pg_constraint") => relations::constraint,
        ("pg_catalog", "pg_database") => cluster::database,
        ("pg_catalog", "pg_get_keywords") => cluster::keywords,
        ("pg_catalog", "pg_group") => cluster::group,
        ("pg_catalog", "pg_index") => relations::index,
        ("pg_catalog", "pg_indexes") => relations::indexes,
        ("pg_catalog", "pg_language") => cluster::language,
        ("pg_catalog", "pg_namespace") => cluster::namespace,
        ("pg_catalog", "pg_opclass") => relations::opclass,
        ("pg_catalog", "pg_roles") => cluster::roles,
        ("pg_catalog", "pg_settings") => cluster::settings,
        ("pg_catalog", "pg_stat_activity") => cluster::activity,
        ("pg_catalog", "pg_stat_user_tables") => relations::statistics,
        ("pg_catalog", "pg_tables") => relations::tables,
        ("pg_catalog", "pg_tablespace") => cluster::tablespace,
        ("pg_catalog", "pg_type") => cluster::pg_type,
        ("pg_catalog", "pg_user") => cluster::user,
        ("pg_catalog", "pg_views") => relations::views,
        ("information_schema", "applicable_roles") => information_schema::applicable_roles,
        ("information_schema", "character_sets") => information_schema::character_sets,
        ("information_schema", "check_constraints") => information_schema::check_constraints,
        ("information_schema", "column_privileges" | "role_column_grants") => information_schema::column_privileges,
        ("information_schema", "columns") => information_schema::columns,
        ("information_schema", "constraint_column_usage") => information_schema::constraint_column_usage,
        ("information_schema", "enabled_roles") => information_schema::enabled_roles,
        ("information_schema", "information_schema_catalog_name") => information_schema::catalog_name,
        ("information_schema", "key_column_usage") => information_schema::key_column_usage,
        ("information_schema", "schemata") => information_schema::schemata,
        ("information_schema", "table_constraints") => information_schema::table_constraints,
        ("information_schema", "table_privileges" | "role_table_grants") => information_schema::table_privileges,
        ("information_schema", "tables") => information_schema::tables,
        ("information_schema", "views") => information_schema::views,
        _ => return None,
    })
}

/// Whether a relation has no rows, whoever asks and whatever there is.
fn is_always_empty(layout: &Layout) -> bool {
    builder(layout).is_none()
}

fn build(layout: &'static Layout, objects: &Objects) -> Result<RecordBatch, ArrowError> {
    match builder(layout) {
        Some(build) => build(layout, objects),
        None => Rows::new(layout).finish(),
    }
}
