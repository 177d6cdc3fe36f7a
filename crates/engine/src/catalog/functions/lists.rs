//! Functions over arrays whose answer's type depends on the argument's: what scalar subqueries, `ARRAY(SELECT …)`,
//! `generate_subscripts` and `_pg_expandarray` are rewritten to.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int32Array, ListArray, StructArray, new_empty_array},
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields},
};
use datafusion::{
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

use weir_model::{Code, Refusal};

use crate::error::external;

/// The list, or the empty list for NULL: `ARRAY(SELECT …)` of no rows.
pub(crate) const OR_EMPTY: &str = "__weir_list_or_empty";
/// Subscripts from 1, for `generate_subscripts`.
pub(crate) const SUBSCRIPTS: &str = "__weir_subscripts";
/// Subscripts from 0, as `int2vector` and `oidvector` have them.
pub(crate) const VECTOR_SUBSCRIPTS: &str = "__weir_vector_subscripts";
/// Elements with their places, as `information_schema._pg_expandarray` gives them: structs of `x` and `n`.
pub(crate) const EXPANDED: &str = "__weir_expanded";

/// The one element, NULL for none: a scalar subquery's value. More are an error, as in PostgreSQL.
pub(crate) const SINGLE: &str = "__weir_single";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Single,
    OrEmpty,
    Subscripts { first: i32 },
    Expanded,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    [
        (SINGLE, Kind::Single),
        (OR_EMPTY, Kind::OrEmpty),
        (SUBSCRIPTS, Kind::Subscripts { first: 1 }),
        (VECTOR_SUBSCRIPTS, Kind::Subscripts { first: 0 }),
        (EXPANDED, Kind::Expanded),
    ]
    .into_iter()
    .map(|(name, kind)| {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(ListFunction { name, kind, signature }))
    })
    .collect()
}

fn element_of(argument: Option<&DataType>) -> Option<&Arc<Field>> {
    match argument {
        Some(DataType::List(element)) => Some(element),
        _ => None,
    }
}

fn expanded_fields(element: &Field) -> Fields {
    Fields::from(vec![Field::new("x", element.data_type().clone(), true), Field::new("n", DataType::Int32, true)])
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some(element) = element_of(arguments.first()) else {
            return exec_err!("expected an array, found {:?}", arguments.first());
        };
        Ok(match self.kind {
            Kind::Single => element.data_type().clone(),
            Kind::OrEmpty => DataType::List(element.clone()),
            Kind::Subscripts { .. } => DataType::new_list(DataType::Int32, true),
            Kind::Expanded => DataType::new_list(DataType::Struct(expanded_fields(element)), true),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some(list) = arrays.first().and_then(|array| array.as_list_opt::<i32>()) else {
            return exec_err!("expected an array");
        };
        Ok(ColumnarValue::Array(match self.kind {
            Kind::Single => single(list)?,
            Kind::OrEmpty => Arc::new(or_empty(list)?),
            Kind::Subscripts { first } => Arc::new(subscripts(list, first)?),
            Kind::Expanded => Arc::new(expanded(list)?),
        }))
    }
}

fn single(list: &ListArray) -> Result<ArrayRef> {
    let mut places = Vec::with_capacity(list.len());
    for (row, offsets) in list.value_offsets().windows(2).enumerate() {
        let &[start, end] = offsets else { continue };
        places.push(match end - start {
            _ if list.is_null(row) => None,
            0 => None,
            1 => Some(start),
            _ => {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(external(Refusal::new(Code::CardinalityViolation, message)));
            }
        });
    }
    Ok(arrow::compute::take(list.values(), &Int32Array::from(places), None)?)
}

fn or_empty(list: &ListArray) -> Result<ListArray> {
    let DataType::List(element) = list.data_type() else { return exec_err!("expected an array") };
    let values = kept(list)?;
    Ok(ListArray::try_new(element.clone(), OffsetBuffer::from_lengths(lengths(list)), values, None)?)
}

/// How many elements each row has; none where it is NULL.
fn lengths(list: &ListArray) -> Vec<usize> {
    list.iter().map(|row| row.map_or(0, |row| row.len())).collect()
}

/// The elements of the rows that are not NULL, one after the other.
fn kept(list: &ListArray) -> Result<ArrayRef> {
    let rows: Vec<ArrayRef> = list.iter().flatten().collect();
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    if rows.is_empty() {
        return Ok(new_empty_array(&list.value_type()));
    }
    Ok(arrow::compute::concat(&rows)?)
}

fn places(list: &ListArray, first: i32) -> Int32Array {
    lengths(list).into_iter().flat_map(|length| (first..).take(length)).collect()
}

fn subscripts(list: &ListArray, first: i32) -> Result<ListArray> {
    let element = Arc::new(Field::new_list_field(DataType::Int32, true));
    let offsets = OffsetBuffer::from_lengths(lengths(list));
    Ok(ListArray::try_new(element, offsets, Arc::new(places(list, first)), list.nulls().cloned())?)
}

fn expanded(list: &ListArray) -> Result<ListArray> {
    let DataType::List(element) = list.data_type() else { return exec_err!("expected an array") };
    let fields = expanded_fields(element);
    let columns: Vec<ArrayRef> = vec![kept(list)?, Arc::new(places(list, 1))];
    let structs = StructArray::try_new(fields.clone(), columns, None)?;
    let field = Arc::new(Field::new_list_field(DataType::Struct(fields), true));
    let offsets = OffsetBuffer::from_lengths(lengths(list));
    Ok(ListArray::try_new(field, offsets, Arc::new(structs), list.nulls().cloned())?)
}
