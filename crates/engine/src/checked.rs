//! Whole numbers that do not fit are an error, as in PostgreSQL.
//!
//! DataFusion's `+`, `-` and `*` on integers wrap around. After types are coerced, this rule puts Arrow's checked
//! kernels in their place.

use std::sync::Arc;

use arrow::{array::Datum, compute::kernels::numeric, datatypes::DataType, error::ArrowError};
use datafusion::{
    common::{
        DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility, expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

#[derive(Debug)]
pub(crate) struct CheckedArithmetic {
    plus: Arc<ScalarUDF>,
    minus: Arc<ScalarUDF>,
    times: Arc<ScalarUDF>,
}

impl Default for CheckedArithmetic {
    fn default() -> CheckedArithmetic {
        let make = |operation| Arc::new(ScalarUDF::from(Checked::new(operation)));
        CheckedArithmetic { plus: make(Operation::Plus), minus: make(Operation::Minus), times: make(Operation::Times) }
    }
}

impl AnalyzerRule for CheckedArithmetic {
    fn name(&self) -> &str {
        "checked_arithmetic"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let checked = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|part| self.check(part, &schema))?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(checked.data)
    }
}

impl CheckedArithmetic {
    fn check(&self, expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>, DataFusionError> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return Ok(Transformed::no(expr)) };
        let function = match op {
            Operator::Plus => &self.plus,
            Operator::Minus => &self.minus,
            Operator::Multiply => &self.times,
            _ => return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }))),
        };
        let integers = left.get_type(schema).is_ok_and(|kind| is_integer(&kind))
            && right.get_type(schema).is_ok_and(|kind| is_integer(&kind));
        if !integers {
            return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
        }
        Ok(Transformed::yes(function.call(vec![*left, *right])))
    }
}

fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Plus,
    Minus,
    Times,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Checked {
        Checked { operation, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn run(&self, left: &dyn Datum, right: &dyn Datum) -> Result<arrow::array::ArrayRef, ArrowError> {
        match self.operation {
            Operation::Plus => numeric::add(left, right),
            Operation::Minus => numeric::sub(left, right),
            Operation::Times => numeric::mul(left, right),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Plus => "weir_plus",
            Operation::Minus => "weir_minus",
            Operation::Times => "weir_times",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Both arguments have one type by now; the wider one where they do not.
    fn return_type(&self, types: &[DataType]) -> Result<DataType, DataFusionError> {
        let rank = |kind: &DataType| match kind {
            DataType::Int16 => 0,
            DataType::Int32 => 1,
            _ => 2,
        };
        types
            .iter()
            .max_by_key(|kind| rank(kind))
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("arithmetic without arguments".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let target = args.return_field.data_type().clone();
        let mut values = args.args.into_iter().map(|value| value.cast_to(&target, None));
        let (Some(left), Some(right)) = (values.next(), values.next()) else {
            return Err(DataFusionError::Internal("arithmetic takes two arguments".into()));
        };
        let result = match (left?, right?) {
            (ColumnarValue::Array(left), ColumnarValue::Array(right)) => self.run(&left, &right)?,
            (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => self.run(&left, &right.to_scalar()?)?,
            (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => self.run(&left.to_scalar()?, &right)?,
            (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
                let one = self.run(&left.to_scalar()?, &right.to_scalar()?)?;
                return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?));
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}
