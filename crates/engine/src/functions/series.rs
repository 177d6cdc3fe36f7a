//! `generate_series(start, stop[, step])` as a table: made as it is read, a batch at a time, never whole.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::{common::ScalarValue, logical_expr::Expr};
use std::sync::Arc;
use weir_model::{Code, Refusal, Result};

/// An arithmetic progression, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    start: i64,
    stop: i64,
    step: i64,
}

impl Series {
    /// Of integers as long as all that was written are.
    pub(crate) fn schema(self) -> SchemaRef {
        let small = [self.start, self.stop, self.step].into_iter().all(|number| i32::try_from(number).is_ok());
        let data_type = if small { DataType::Int32 } else { DataType::Int64 };
        Arc::new(Schema::new(vec![Field::new("generate_series", data_type, false)]))
    }

    pub(crate) fn len(self) -> u64 {
        let span = i128::from(self.stop) - i128::from(self.start);
        if (span < 0) == (self.step < 0) || span == 0 {
            u64::try_from(span / i128::from(self.step) + 1).unwrap_or(u64::MAX)
        } else {
            0
        }
    }

    /// The values at places `from ..`, at most `count` of them.
    pub(crate) fn slice(self, from: u64, count: usize) -> impl Iterator<Item = i64> {
        let left = self.len().saturating_sub(from).min(count as u64);
        (0..left).filter_map(move |offset| {
            let value = i128::from(self.start) + i128::from(self.step) * i128::from(from + offset);
            i64::try_from(value).ok()
        })
    }
}

/// # Errors
/// `unsupported` for arguments that are not integer constants, `invalid_parameter` for a step of zero.
pub(crate) fn series(arguments: &[Expr]) -> Result<Series> {
    let constant = |expr: &Expr| match expr {
        Expr::Literal(value, _) => integer(value),
        Expr::Negative(inner) => match inner.as_ref() {
            Expr::Literal(value, _) => integer(value).and_then(i64::checked_neg),
            _ => None,
        },
        _ => None,
    };
    let found: Option<Vec<i64>> = arguments.iter().map(constant).collect();
    match found.as_deref() {
        Some([start, stop]) => Ok(Series { start: *start, stop: *stop, step: 1 }),
        Some([_, _, 0]) => Err(Refusal::new(Code::InvalidParameter, "step size cannot equal zero")),
        Some([start, stop, step]) => Ok(Series { start: *start, stop: *stop, step: *step }),
        _ => Err(Refusal::unsupported("generate_series of anything but two or three integer constants")),
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) => *value,
        ScalarValue::Int32(value) => value.map(i64::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_included() {
        let check = |start, stop, step, expected: &[i64]| {
            let series = Series { start, stop, step };
            assert_eq!(series.slice(0, 100).collect::<Vec<_>>(), expected);
            assert_eq!(series.len(), expected.len() as u64);
        };
        check(1, 3, 1, &[1, 2, 3]);
        check(1, 6, 2, &[1, 3, 5]);
        check(3, 1, -1, &[3, 2, 1]);
        check(3, 1, 1, &[]);
        check(5, 5, -3, &[5]);
        assert_eq!(Series { start: i64::MIN, stop: i64::MAX, step: 1 }.len(), u64::MAX);
    }
}
