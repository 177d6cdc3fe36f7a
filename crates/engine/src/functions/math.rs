//! Functions of numbers with PostgreSQL's types, rounding and errors.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    logical_expr::{ReturnFieldArgs, ScalarUDF},
};
use weir_model::{Code, ColumnType, Refusal};

use super::plain::{Plain, any, argument, exact};
use crate::error::external;

const DIGITS_MAX: u8 = 38;

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let double = |_: &ReturnFieldArgs<'_>| Ok(ColumnType::Double);
    let one = |name, run| Plain::new(name, exact(&[DataType::Float64]), double, run).function();
    let two = |name, run| Plain::new(name, exact(&[DataType::Float64, DataType::Float64]), double, run).function();
    vec![
        one("exp", |a| unary(a, |x| bounded(x.exp(), x.is_infinite(), false))),
        one("sqrt", |a| unary(a, square_root)),
        one("cbrt", |a| unary(a, |x| Ok(x.cbrt()))),
        one("ln", |a| unary(a, |x| logarithm(x, f64::ln))),
        one("log10", |a| unary(a, |x| logarithm(x, f64::log10))),
        Plain::new("log", any(&[1, 2]), double, log).function(),
        two("power", |a| binary(a, power)),
        two("pow", |a| binary(a, power)),
        Plain::new("sign", any(&[1]), sign_type, sign).function(),
        Plain::new("gcd", any(&[2]), whole_type, |a| whole(a, gcd)).function(),
        Plain::new("lcm", any(&[2]), whole_type, |a| whole(a, lcm)).function(),
        Plain::new("round", any(&[1, 2]), rounded_type, |a| rounded(a, Rounding::HalfAway)).function(),
        Plain::new("trunc", any(&[1, 2]), rounded_type, |a| rounded(a, Rounding::Cut)).function(),
    ]
}

type Done<T> = Result<T, Refusal>;

fn floats(arguments: &[ArrayRef], place: usize) -> Done<ArrayRef> {
    let array = arguments.get(place).ok_or_else(|| Refusal::new(Code::Internal, "an argument is missing"))?;
    if !(array.data_type().is_numeric() || array.data_type().is_null()) {
        return Err(
            Refusal::new(Code::UndefinedFunction, "function does not take these arguments").hint("add explicit casts")
        );
    }
    cast(array, &DataType::Float64).map_err(|_| Refusal::new(Code::NumericOutOfRange, "value out of range"))
}

fn unary(arguments: &[ArrayRef], one: impl Fn(f64) -> Done<f64>) -> Done<ArrayRef> {
    let values = floats(arguments, 0)?;
    let done: Float64Array = values.as_primitive::<Float64Type>().try_unary(one)?;
    Ok(Arc::new(done))
}

fn binary(arguments: &[ArrayRef], one: impl Fn(f64, f64) -> Done<f64>) -> Done<ArrayRef> {
    let (left, right) = (floats(arguments, 0)?, floats(arguments, 1)?);
    let (left, right) = (left.as_primitive::<Float64Type>(), right.as_primitive::<Float64Type>());
    let done: Float64Array = left
        .iter()
        .zip(right)
        .map(|pair| match pair {
            (Some(left), Some(right)) => one(left, right).map(Some),
            _ => Ok(None),
        })
        .collect::<Done<_>>()?;
    Ok(Arc::new(done))
}

/// A result that is infinite or zero without cause is out of range.
fn bounded(result: f64, infinite: bool, zero: bool) -> Done<f64> {
    let out = |what: &str| Err(Refusal::new(Code::NumericOutOfRange, format!("value out of range: {what}")));
    match result {
        value if value.is_infinite() && !infinite => out("overflow"),
        value if value == 0.0 && !zero && !infinite => out("underflow"),
        value => Ok(value),
    }
}

fn square_root(x: f64) -> Done<f64> {
    match x < 0.0 {
        true => Err(Refusal::new(Code::InvalidPower, "cannot take square root of a negative number")),
        false => Ok(x.sqrt()),
    }
}

fn logarithm(x: f64, of: fn(f64) -> f64) -> Done<f64> {
    match x {
        0.0 => Err(Refusal::new(Code::InvalidLogarithm, "cannot take logarithm of zero")),
        x if x < 0.0 => Err(Refusal::new(Code::InvalidLogarithm, "cannot take logarithm of a negative number")),
        x => Ok(of(x)),
    }
}

/// Of base 10, or of the base given first.
fn log(arguments: &[ArrayRef]) -> Done<ArrayRef> {
    if arguments.len() == 1 {
        return unary(arguments, |x| logarithm(x, f64::log10));
    }
    binary(arguments, |base, x| {
        let (base, x) = (logarithm(base, f64::ln)?, logarithm(x, f64::ln)?);
        if base == 0.0 { Err(Refusal::new(Code::DivisionByZero, "division by zero")) } else { Ok(x / base) }
    })
}

fn power(base: f64, exponent: f64) -> Done<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Refusal::new(Code::InvalidPower, "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(Refusal::new(Code::InvalidPower, message));
    }
    let infinite = base.is_infinite() || exponent.is_infinite();
    bounded(base.powf(exponent), infinite, base == 0.0)
}

fn sign_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    Ok(match argument(arguments, 0)? {
        DataType::Decimal128(..) => ColumnType::Numeric { precision: 1, scale: 0 },
        _ => ColumnType::Double,
    })
}

/// As a float; a numeric's is cast back.
fn sign(arguments: &[ArrayRef]) -> Done<ArrayRef> {
    unary(arguments, |x| Ok(if x == 0.0 || x.is_nan() { x } else { x.signum() }))
}

fn whole_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    let small = |kind: &DataType| matches!(kind, DataType::Int16 | DataType::Int32 | DataType::Null);
    let (one, two) = (argument(arguments, 0)?, argument(arguments, 1)?);
    for kind in [one, two] {
        if !(kind.is_integer() || kind.is_null()) {
            return Err(external(Refusal::unsupported("gcd or lcm of anything but whole numbers")));
        }
    }
    Ok(if small(one) && small(two) { ColumnType::Integer } else { ColumnType::BigInt })
}

fn whole(arguments: &[ArrayRef], one: fn(i128, i128) -> i128) -> Done<ArrayRef> {
    let overflow = || Refusal::new(Code::NumericOutOfRange, "value out of range");
    let column = |place: usize| -> Done<ArrayRef> {
        let array = arguments.get(place).ok_or_else(overflow)?;
        cast(array, &DataType::Int64).map_err(|_| overflow())
    };
    let (left, right) = (column(0)?, column(1)?);
    let pairs = left.as_primitive::<Int64Type>().iter().zip(right.as_primitive::<Int64Type>());
    let done = pairs
        .map(|pair| match pair {
            (Some(left), Some(right)) => {
                i64::try_from(one(left.into(), right.into())).map(Some).map_err(|_| overflow())
            }
            _ => Ok(None),
        })
        .collect::<Done<arrow::array::Int64Array>>()?;
    Ok(Arc::new(done))
}

fn gcd(left: i128, right: i128) -> i128 {
    let (mut left, mut right) = (left.abs(), right.abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

fn lcm(left: i128, right: i128) -> i128 {
    if left == 0 || right == 0 { 0 } else { (left / gcd(left, right) * right).abs() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    HalfAway,
    Cut,
}

/// Digits that a literal second argument asks for.
fn places(arguments: &ReturnFieldArgs<'_>) -> Option<i64> {
    match arguments.scalar_arguments.get(1).copied().flatten()? {
        ScalarValue::Int16(places) => places.map(i64::from),
        ScalarValue::Int32(places) => places.map(i64::from),
        ScalarValue::Int64(places) => *places,
        _ => None,
    }
}

fn rounded_type(arguments: &ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError> {
    let counted = arguments.arg_fields.len() == 2;
    let missing = |what: &DataType| {
        let name = crate::coerce::source_name(what);
        external(
            Refusal::new(Code::UndefinedFunction, format!("function round({name}, integer) does not exist"))
                .hint("cast the number to numeric"),
        )
    };
    match argument(arguments, 0)? {
        DataType::Decimal128(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            let wanted = match counted {
                false => 0,
                true => places(arguments).map_or(scale, |places| places.clamp(0, 30) as i8),
            };
            // One digit more before the point: 9.9 rounds to 10.
            let whole = i16::from(precision) - i16::from(scale) + 1;
            let digits = u8::try_from(whole + i16::from(wanted)).unwrap_or(DIGITS_MAX);
            Ok(ColumnType::Numeric { precision: digits.clamp(1, DIGITS_MAX), scale: wanted })
        }
        kind if kind.is_integer() && counted => {
            let scale = places(arguments).map_or(0, |places| places.clamp(0, 18) as i8);
            Ok(ColumnType::Numeric { precision: 20 + scale.unsigned_abs(), scale })
        }
        kind if kind.is_numeric() && !counted => Ok(ColumnType::Double),
        DataType::Null => Ok(ColumnType::Double),
        other => Err(missing(other)),
    }
}

fn rounded(arguments: &[ArrayRef], rounding: Rounding) -> Done<ArrayRef> {
    let value = arguments.first().ok_or_else(|| Refusal::new(Code::Internal, "an argument is missing"))?;
    match (value.data_type(), arguments.get(1)) {
        (DataType::Decimal128(..), places) => rounded_decimals(value, places, rounding),
        (kind, Some(places)) if kind.is_integer() => {
            let whole = cast(value, &DataType::Decimal128(20, 0))
                .map_err(|_| Refusal::new(Code::NumericOutOfRange, "value out of range"))?;
            rounded_decimals(&whole, Some(places), rounding)
        }
        // Half to even, as floats round.
        _ if rounding == Rounding::HalfAway => unary(arguments, |x| Ok(x.round_ties_even())),
        _ => unary(arguments, |x| Ok(x.trunc())),
    }
}

fn rounded_decimals(values: &ArrayRef, places: Option<&ArrayRef>, rounding: Rounding) -> Done<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *values.data_type() else {
        return Err(Refusal::new(Code::Internal, "a decimal of another kind"));
    };
    let overflow = || Refusal::new(Code::NumericOutOfRange, "value out of range");
    let places = match places {
        Some(places) => Some(cast(places, &DataType::Int64).map_err(|_| overflow())?),
        None => None,
    };
    let places = places.as_ref().map(|places| places.as_primitive::<Int64Type>());
    // As the type was planned: the same for every row, or the values' own.
    let uniform = match places {
        None => Some(0),
        Some(places) => {
            let first = (!places.is_empty() && places.is_valid(0)).then(|| places.value(0));
            first.filter(|first| places.iter().all(|other| other == Some(*first)))
        }
    };
    let integer = precision == 20 && scale == 0;
    let cap = if integer { 18 } else { 30 };
    let wanted = uniform.map_or(scale, |places| places.clamp(0, cap) as i8);
    let values = values.as_primitive::<Decimal128Type>();
    let done: Decimal128Array = (0..values.len())
        .map(|row| {
            let places = match places {
                Some(places) if places.is_null(row) => return Ok(None),
                Some(places) => places.value(row),
                None => 0,
            };
            if values.is_null(row) {
                return Ok(None);
            }
            rounded_decimal(values.value(row), scale, places, wanted, rounding).ok_or_else(overflow).map(Some)
        })
        .collect::<Done<_>>()?;
    let whole = i16::from(precision) - i16::from(scale) + i16::from(!integer);
    let digits = u8::try_from(whole + i16::from(wanted)).unwrap_or(DIGITS_MAX).clamp(1, DIGITS_MAX);
    let digits = if uniform.is_none() { (precision + 1).min(DIGITS_MAX) } else { digits };
    done.with_precision_and_scale(digits, wanted).map(|done| Arc::new(done) as ArrayRef).map_err(|_| overflow())
}

/// `value / 10^scale` rounded to `places` digits, at a new scale.
fn rounded_decimal(value: i128, scale: i8, places: i64, wanted: i8, rounding: Rounding) -> Option<i128> {
    let lost = i64::from(scale) - places;
    let kept = match u32::try_from(lost) {
        Ok(lost) if lost > 38 => 0,
        Ok(lost) => {
            let unit = 10_i128.checked_pow(lost)?;
            let (whole, rest) = (value / unit, value % unit);
            let away = rounding == Rounding::HalfAway && lost > 0 && rest.abs() >= unit - rest.abs();
            (whole + if away { value.signum() } else { 0 }).checked_mul(unit)?
        }
        Err(_) => value,
    };
    match u32::try_from(i16::from(wanted) - i16::from(scale)) {
        Ok(more) => kept.checked_mul(10_i128.checked_pow(more)?),
        Err(_) => Some(kept / 10_i128.checked_pow(u32::from(scale.abs_diff(wanted)))?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_round_half_away_from_zero() {
        let check = |value, scale, places, wanted, rounding, expected| {
            assert_eq!(rounded_decimal(value, scale, places, wanted, rounding), Some(expected), "{value} {places}");
        };
        check(25, 1, 0, 0, Rounding::HalfAway, 3);
        check(-25, 1, 0, 0, Rounding::HalfAway, -3);
        check(24, 1, 0, 0, Rounding::HalfAway, 2);
        check(-27, 1, 0, 0, Rounding::Cut, -2);
        check(12_345, 0, -2, 0, Rounding::HalfAway, 12_300);
        check(1_005, 3, 2, 2, Rounding::HalfAway, 101);
        check(15, 1, 3, 3, Rounding::HalfAway, 1_500);
    }

    #[test]
    fn results_stay_within_what_floats_hold() {
        assert!(power(10.0, 400.0).is_err() && power(0.0, -1.0).is_err() && power(-8.0, 0.5).is_err());
        assert_eq!(power(2.0, 10.0), Ok(1024.0));
        assert!(square_root(-1.0).is_err() && logarithm(0.0, f64::ln).is_err());
    }
}
