//! `value = ANY(array)`, with SQL's three values of truth: the rewritten form of it. A constant array becomes a list of
//! values when the statement is bound.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, ListArray, Scalar, new_null_array},
    compute::{kernels::cmp, or_kleene},
    datatypes::{DataType, Field},
    error::ArrowError,
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::{InList, ScalarFunction},
        type_coercion::binary::comparison_coercion,
    },
};
use weir_model::{Code, Refusal};

use crate::{error::external, types::is_text};

/// Called by rewritten statements only.
pub(crate) const MEMBER: &str = "weir_member";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Member {
    signature: Signature,
}

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::user_defined(Volatility::Immutable);
    vec![Arc::new(ScalarUDF::new_from_impl(Member { signature }))]
}

impl ScalarUDFImpl for Member {
    fn name(&self) -> &str {
        MEMBER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// What is no array is refused here: an error of coercion loses its code on the way.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        match arguments {
            [_, DataType::List(_)] => Ok(DataType::Boolean),
            _ => Err(external(no_array())),
        }
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        let [value, array] = arguments else { return Err(external(no_array())) };
        let element = match array {
            DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => field.data_type(),
            DataType::Null => value,
            _ => return Ok(arguments.to_vec()),
        };
        if element.is_nested() {
            return Err(external(Refusal::unsupported("ANY and ALL over arrays of several dimensions")));
        }
        let common = common_type(value, element)?;
        Ok(vec![common.clone(), DataType::List(Arc::new(Field::new_list_field(common, true)))])
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [value, array] = arguments.args.as_slice() else { return Err(external(no_array())) };
        let values = value.to_array(arguments.number_rows)?;
        let found = match array {
            ColumnarValue::Scalar(ScalarValue::List(list)) => in_one(&values, list)?,
            array => in_each(&values, array.to_array(arguments.number_rows)?.as_list::<i32>())?,
        };
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

fn no_array() -> Refusal {
    Refusal::new(Code::WrongObjectType, "op ANY/ALL (array) requires array on right side")
}

/// What both sides are compared as. A text written for the elements is read as the value's type.
fn common_type(value: &DataType, element: &DataType) -> Result<DataType, DataFusionError> {
    if value == element || element.is_null() {
        return Ok(value.clone());
    }
    if value.is_null() {
        return Ok(element.clone());
    }
    let common = if is_text(value) == is_text(element) { comparison_coercion(value, element) } else { None };
    common.ok_or_else(|| {
        external(
            Refusal::new(Code::UndefinedFunction, format!("operator does not exist: {value} = {element}"))
                .hint("cast the array, as in $1::bigint[]"),
        )
    })
}

/// Every value in one list.
fn in_one(values: &ArrayRef, list: &ListArray) -> Result<BooleanArray, ArrowError> {
    if list.is_null(0) {
        return Ok(new_null_array(&DataType::Boolean, values.len()).as_boolean().clone());
    }
    let elements = list.value(0);
    let mut found = BooleanArray::from(vec![false; values.len()]);
    for place in 0..elements.len() {
        let equal = cmp::eq(values, &Scalar::new(elements.slice(place, 1)))?;
        found = or_kleene(&found, &equal)?;
    }
    Ok(found)
}

/// Every value in a list of its own.
fn in_each(values: &ArrayRef, lists: &ListArray) -> Result<BooleanArray, ArrowError> {
    let mut found = BooleanBuilder::with_capacity(values.len());
    for row in 0..values.len() {
        let one = in_one(&values.slice(row, 1), &lists.slice(row, 1))?;
        found.append_option(one.is_valid(0).then(|| one.value(0)));
    }
    Ok(found.finish())
}

/// The call as an IN list, if its array is a constant by now.
pub(crate) fn as_list(expr: Expr) -> Result<Expr, DataFusionError> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &expr else { return Ok(expr) };
    let [value, Expr::Literal(ScalarValue::List(array), _)] = args.as_slice() else { return Ok(expr) };
    if func.name() != MEMBER {
        return Ok(expr);
    }
    if array.is_null(0) {
        return Ok(Expr::Literal(ScalarValue::Boolean(None), None));
    }
    let elements = array.value(0);
    if elements.is_empty() {
        return Ok(Expr::Literal(ScalarValue::Boolean(Some(false)), None));
    }
    let list = (0..elements.len())
        .map(|place| ScalarValue::try_from_array(&elements, place).map(|element| Expr::Literal(element, None)))
        .collect::<Result<Vec<Expr>, _>>()?;
    Ok(Expr::InList(InList { expr: Box::new(value.clone()), list, negated: false }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use arrow::{array::Int64Array, datatypes::Int64Type};

    use super::*;

    #[test]
    fn truth_has_three_values() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(2), None]),
            Some(vec![]),
            None,
        ]);
        let expected = [
            [Some(true), Some(false), None],
            [None, None, None],
            [Some(false), Some(false), Some(false)],
            [None, None, None],
        ];
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(3), None]));
        for (row, expected) in expected.iter().enumerate() {
            let one = in_one(&values, &lists.slice(row, 1)).unwrap();
            assert_eq!(one.iter().collect::<Vec<_>>(), expected, "list {row}");
        }
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(2), Some(1), None, Some(1)]));
        let each = in_each(&values, &lists).unwrap();
        assert_eq!(each.iter().collect::<Vec<_>>(), [Some(true), None, Some(false), None]);
    }
}
