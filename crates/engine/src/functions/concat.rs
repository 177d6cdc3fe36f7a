//! `||` of texts with a bound: a text joined to itself through a few dozen subqueries would fill any memory.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, StringViewBuilder},
    compute::cast,
    datatypes::DataType,
};
use datafusion::{
    common::{DFSchema, DataFusionError},
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
        planner::{ExprPlanner, PlannerResult, RawBinaryExpr},
    },
};
use weir_model::{Code, Refusal};
use weir_sql::ast::BinaryOperator;

use crate::{error::external, types::is_text};

/// Most bytes that one call may make for one batch of rows.
const BYTES_MAX: usize = 256 << 20;

/// Plans the operator as a call.
#[derive(Debug)]
pub(crate) struct Concatenation(Arc<ScalarUDF>);

impl Concatenation {
    pub(crate) fn new() -> Concatenation {
        let signature = Signature::exact(vec![DataType::Utf8View, DataType::Utf8View], Volatility::Immutable);
        Concatenation(Arc::new(ScalarUDF::new_from_impl(Concat { signature })))
    }
}

impl ExprPlanner for Concatenation {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>, DataFusionError> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        let nested = |side: &Expr| side.get_type(schema).is_ok_and(|kind| kind.is_nested());
        if nested(&expr.left) || nested(&expr.right) {
            return Ok(PlannerResult::Original(expr));
        }
        let text = |side: Expr| match side.get_type(schema) {
            Ok(kind) if is_text(&kind) => side,
            _ => Expr::Cast(Cast::new(Box::new(side), DataType::Utf8View)),
        };
        let arguments = vec![text(expr.left), text(expr.right)];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(&self.0), arguments))))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Concat {
    signature: Signature,
}

impl ScalarUDFImpl for Concat {
    fn name(&self) -> &str {
        "weir_concat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let [left, right] = arguments.args.as_slice() else {
            return Err(DataFusionError::Internal("two texts are joined at a time".into()));
        };
        let scalar = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let (left, right) = (one_or_all(left)?, one_or_all(right)?);
        let (left, right) = (left.as_string_view(), right.as_string_view());
        // One value stands for every row.
        let place = |length: usize, row: usize| if length == 1 { 0 } else { row };
        let mut out = StringViewBuilder::with_capacity(rows);
        let mut joined = String::new();
        let mut bytes = 0_usize;
        for row in 0..rows {
            let (l, r) = (place(left.len(), row), place(right.len(), row));
            if left.is_null(l) || right.is_null(r) {
                out.append_null();
                continue;
            }
            let (l, r) = (left.value(l), right.value(r));
            bytes = bytes.saturating_add(l.len()).saturating_add(r.len());
            if bytes > BYTES_MAX {
                return Err(external(
                    Refusal::new(Code::ProgramLimitExceeded, "|| would make too large a text")
                        .detail(format!("limit_bytes={BYTES_MAX}")),
                ));
            }
            joined.clear();
            joined.push_str(l);
            joined.push_str(r);
            out.append_value(&joined);
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}

fn one_or_all(value: &ColumnarValue) -> Result<Arc<dyn Array>, DataFusionError> {
    let array = match value {
        ColumnarValue::Array(array) => Arc::clone(array),
        ColumnarValue::Scalar(scalar) => scalar.to_array()?,
    };
    Ok(cast(&array, &DataType::Utf8View)?)
}
