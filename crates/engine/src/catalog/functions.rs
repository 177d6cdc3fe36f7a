//! The functions of `pg_catalog`, with the answers of one session.
//!
//! Each is a plain Rust function over [`Cell`]s, run row by row: catalog queries are small. They see the same
//! [`Objects`] that the relations are built from, so that they too tell of nothing hidden.

mod definitions;
mod lists;
mod privileges;
mod registered;
mod scalars;
mod sessions;

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, Int64Type},
};
use datafusion::{
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility},
};
use weir_model::Refusal;

pub(crate) use self::registered::{NAME_SUFFIX, OID_SUFFIX};
use super::{
    layout::Shape,
    objects::{Objects, SharedObjects},
    rows::{self, Cell},
};
use crate::error::external;

/// What a function's body is given and answers.
pub(crate) type Body = fn(&Objects, &[Cell]) -> std::result::Result<Cell, Refusal>;

/// A function: its names, what it answers, whether NULL in any argument makes the answer NULL, and how.
pub(crate) struct Definition {
    names: &'static [&'static str],
    returns: Shape,
    strict: bool,
    body: Body,
}

impl Definition {
    pub(crate) const fn strict(names: &'static [&'static str], returns: Shape, body: Body) -> Definition {
        Definition { names, returns, strict: true, body }
    }

    pub(crate) const fn lax(names: &'static [&'static str], returns: Shape, body: Body) -> Definition {
        Definition { names, returns, strict: false, body }
    }
}

/// Every function, bound to what this session may see.
pub(crate) fn all(objects: &SharedObjects) -> Vec<Arc<ScalarUDF>> {
    let definitions = [sessions::ALL, definitions::ALL, privileges::ALL, registered::ALL, scalars::ALL];
    let bound = definitions.into_iter().flatten().map(|definition| {
        let function = CatalogFunction { definition, objects: objects.clone(), signature: any_arguments() };
        Arc::new(ScalarUDF::new_from_impl(function))
    });
    bound.chain(lists::all()).collect()
}

fn any_arguments() -> Signature {
    let any = TypeSignature::OneOf(vec![TypeSignature::Nullary, TypeSignature::VariadicAny]);
    Signature::new(any, Volatility::Stable)
}

struct CatalogFunction {
    definition: &'static Definition,
    objects: SharedObjects,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CatalogFunction").field("names", &self.definition.names).finish_non_exhaustive()
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &CatalogFunction) -> bool {
        self.definition.names == other.definition.names && Arc::ptr_eq(&self.objects, &other.objects)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.names.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.definition.names.first().copied().unwrap_or_default()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.definition.returns.data_type())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = arguments.args.iter().all(|each| matches!(each, ColumnarValue::Scalar(_)));
        let count = if constant { 1 } else { arguments.number_rows };
        let columns = arguments
            .args
            .iter()
            .map(|each| each.to_array(count).and_then(|array| cells(&array)))
            .collect::<Result<Vec<Vec<Cell>>>>()?;
        let mut answers = Vec::with_capacity(count);
        let mut row: Vec<Cell> = Vec::with_capacity(columns.len());
        for place in 0..count {
            row.clear();
            row.extend(columns.iter().map(|column| column.get(place).cloned().unwrap_or(Cell::Null)));
            let answer = if self.definition.strict && row.contains(&Cell::Null) {
                Cell::Null
            } else {
                (self.definition.body)(&self.objects, &row).map_err(external)?
            };
            answers.push(answer);
        }
        let array = rows::array(self.definition.returns, answers.iter());
        if constant {
            return datafusion::common::ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// An argument's values. A type with no cell of its own comes as text.
fn cells(array: &ArrayRef) -> Result<Vec<Cell>> {
    let data_type = array.data_type();
    if data_type == &DataType::Null {
        return Ok(vec![Cell::Null; array.len()]);
    }
    if data_type == &DataType::Boolean {
        return Ok(array.as_boolean().iter().map(Cell::from).collect());
    }
    if data_type.is_integer() {
        let whole = cast(array, &DataType::Int64)?;
        return Ok(whole.as_primitive::<Int64Type>().iter().map(Cell::from).collect());
    }
    if let DataType::List(element) = data_type {
        let lists = array.as_list::<i32>();
        let whole = element.data_type().is_integer();
        return lists.iter().map(|list| list.map_or(Ok(Cell::Null), |list| list_cell(&list, whole))).collect();
    }
    let text = cast(array, &DataType::Utf8)?;
    Ok(text.as_string::<i32>().iter().map(Cell::from).collect())
}

fn list_cell(list: &ArrayRef, whole: bool) -> Result<Cell> {
    if whole {
        let values = cast(list, &DataType::Int64)?;
        return Ok(Cell::Ints(values.as_primitive::<Int64Type>().iter().flatten().collect()));
    }
    let values = cast(list, &DataType::Utf8)?;
    Ok(Cell::Texts(values.as_string::<i32>().iter().flatten().map(str::to_owned).collect()))
}

/// An argument by its place.
pub(crate) fn argument(arguments: &[Cell], place: usize) -> &Cell {
    arguments.get(place).unwrap_or(&Cell::Null)
}

/// An oid among the arguments.
pub(crate) fn oid(arguments: &[Cell], place: usize) -> Option<u32> {
    argument(arguments, place).int().and_then(|value| u32::try_from(value).ok())
}

pub(crate) fn text(arguments: &[Cell], place: usize) -> &str {
    argument(arguments, place).text().unwrap_or_default()
}
