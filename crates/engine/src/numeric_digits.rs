//! Digits of quotients and averages of numerics.
//!
//! DataFusion divides and averages decimals with four digits more than the operands have, and cuts the rest;
//! PostgreSQL keeps at least sixteen. This rule widens the operands before types are coerced, so that nested quotients
//! do not drift: a quotient is computed in 256 bits with at least sixteen digits after the point, an average with
//! twelve more than its argument. Sums of bigints and averages of whole numbers are numeric, and never wrap around.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, WindowFunctionDefinition, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

use crate::rewrite;

/// Added to a dividend's scale; the division itself adds four.
const QUOTIENT_DIGITS: i8 = 12;
/// Added to an averaged column's scale; the average itself adds four.
const AVERAGE_DIGITS: i8 = 8;
/// With more digits the wider average would not fit into 38.
const AVERAGED_DIGITS_MAX: u8 = 26;
/// Digits after the point of averaged whole numbers; the average itself adds four. Of bigints fewer, so that their sum
/// fits.
const INTEGER_AVERAGE_DIGITS: i8 = 12;
const BIGINT_AVERAGE_DIGITS: i8 = 8;
const BIGINT_DIGITS: u8 = 20;
/// Scales beyond it would leave too few digits before the point.
const SCALE_MAX: i8 = 28;
const DECIMAL128_DIGITS: u8 = 38;
const DECIMAL256_DIGITS: u8 = 76;

#[derive(Debug, Default)]
pub(crate) struct NumericDigits;

impl AnalyzerRule for NumericDigits {
    fn name(&self) -> &str {
        "numeric_digits"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        plan.transform_up_with_subqueries(widen_node).map(|widened| widened.data)
    }
}

fn widen_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>, DataFusionError> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&scan.projected_schema);
    }
    let widened = rewrite::expressions(plan, |expr| expr.transform_up(|part| widen(part, &schema)))?;
    // Also where nothing changed: a node above a widened one takes over its types.
    widened.map_data(LogicalPlan::recompute_schema)
}

fn widen(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) => {
            let (dividend, divisor) = (numeric(&left, schema), numeric(&right, schema));
            let (Some(dividend), Some(divisor)) = (dividend, divisor) else {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })));
            };
            let fits = (0..=SCALE_MAX).contains(&dividend.scale) && (0..=SCALE_MAX).contains(&divisor.scale);
            if !fits || (!dividend.is_decimal && !divisor.is_decimal) {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })));
            }
            let scale = dividend.scale + QUOTIENT_DIGITS;
            let left = cast(*left, DataType::Decimal256(DECIMAL256_DIGITS, scale));
            let right = cast(*right, DataType::Decimal256(DECIMAL256_DIGITS, divisor.scale));
            let (left, right) = (Box::new(left), Box::new(right));
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right })))
        }
        Expr::AggregateFunction(mut call) => {
            let changed = widen_argument(call.func.name(), &mut call.params.args, schema);
            let call = Expr::AggregateFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        Expr::WindowFunction(mut call) => {
            let changed = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => {
                    widen_argument(function.name(), &mut call.params.args, schema)
                }
                WindowFunctionDefinition::WindowUDF(_) => false,
            };
            let call = Expr::WindowFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn widen_argument(function: &str, arguments: &mut [Expr], schema: &DFSchema) -> bool {
    let [argument] = arguments else { return false };
    let widened = match function {
        "avg" => wider_average(argument, schema),
        "sum" => wider_sum(argument, schema),
        _ => None,
    };
    match widened {
        Some(widened) => {
            *argument = widened;
            true
        }
        None => false,
    }
}

/// Of bigints; sums of smaller numbers are bigints.
fn wider_sum(argument: &Expr, schema: &DFSchema) -> Option<Expr> {
    match argument.get_type(schema).ok()? {
        DataType::Int64 | DataType::UInt64 => Some(cast(argument.clone(), DataType::Decimal128(BIGINT_DIGITS, 0))),
        _ => None,
    }
}

fn wider_average(argument: &Expr, schema: &DFSchema) -> Option<Expr> {
    let whole = |scale| Some(cast(argument.clone(), DataType::Decimal128(DECIMAL128_DIGITS, scale)));
    match argument.get_type(schema).ok()? {
        DataType::Int16 | DataType::Int32 => whole(INTEGER_AVERAGE_DIGITS),
        DataType::Int64 | DataType::UInt64 => whole(BIGINT_AVERAGE_DIGITS),
        DataType::Decimal128(precision, scale) if (0..=18).contains(&scale) && precision <= AVERAGED_DIGITS_MAX => {
            let wider = DataType::Decimal128(DECIMAL128_DIGITS, scale + AVERAGE_DIGITS);
            Some(cast(argument.clone(), wider))
        }
        _ => None,
    }
}

struct Numeric {
    is_decimal: bool,
    scale: i8,
}

/// Whole numbers and decimals; anything else divides in its own way.
fn numeric(expr: &Expr, schema: &DFSchema) -> Option<Numeric> {
    match expr.get_type(schema).ok()? {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(Numeric { is_decimal: true, scale }),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Some(Numeric { is_decimal: false, scale: 0 })
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            Some(Numeric { is_decimal: false, scale: 0 })
        }
        _ => None,
    }
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), data_type))
}
