//! The shape of every relation of `pg_catalog` and `information_schema`: names, oids, columns and types as PostgreSQL
//! 15 has them, read from `relations.tsv`.
//!
//! A relation listed there but filled by no room of this module is empty because there is nothing of its kind here
//! (no triggers, no publications, …). A relation of PostgreSQL that is not listed does not exist: its true content is
//! not known or not for clients.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

use super::types;

/// One relation of the system schemas.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) schema: &'static str,
    pub(crate) name: &'static str,
    /// Zero where PostgreSQL pins none.
    pub(crate) oid: u32,
    /// `r` table, `v` view, `f` the result of a function.
    pub(crate) kind: &'static str,
    pub(crate) columns: Vec<LayoutColumn>,
    pub(crate) arrow: SchemaRef,
}

#[derive(Debug)]
pub(crate) struct LayoutColumn {
    pub(crate) name: &'static str,
    pub(crate) type_oid: u32,
    pub(crate) shape: Shape,
    pub(crate) not_null: bool,
}

/// How a column's values are held in Arrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Int2,
    Int4,
    /// bigint, and oid: 32 bits without sign.
    Int8,
    Float4,
    Float8,
    Text,
    Timestamptz,
    Interval,
    Bytea,
    Bools,
    Int2s,
    Int8s,
    Floats,
    Texts,
}

impl Shape {
    fn of(type_name: &str) -> Shape {
        match type_name {
            "bool" => Shape::Bool,
            "int2" => Shape::Int2,
            "int4" | "cardinal_number" => Shape::Int4,
            "int8" | "oid" | "xid" | "regtype" => Shape::Int8,
            "float4" => Shape::Float4,
            "float8" | "numeric" => Shape::Float8,
            "timestamptz" | "time_stamp" => Shape::Timestamptz,
            "interval" => Shape::Interval,
            "bytea" => Shape::Bytea,
            "bool[]" => Shape::Bools,
            "int2vector" | "int2[]" => Shape::Int2s,
            "oidvector" | "oid[]" | "regtype[]" => Shape::Int8s,
            "float4[]" | "float8[]" => Shape::Floats,
            "anyarray" => Shape::Texts,
            name if name.ends_with("[]") => Shape::Texts,
            _ => Shape::Text,
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Shape::Bool => DataType::Boolean,
            Shape::Int2 => DataType::Int16,
            Shape::Int4 => DataType::Int32,
            Shape::Int8 => DataType::Int64,
            Shape::Float4 => DataType::Float32,
            Shape::Float8 => DataType::Float64,
            Shape::Text => DataType::Utf8,
            Shape::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            Shape::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Shape::Bytea => DataType::Binary,
            Shape::Bools => DataType::new_list(DataType::Boolean, true),
            Shape::Int2s => DataType::new_list(DataType::Int16, true),
            Shape::Int8s => DataType::new_list(DataType::Int64, true),
            Shape::Floats => DataType::new_list(DataType::Float64, true),
            Shape::Texts => DataType::new_list(DataType::Utf8, true),
        }
    }
}

impl Layout {
    fn parse(line: &'static str) -> Option<Layout> {
        let mut parts = line.split('\t');
        let (schema, name, oid, kind, columns) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let columns: Vec<LayoutColumn> = columns.split(' ').filter_map(LayoutColumn::parse).collect();
        // Nullable to Arrow whatever PostgreSQL promises: outer joins and empty relations must not depend on it.
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(column.name, column.shape.data_type(), true)).collect();
        Some(Layout { schema, name, oid: oid.parse().ok()?, kind, columns, arrow: Arc::new(Schema::new(fields)) })
    }

    pub(crate) fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }
}

impl LayoutColumn {
    fn parse(text: &'static str) -> Option<LayoutColumn> {
        let (name, type_name) = text.split_once(':')?;
        let (type_name, not_null) = match type_name.strip_suffix('!') {
            Some(type_name) => (type_name, true),
            None => (type_name, false),
        };
        let type_oid = match type_name.strip_suffix("[]") {
            Some(element) => types::by_name(element).map_or(0, |found| found.array),
            None => types::by_name(type_name).map_or_else(|| domain(type_name), |found| found.oid),
        };
        Some(LayoutColumn { name, type_oid, shape: Shape::of(type_name), not_null })
    }
}

/// The base type of a domain of `information_schema`.
fn domain(name: &str) -> u32 {
    match name {
        "cardinal_number" => types::INT4,
        "time_stamp" => types::TIMESTAMPTZ,
        _ => types::TEXT,
    }
}

static LAYOUTS: LazyLock<Vec<Layout>> =
    LazyLock::new(|| include_str!("relations.tsv").lines().filter_map(Layout::parse).collect());

static BY_NAME: LazyLock<HashMap<(&'static str, &'static str), &'static Layout>> =
    LazyLock::new(|| LAYOUTS.iter().map(|layout| ((layout.schema, layout.name), layout)).collect());

/// Every relation of the system schemas.
pub(crate) fn all() -> &'static [Layout] {
    &LAYOUTS
}

/// The relation that a name means; without a schema, one of `pg_catalog`, which every search path begins with.
pub(crate) fn find(schema: Option<&str>, name: &str) -> Option<&'static Layout> {
    BY_NAME.get(&(schema.unwrap_or("pg_catalog"), name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        assert_eq!(all().len(), include_str!("relations.tsv").lines().count());
        for layout in all() {
            assert!(layout.columns.iter().all(|column| column.type_oid != 0), "{layout:?}");
        }
    }

    #[test]
    fn names_resolve_with_and_without_a_schema() {
        assert_eq!(find(None, "pg_class").map(|layout| layout.oid), Some(1259));
        assert!(find(Some("information_schema"), "columns").is_some());
        assert!(find(None, "columns").is_none());
        assert!(find(None, "pg_authid").is_none(), "password hashes are not for clients");
    }
}
