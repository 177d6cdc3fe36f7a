//! Rows made by hand, turned into one Arrow batch of a relation's layout.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
        Int64Builder, IntervalMonthDayNanoBuilder, ListBuilder, RecordBatch, RecordBatchOptions, StringBuilder,
        TimestampMicrosecondBuilder,
    },
    error::ArrowError,
};

use super::{
    layout::{Layout, LayoutColumn, Shape},
    types,
};

/// One value of a catalog row, and of a catalog function's argument or answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<i32> for Cell {
    fn from(value: i32) -> Cell {
        Cell::Int(i64::from(value))
    }
}

impl From<i16> for Cell {
    fn from(value: i16) -> Cell {
        Cell::Int(i64::from(value))
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Cell {
        Cell::Int(i64::from(value))
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}

impl From<Vec<i64>> for Cell {
    fn from(value: Vec<i64>) -> Cell {
        Cell::Ints(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

impl Cell {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn int(&self) -> Option<i64> {
        match self {
            Cell::Int(value) => Some(*value),
            Cell::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn bool(&self) -> Option<bool> {
        match self {
            Cell::Bool(value) => Some(*value),
            Cell::Text(text) => match text.as_str() {
                "t" | "true" | "on" | "yes" | "1" => Some(true),
                "f" | "false" | "off" | "no" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Collects rows of one relation. Columns that a row does not name are NULL, or, where PostgreSQL says NOT NULL, the
/// type's zero: false, 0, the empty text, the empty list.
#[derive(Debug)]
pub(crate) struct Rows {
    layout: &'static Layout,
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    pub(crate) fn new(layout: &'static Layout) -> Rows {
        Rows { layout, rows: Vec::new() }
    }

    pub(crate) fn push<const N: usize>(&mut self, cells: [(&str, Cell); N]) {
        self.push_all(cells);
    }

    pub(crate) fn push_all<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Cell)>) {
        let mut row: Vec<Cell> = self.layout.columns.iter().map(zero).collect();
        for (name, cell) in cells {
            let place = self.layout.columns.iter().position(|column| column.name == name);
            debug_assert!(place.is_some(), "{} has no column {name}", self.layout.name);
            if let Some(slot) = place.and_then(|place| row.get_mut(place)) {
                *slot = cell;
            }
        }
        self.rows.push(row);
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let arrays: Vec<ArrayRef> = self
            .layout
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                array(column.shape, self.rows.iter().map(|row| row.get(place).unwrap_or(&Cell::Null)))
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        RecordBatch::try_new_with_options(self.layout.arrow.clone(), arrays, &options)
    }
}

fn zero(column: &LayoutColumn) -> Cell {
    if !column.not_null {
        return Cell::Null;
    }
    match column.shape {
        Shape::Bool => Cell::Bool(false),
        Shape::Int2 | Shape::Int4 | Shape::Int8 | Shape::Float4 | Shape::Float8 => Cell::Int(0),
        Shape::Text if column.type_oid == types::REGPROC => Cell::Text("-".to_owned()),
        Shape::Text => Cell::Text(String::new()),
        Shape::Int2s | Shape::Int8s => Cell::Ints(Vec::new()),
        Shape::Texts => Cell::Texts(Vec::new()),
        Shape::Timestamptz | Shape::Interval | Shape::Bytea | Shape::Bools | Shape::Floats => Cell::Null,
    }
}

/// An Arrow array of the shape; a cell of another kind is NULL.
#[allow(clippy::cast_precision_loss, reason = "catalog numbers are small")]
pub(crate) fn array<'a>(shape: Shape, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    macro_rules! fill {
        ($builder:expr, $value:expr) => {{
            let mut builder = $builder;
            for cell in cells {
                builder.append_option($value(cell));
            }
            Arc::new(builder.finish())
        }};
    }
    macro_rules! fill_list {
        ($builder:expr, $kind:path, $value:expr) => {{
            let mut builder = ListBuilder::new($builder);
            for cell in cells {
                builder.append_option(match cell {
                    $kind(values) => Some(values.iter().map($value).collect::<Vec<_>>()),
                    _ => None,
                });
            }
            Arc::new(builder.finish())
        }};
    }
    match shape {
        Shape::Bool => fill!(BooleanBuilder::new(), Cell::bool),
        Shape::Int2 => fill!(Int16Builder::new(), |cell: &Cell| cell.int().and_then(|value| value.try_into().ok())),
        Shape::Int4 => fill!(Int32Builder::new(), |cell: &Cell| cell.int().and_then(|value| value.try_into().ok())),
        Shape::Int8 => fill!(Int64Builder::new(), Cell::int),
        Shape::Float4 => fill!(Float32Builder::new(), |cell: &Cell| cell.int().map(|value| value as f32)),
        Shape::Float8 => fill!(Float64Builder::new(), |cell: &Cell| cell.int().map(|value| value as f64)),
        Shape::Text => fill!(StringBuilder::new(), Cell::text),
        Shape::Timestamptz => fill!(TimestampMicrosecondBuilder::new().with_timezone("+00:00"), Cell::int),
        Shape::Interval => fill!(IntervalMonthDayNanoBuilder::new(), |_: &Cell| None),
        Shape::Bytea => fill!(BinaryBuilder::new(), |_: &Cell| None::<&[u8]>),
        Shape::Bools => fill_list!(BooleanBuilder::new(), Cell::Ints, |value| Some(*value != 0)),
        Shape::Int2s => fill_list!(Int16Builder::new(), Cell::Ints, |value| i16::try_from(*value).ok()),
        Shape::Int8s => fill_list!(Int64Builder::new(), Cell::Ints, |value| Some(*value)),
        Shape::Floats => fill_list!(Float64Builder::new(), Cell::Ints, |value| Some(*value as f64)),
        Shape::Texts => fill_list!(StringBuilder::new(), Cell::Texts, |value| Some(value.clone())),
    }
}
