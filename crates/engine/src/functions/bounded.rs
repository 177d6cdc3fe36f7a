//! Functions whose result can be far larger than their arguments, with a bound on what one call may make.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef, Int64Type},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature},
};
use weir_model::{Code, Refusal};

use crate::{error::external, types::is_text};

/// Most bytes that one call may make for one batch of rows.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How large a result can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// The second argument times the length of the first.
    Times,
    /// The second argument, in characters.
    Width,
    /// Each occurrence of the second argument becomes the third.
    Replace,
    /// All arguments together.
    Sum,
}

impl Growth {
    /// What only joins its arguments may make more: rows of ordinary width do.
    fn bytes_max(self) -> u64 {
        match self {
            Growth::Sum => 4 * BYTES_MAX,
            _ => BYTES_MAX,
        }
    }
}

const GROWING: [(&str, Growth); 6] = [
    ("repeat", Growth::Times),
    ("lpad", Growth::Width),
    ("rpad", Growth::Width),
    ("replace", Growth::Replace),
    ("concat", Growth::Sum),
    ("concat_ws", Growth::Sum),
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

pub(crate) fn wrap(scalar: &HashMap<String, Arc<ScalarUDF>>) -> Vec<Arc<ScalarUDF>> {
    GROWING
        .iter()
        .filter_map(|(name, growth)| {
            let inner = Arc::clone(scalar.get(*name)?);
            Some(Arc::new(ScalarUDF::new_from_impl(Bounded { inner, growth: *growth })))
        })
        .collect()
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        self.inner.return_field_from_args(arguments)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>, DataFusionError> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        if size(self.growth, &arguments)? > self.growth.bytes_max() {
            return Err(external(
                Refusal::new(Code::ProgramLimitExceeded, format!("{}() would make too large a text", self.name()))
                    .detail(format!("limit_bytes={}", self.growth.bytes_max())),
            ));
        }
        self.inner.invoke_with_args(arguments)
    }
}

/// An upper bound of the bytes that a call makes.
fn size(growth: Growth, call: &ScalarFunctionArgs) -> Result<u64, DataFusionError> {
    let all_scalar = call.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    let rows = if all_scalar { 1 } else { call.number_rows };
    if growth == Growth::Sum {
        let mut sum = 0_u64;
        for argument in &call.args {
            let own = lengths(argument)?;
            let times = if own.len() == 1 { rows as u64 } else { 1 };
            sum = sum.saturating_add(own.into_iter().fold(0, u64::saturating_add).saturating_mul(times));
        }
        return Ok(sum);
    }
    let argument = |index: usize| call.args.get(index);
    let (Some(first), Some(second)) = (argument(0), argument(1)) else { return Ok(0) };
    let sizes = match growth {
        Growth::Times => each(lengths(first)?, numbers(second)?, rows, u64::saturating_mul),
        // A character has at most four bytes.
        Growth::Width => each(numbers(second)?, vec![4], rows, u64::saturating_mul),
        Growth::Replace => {
            let Some(third) = argument(2) else { return Ok(0) };
            let factor = each(lengths(third)?, lengths(second)?, rows, |to, from| to.div_ceil(from.max(1)).max(1));
            each(lengths(first)?, factor, rows, u64::saturating_mul)
        }
        Growth::Sum => Vec::new(),
    };
    Ok(sizes.into_iter().fold(0, u64::saturating_add))
}

/// Combines two columns row by row; one value alone stands for every row.
fn each(left: Vec<u64>, right: Vec<u64>, rows: usize, combine: impl Fn(u64, u64) -> u64) -> Vec<u64> {
    let at = |column: &[u64], row: usize| match column {
        [only] => *only,
        many => many.get(row).copied().unwrap_or(0),
    };
    (0..rows).map(|row| combine(at(&left, row), at(&right, row))).collect()
}

fn array_of(value: &ColumnarValue) -> Result<Arc<dyn Array>, DataFusionError> {
    match value {
        ColumnarValue::Array(array) => Ok(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => scalar.to_array(),
    }
}

fn lengths(value: &ColumnarValue) -> Result<Vec<u64>, DataFusionError> {
    let array = array_of(value)?;
    if !is_text(array.data_type()) {
        return Ok(vec![0; array.len()]);
    }
    let text = cast(&array, &DataType::Utf8View)?;
    Ok(text.as_string_view().iter().map(|value| value.map_or(0, |value| value.len() as u64)).collect())
}

fn numbers(value: &ColumnarValue) -> Result<Vec<u64>, DataFusionError> {
    let numbers = cast(&array_of(value)?, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(numbers.iter().map(|value| u64::try_from(value.unwrap_or(0)).unwrap_or(0)).collect())
}
