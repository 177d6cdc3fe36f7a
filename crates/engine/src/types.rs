//! SQL types in the planner: what a written type means to Arrow, and which SQL type an output column has.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    common::DataFusionError,
    logical_expr::planner::TypePlanner,
};
use weir_model::ColumnType;
use weir_sql::ast;
use weir_store::{arrow_field, column_type_of};

use crate::error::external;

/// An output column as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub column_type: ColumnType,
    /// Zero where the column is computed.
    pub table_oid: u32,
    /// One-based place in its table; zero where the column is computed.
    pub attribute: i16,
}

/// Casts and typed literals take PostgreSQL's types: microseconds, `numeric` with a scale, uuid and json as tagged text.
#[derive(Debug)]
pub(crate) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, written: &ast::DataType) -> Result<Option<FieldRef>, DataFusionError> {
        if matches!(written, ast::DataType::Array(_)) {
            return Ok(None);
        }
        if matches!(written, ast::DataType::Char(_) | ast::DataType::Character(_)) {
            // Padded in PostgreSQL, plain text here.
            return Ok(Some(parameter_field(ColumnType::Text)));
        }
        weir_sql::column_type(written).map(|column_type| Some(parameter_field(column_type))).map_err(external)
    }
}

/// A nullable, nameless field of the type, as casts and placeholders want it.
pub(crate) fn parameter_field(column_type: ColumnType) -> FieldRef {
    Arc::new(untagged(&arrow_field("", column_type, true)))
}

/// The field without its type's tag where the Arrow type says as much: DataFusion takes fields with different metadata
/// for different types in places (recursive queries), and a computed column has none.
pub(crate) fn untagged(field: &Field) -> Field {
    let plain = field.clone().with_metadata(HashMap::new());
    if column_type_of(&plain) == column_type_of(field) { plain } else { field.clone() }
}

/// A table's schema, its fields untagged.
pub(crate) fn plan_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| untagged(field)).collect::<Vec<Field>>()))
}

/// The SQL type of an output field; what has none of its own is sent as text.
pub(crate) fn output_type(field: &Field) -> ColumnType {
    match field.data_type() {
        DataType::Null => ColumnType::Text,
        _ => column_type_of(field).unwrap_or(ColumnType::Text),
    }
}

/// Whether values of the type are text to Arrow.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
