use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use weir_engine::Column;
use weir_model::{Code, Refusal, Result, ValueType};

use crate::session::Settings;

/// Columns and rows of SHOW.
pub(crate) fn show(settings: &Settings, name: &str, user: &str) -> Result<(Arc<[Column]>, RecordBatch)> {
    if name == "all" {
        let all = settings.show_all(user);
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        let values: Vec<&str> = all.iter().map(|(_, value)| value.as_str()).collect();
        return texts(&[("name", names), ("setting", values)]);
    }
    let (shown, value) = settings.show(name, user)?;
    texts(&[(shown, vec![value.as_str()])])
}

/// The columns of SHOW, without its rows.
pub(crate) fn columns(settings: &Settings, name: &str, user: &str) -> Result<Arc<[Column]>> {
    show(settings, name, user).map(|(columns, _)| columns)
}

fn texts(columns: &[(&str, Vec<&str>)]) -> Result<(Arc<[Column]>, RecordBatch)> {
    let shown = columns.iter().map(|(name, _)| text_column(name)).collect();
    let fields: Vec<Field> = columns.iter().map(|(name, _)| Field::new(*name, DataType::Utf8, false)).collect();
    let arrays = columns.iter().map(|(_, values)| Arc::new(StringArray::from(values.clone())) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| Refusal::new(Code::Internal, error.to_string()))?;
    Ok((shown, batch))
}

fn text_column(name: &str) -> Column {
    Column { name: name.to_owned(), value_type: ValueType::TEXT, table_oid: 0, attribute: 0 }
}
