//! `information_schema`, for what the principal may see: the org's tables and views, not the system's own.

use arrow::{array::RecordBatch, error::ArrowError};
use weir_model::{Action, ColumnType};

use super::{
    layout::Layout,
    objects::{Attribute, Kind, Objects, Relation},
    rows::{Cell, Rows},
    types,
};

type Built = Result<RecordBatch, ArrowError>;

fn yes_or_no(value: bool) -> Cell {
    Cell::from(if value { "YES" } else { "NO" })
}

fn catalog(objects: &Objects) -> Cell {
    Cell::from(objects.session.database.as_str())
}

pub(crate) fn catalog_name(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    rows.push([("catalog_name", catalog(objects))]);
    rows.finish()
}

pub(crate) fn schemata(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for namespace in &objects.namespaces {
        rows.push([
            ("catalog_name", catalog(objects)),
            ("schema_name", namespace.name.as_str().into()),
            ("schema_owner", objects.session.owner.as_str().into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn tables(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        rows.push([
            ("table_catalog", catalog(objects)),
            ("table_schema", relation.name.schema().into()),
            ("table_name", relation.name.name().into()),
            ("table_type", if relation.kind == Kind::Table { "BASE TABLE" } else { "VIEW" }.into()),
            ("is_insertable_into", yes_or_no(relation.kind == Kind::Table)),
            ("is_typed", yes_or_no(false)),
        ]);
    }
    rows.finish()
}

pub(crate) fn views(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in objects.relations.iter().filter(|relation| relation.kind == Kind::View) {
        rows.push([
            ("table_catalog", catalog(objects)),
            ("table_schema", relation.name.schema().into()),
            ("table_name", relation.name.name().into()),
            ("view_definition", relation.definition.clone().into()),
            ("check_option", "NONE".into()),
            ("is_updatable", yes_or_no(false)),
            ("is_insertable_into", yes_or_no(false)),
            ("is_trigger_updatable", yes_or_no(false)),
            ("is_trigger_deletable", yes_or_no(false)),
            ("is_trigger_insertable_into", yes_or_no(false)),
        ]);
    }
    rows.finish()
}

pub(crate) fn columns(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        for (number, column) in relation.attributes() {
            rows.push_all(column_cells(objects, relation, number, column));
        }
    }
    rows.finish()
}

fn column_cells(objects: &Objects, relation: &Relation, number: i16, column: &Attribute) -> Vec<(&'static str, Cell)> {
    let (type_oid, _) = types::of_column(column.column_type);
    let found = types::by_oid(type_oid);
    let mut cells = vec![
        ("table_catalog", catalog(objects)),
        ("table_schema", relation.name.schema().into()),
        ("table_name", relation.name.name().into()),
        ("column_name", column.name.as_str().into()),
        ("ordinal_position", number.into()),
        ("column_default", column.default.clone().into()),
        ("is_nullable", yes_or_no(!column.not_null)),
        ("data_type", found.map(|found| found.sql_name.as_str()).into()),
        ("udt_catalog", catalog(objects)),
        ("udt_schema", "pg_catalog".into()),
        ("udt_name", found.map(|found| found.name.as_str()).into()),
        ("dtd_identifier", number.to_string().into()),
        ("is_self_referencing", yes_or_no(false)),
        ("is_identity", yes_or_no(false)),
        ("identity_cycle", yes_or_no(false)),
        ("is_generated", "NEVER".into()),
        ("is_updatable", yes_or_no(relation.kind == Kind::Table)),
    ];
    cells.extend(figures(column.column_type));
    cells
}

/// Lengths and precisions, as PostgreSQL's own view derives them from type and modifier.
fn figures(column_type: ColumnType) -> Vec<(&'static str, Cell)> {
    let integer = |bits: i32| (Some((bits, 2)), Some(0));
    let (precision, scale): (Option<(i32, i32)>, Option<i32>) = match column_type {
        ColumnType::SmallInt => integer(16),
        ColumnType::Integer => integer(32),
        ColumnType::BigInt => integer(64),
        ColumnType::Real => (Some((24, 2)), None),
        ColumnType::Double => (Some((53, 2)), None),
        ColumnType::Numeric { precision, scale } => (Some((i32::from(precision), 10)), Some(i32::from(scale))),
        _ => (None, None),
    };
    let characters = match column_type {
        ColumnType::Varchar(length) => Some(i64::from(length)),
        _ => None,
    };
    // Four bytes is UTF-8's longest character.
    let octets = match column_type {
        ColumnType::Varchar(length) => Some(i64::from(length) * 4),
        ColumnType::Text => Some(1 << 30),
        _ => None,
    };
    let datetime = match column_type {
        ColumnType::Date => Some(0),
        ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz | ColumnType::Interval => Some(6),
        _ => None,
    };
    vec![
        ("numeric_precision", precision.map(|(precision, _)| precision).into()),
        ("numeric_precision_radix", precision.map(|(_, radix)| radix).into()),
        ("numeric_scale", scale.into()),
        ("character_maximum_length", characters.into()),
        ("character_octet_length", octets.into()),
        ("datetime_precision", datetime.into()),
    ]
}

/// Primary keys and, as PostgreSQL shows them here, NOT NULL columns as checks.
pub(crate) fn table_constraints(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        let mut push = |name: String, kind: &str| {
            rows.push([
                ("constraint_catalog", catalog(objects)),
                ("constraint_schema", relation.name.schema().into()),
                ("constraint_name", name.into()),
                ("table_catalog", catalog(objects)),
                ("table_schema", relation.name.schema().into()),
                ("table_name", relation.name.name().into()),
                ("constraint_type", kind.into()),
                ("is_deferrable", yes_or_no(false)),
                ("initially_deferred", yes_or_no(false)),
                ("enforced", yes_or_no(true)),
                ("nulls_distinct", Cell::Null),
            ]);
        };
        if let Some(key) = relation.key_name() {
            push(key, "PRIMARY KEY");
        }
        for (number, _) in not_null(relation) {
            push(not_null_name(objects, relation, number), "CHECK");
        }
    }
    rows.finish()
}

fn not_null(relation: &Relation) -> impl Iterator<Item = (i16, &Attribute)> {
    relation.attributes().filter(|(_, column)| column.not_null)
}

fn not_null_name(objects: &Objects, relation: &Relation, number: i16) -> String {
    format!("{}_{}_{number}_not_null", objects.namespace_oid(relation.name.schema()), relation.oid)
}

pub(crate) fn check_constraints(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        for (number, column) in not_null(relation) {
            rows.push([
                ("constraint_catalog", catalog(objects)),
                ("constraint_schema", relation.name.schema().into()),
                ("constraint_name", not_null_name(objects, relation, number).into()),
                ("check_clause", format!("{} IS NOT NULL", column.name).into()),
            ]);
        }
    }
    rows.finish()
}

pub(crate) fn key_column_usage(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    each_key_column(objects, |relation, key, position, column| {
        rows.push([
            ("constraint_catalog", catalog(objects)),
            ("constraint_schema", relation.name.schema().into()),
            ("constraint_name", key.into()),
            ("table_catalog", catalog(objects)),
            ("table_schema", relation.name.schema().into()),
            ("table_name", relation.name.name().into()),
            ("column_name", column.name.as_str().into()),
            ("ordinal_position", position.into()),
        ]);
    });
    rows.finish()
}

pub(crate) fn constraint_column_usage(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    each_key_column(objects, |relation, key, _, column| {
        rows.push([
            ("table_catalog", catalog(objects)),
            ("table_schema", relation.name.schema().into()),
            ("table_name", relation.name.name().into()),
            ("column_name", column.name.as_str().into()),
            ("constraint_catalog", catalog(objects)),
            ("constraint_schema", relation.name.schema().into()),
            ("constraint_name", key.into()),
        ]);
    });
    rows.finish()
}

fn each_key_column(objects: &Objects, mut each: impl FnMut(&Relation, &str, i64, &Attribute)) {
    for relation in &objects.relations {
        let Some(key) = relation.key_name() else { continue };
        for ((_, column), position) in relation.key_columns().zip(1..) {
            each(relation, &key, position, column);
        }
    }
}

/// Privileges of a table that the policy's actions amount to.
pub(crate) fn privileges(relation: &Relation) -> impl Iterator<Item = &'static str> {
    [
        (Action::Delete, "DELETE"),
        (Action::Insert, "INSERT"),
        (Action::Select, "SELECT"),
        (Action::Truncate, "TRUNCATE"),
        (Action::Update, "UPDATE"),
    ]
    .into_iter()
    .filter(|(action, _)| relation.may(*action))
    .map(|(_, name)| name)
}

/// `table_privileges` and `role_table_grants`, which differ in what PUBLIC is granted: nothing, here.
pub(crate) fn table_privileges(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        for privilege in privileges(relation) {
            rows.push([
                ("grantor", objects.session.owner.as_str().into()),
                ("grantee", objects.session.user.as_str().into()),
                ("table_catalog", catalog(objects)),
                ("table_schema", relation.name.schema().into()),
                ("table_name", relation.name.name().into()),
                ("privilege_type", privilege.into()),
                ("is_grantable", yes_or_no(false)),
                ("with_hierarchy", yes_or_no(privilege == "SELECT")),
            ]);
        }
    }
    rows.finish()
}

pub(crate) fn column_privileges(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        for privilege in privileges(relation).filter(|name| matches!(*name, "INSERT" | "SELECT" | "UPDATE")) {
            for column in &relation.columns {
                rows.push([
                    ("grantor", objects.session.owner.as_str().into()),
                    ("grantee", objects.session.user.as_str().into()),
                    ("table_catalog", catalog(objects)),
                    ("table_schema", relation.name.schema().into()),
                    ("table_name", relation.name.name().into()),
                    ("column_name", column.name.as_str().into()),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", yes_or_no(false)),
                ]);
            }
        }
    }
    rows.finish()
}

pub(crate) fn enabled_roles(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for name in std::iter::once(&objects.session.user).chain(&objects.session.roles) {
        rows.push([("role_name", name.as_str().into())]);
    }
    rows.finish()
}

pub(crate) fn applicable_roles(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for name in &objects.session.roles {
        rows.push([
            ("grantee", objects.session.user.as_str().into()),
            ("role_name", name.as_str().into()),
            ("is_grantable", yes_or_no(false)),
        ]);
    }
    rows.finish()
}

pub(crate) fn character_sets(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    rows.push([
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", catalog(objects)),
        ("default_collate_schema", "pg_catalog".into()),
        ("default_collate_name", "default".into()),
    ]);
    rows.finish()
}
