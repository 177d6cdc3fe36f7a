use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use weir_model::{Code, ColumnType, Refusal, TYPE_TAG};

/// Most columns a table may have, as in PostgreSQL.
pub const COLUMNS_MAX: usize = 1600;

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    pub nullable: bool,
    /// SQL text of the default expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// The columns of a table, in order, its primary key, and the Arrow schema its batches have.
///
/// INVARIANT: names are distinct, key indexes are in range, key columns are not nullable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SchemaFields", into = "SchemaFields")]
pub struct TableSchema {
    revision: u32,
    columns: Vec<Column>,
    primary_key: Vec<usize>,
    arrow: SchemaRef,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SchemaFields {
    /// Counts the changes of this table's columns; the log notes which one its rows were written with.
    revision: u32,
    columns: Vec<Column>,
    primary_key: Vec<usize>,
}

impl TableSchema {
    /// Key columns become NOT NULL.
    ///
    /// # Errors
    /// A [`Refusal`] when names repeat, there are no columns or too many, or a type cannot be a key.
    pub fn new(mut columns: Vec<Column>, primary_key: Vec<usize>) -> Result<TableSchema, Refusal> {
        if columns.is_empty() {
            return Err(Refusal::unsupported("a table without columns"));
        }
        if columns.len() > COLUMNS_MAX {
            return Err(Refusal::new(Code::ProgramLimitExceeded, "a table can have at most 1600 columns")
                .detail(format!("columns={}", columns.len())));
        }
        let mut names = std::collections::HashSet::new();
        if let Some(twice) = columns.iter().find(|column| !names.insert(column.name.as_str())) {
            let message = format!("column \"{}\" specified more than once", twice.name);
            return Err(Refusal::new(Code::DuplicateColumn, message));
        }
        let mut keys = std::collections::HashSet::new();
        for &index in &primary_key {
            let Some(column) = columns.get_mut(index) else {
                return Err(Refusal::new(Code::UndefinedColumn, "the primary key names a column that does not exist"));
            };
            if !keys.insert(index) {
                let message = format!("column \"{}\" appears twice in primary key constraint", column.name);
                return Err(Refusal::new(Code::DuplicateColumn, message));
            }
            if matches!(column.column_type, ColumnType::Json | ColumnType::Jsonb | ColumnType::Interval) {
                return Err(Refusal::unsupported(format!("a primary key column of type {}", column.column_type)));
            }
            column.nullable = false;
        }
        let fields: Vec<Field> =
            columns.iter().map(|column| arrow_field(&column.name, column.column_type, column.nullable)).collect();
        Ok(TableSchema { revision: 0, columns, primary_key, arrow: Arc::new(Schema::new(fields)) })
    }

    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Indexes of the key's columns, in the key's order; empty where there is none.
    #[must_use]
    pub fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    #[must_use]
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(crate) fn revision(&self) -> u32 {
        self.revision
    }

    /// The key's columns with their places.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.primary_key.iter().filter_map(|&index| self.columns.get(index).map(|column| (index, column)))
    }
}

impl TryFrom<SchemaFields> for TableSchema {
    type Error = Refusal;

    fn try_from(fields: SchemaFields) -> Result<TableSchema, Refusal> {
        let mut schema = TableSchema::new(fields.columns, fields.primary_key)?;
        schema.revision = fields.revision;
        Ok(schema)
    }
}

impl From<TableSchema> for SchemaFields {
    fn from(schema: TableSchema) -> SchemaFields {
        SchemaFields { revision: schema.revision, columns: schema.columns, primary_key: schema.primary_key }
    }
}

/// The Arrow type that holds a column's values.
#[must_use]
pub fn arrow_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::SmallInt => DataType::Int16,
        ColumnType::Integer => DataType::Int32,
        ColumnType::BigInt => DataType::Int64,
        ColumnType::Real => DataType::Float32,
        ColumnType::Double => DataType::Float64,
        ColumnType::Numeric { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Json | ColumnType::Jsonb => {
            DataType::Utf8View
        }
        ColumnType::Bytea => DataType::BinaryView,
        ColumnType::Date => DataType::Date32,
        ColumnType::Time => DataType::Time64(TimeUnit::Microsecond),
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        ColumnType::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        ColumnType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
    }
}

/// A field of the column's Arrow type that also carries the SQL type, under [`TYPE_TAG`].
#[must_use]
pub fn arrow_field(name: &str, column_type: ColumnType, nullable: bool) -> Field {
    Field::new(name, arrow_type(column_type), nullable)
        .with_metadata(HashMap::from([(TYPE_TAG.to_owned(), column_type.tag())]))
}

/// The SQL type of an Arrow field: what its tag says, else the nearest PostgreSQL type that holds every value. None
/// where there is none (lists, structs, maps).
#[must_use]
pub fn column_type_of(field: &Field) -> Option<ColumnType> {
    if let Some(tagged) = field.metadata().get(TYPE_TAG).and_then(|tag| ColumnType::from_tag(tag)) {
        return Some(tagged);
    }
    nearest(field.data_type())
}

fn nearest(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => ColumnType::SmallInt,
        DataType::Int32 | DataType::UInt16 => ColumnType::Integer,
        DataType::Int64 | DataType::UInt32 => ColumnType::BigInt,
        DataType::UInt64 => ColumnType::Numeric { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => ColumnType::Real,
        DataType::Float64 => ColumnType::Double,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            ColumnType::Numeric { precision: (*precision).min(38), scale: (*scale).clamp(0, 38) }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => ColumnType::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Bytea
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Time,
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Timestamp(_, Some(_)) => ColumnType::Timestamptz,
        DataType::Interval(_) | DataType::Duration(_) => ColumnType::Interval,
        DataType::Dictionary(_, values) => nearest(values)?,
        DataType::RunEndEncoded(_, values) => nearest(values.data_type())?,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, column_type: ColumnType) -> Column {
        Column { name: name.into(), column_type, nullable: true, default: None }
    }

    #[test]
    fn fields_carry_their_sql_type() {
        for column_type in [
            ColumnType::Uuid,
            ColumnType::Varchar(7),
            ColumnType::Jsonb,
            ColumnType::Timestamptz,
            ColumnType::Numeric { precision: 9, scale: 2 },
        ] {
            assert_eq!(column_type_of(&arrow_field("c", column_type, true)), Some(column_type));
        }
    }

    #[test]
    fn untagged_fields_take_the_nearest_type() {
        let check = |data_type: DataType, expected: Option<ColumnType>| {
            assert_eq!(column_type_of(&Field::new("c", data_type.clone(), true)), expected, "{data_type}");
        };
        check(DataType::UInt32, Some(ColumnType::BigInt));
        check(DataType::LargeUtf8, Some(ColumnType::Text));
        check(DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), Some(ColumnType::Text));
        check(DataType::Timestamp(TimeUnit::Nanosecond, None), Some(ColumnType::Timestamp));
        check(DataType::new_list(DataType::Int32, true), None);
    }

    #[test]
    fn schemas_refuse_what_cannot_be() {
        let code = |columns, key| TableSchema::new(columns, key).err().map(|refusal| refusal.code());
        assert_eq!(code(vec![column("a", ColumnType::Text)], vec![0]), None);
        assert_eq!(code(vec![], vec![]), Some(Code::Unsupported));
        let twice = vec![column("a", ColumnType::Text), column("a", ColumnType::Text)];
        assert_eq!(code(twice, vec![]), Some(Code::DuplicateColumn));
        assert_eq!(code(vec![column("a", ColumnType::Text)], vec![1]), Some(Code::UndefinedColumn));
        assert_eq!(code(vec![column("a", ColumnType::Jsonb)], vec![0]), Some(Code::Unsupported));
    }

    #[test]
    fn a_schema_reads_back_from_its_json() {
        let schema =
            TableSchema::new(vec![column("id", ColumnType::BigInt), column("n", ColumnType::NUMERIC_DEFAULT)], vec![0])
                .unwrap();
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<TableSchema>(&text).unwrap(), schema);
    }
}
