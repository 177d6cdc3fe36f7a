//! SQL types in the planner: what a written type means to Arrow, and which SQL type an output column has.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
    common::DataFusionError,
    logical_expr::planner::TypePlanner,
};
use weir_model::{ColumnType, TYPE_TAG, ValueType};
use weir_sql::ast;
use weir_store::{arrow_field, arrow_type, column_type_of};

use crate::error::external;

/// An output column as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub value_type: ValueType,
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
        if let Some(field) = oid_field(written) {
            return Ok(Some(field));
        }
        if matches!(written, ast::DataType::Array(_)) {
            let element = weir_sql::value_type(written).ok().and_then(ValueType::element);
            return Ok(element.map(array_field));
        }
        if matches!(written, ast::DataType::Char(_) | ast::DataType::Character(_)) {
            // Padded in PostgreSQL, plain text here.
            return Ok(Some(parameter_field(ColumnType::Text)));
        }
        weir_sql::column_type(written).map(|column_type| Some(parameter_field(column_type))).map_err(external)
    }
}

/// A nullable, nameless field of the type, as casts and placeholders want it.
pub(crate) fn parameter_field(value_type: impl Into<ValueType>) -> FieldRef {
    let value_type = value_type.into();
    match value_type.element() {
        Some(element) => Arc::new(Field::new("", list_type(element), true)),
        None => {
            let column_type = value_type.scalar().unwrap_or(ColumnType::Text);
            Arc::new(untagged(&arrow_field("", column_type, true)))
        }
    }
}

/// An array that a cast makes; its elements keep their type's tag, which clients are told of.
fn array_field(element: ColumnType) -> FieldRef {
    let element = untagged(&arrow_field(Field::LIST_FIELD_DEFAULT_NAME, element, true));
    Arc::new(Field::new("", DataType::List(Arc::new(element)), true))
}

/// Tag of what is cast to `oid`, as [`output_type`] reads it; it is no column's type.
const OID_TAG: &str = "oid";

/// A cast to `oid` or `oid[]`, which the catalogs' rewriting leaves where a parameter is cast.
fn oid_field(written: &ast::DataType) -> Option<FieldRef> {
    let tag = HashMap::from([(TYPE_TAG.to_owned(), OID_TAG.to_owned())]);
    match written {
        ast::DataType::Custom(name, arguments) if arguments.is_empty() && is_oid(name) => {
            Some(Arc::new(Field::new("", DataType::Int64, true).with_metadata(tag)))
        }
        ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = oid_field(element)?.as_ref().clone().with_name(Field::LIST_FIELD_DEFAULT_NAME);
            Some(Arc::new(Field::new("", DataType::List(Arc::new(element)), true)))
        }
        _ => None,
    }
}

/// What a parameter that is cast to a written type is; None where no value can be of it.
pub(crate) fn cast_type(written: &ast::DataType) -> Option<ValueType> {
    match oid_field(written) {
        Some(field) => Some(output_type(&field)),
        None => weir_sql::value_type(written).ok(),
    }
}

fn is_oid(name: &ast::ObjectName) -> bool {
    let last = name.0.last().and_then(|part| part.as_ident());
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case("oid"))
}

/// Lists of the type. Their elements have no tag: DataFusion takes lists of differently tagged ones for other types.
pub(crate) fn list_type(element: ColumnType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(arrow_type(element), true)))
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
pub(crate) fn output_type(field: &Field) -> ValueType {
    match field.data_type() {
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            match output_type(element) {
                // Arrays of arrays are arrays of more dimensions.
                ValueType::Scalar(element) | ValueType::Array(element) => ValueType::Array(element),
                ValueType::Oid | ValueType::OidArray => ValueType::OidArray,
            }
        }
        DataType::Int64 if field.metadata().get(TYPE_TAG).is_some_and(|tag| tag == OID_TAG) => ValueType::Oid,
        _ => ValueType::Scalar(scalar_type(field)),
    }
}

/// The SQL type of a field where no array can be; what has none of its own is text.
pub(crate) fn scalar_type(field: &Field) -> ColumnType {
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
