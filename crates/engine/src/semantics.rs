//! PostgreSQL's meaning of operators, casts and functions, in the place of DataFusion's, once types are coerced.
//!
//! Where a session's time zone matters, it becomes one more argument: a placeholder that each execution fills. A policy
//! means the same in every session, so that its predicates are read in UTC.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, expr::ScalarFunction, utils::merge_schema},
    optimizer::AnalyzerRule,
};
use weir_model::ColumnType;
use weir_store::arrow_type;

use crate::{
    checked,
    functions::{Plain, cast_call, from_pattern, session_value},
    rewrite,
    types::{is_text, scalar_type},
};

/// Whose time zone an expression is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZoneOf {
    Session,
    Policy,
}

impl ZoneOf {
    /// A barrier holds the policy's expressions; everything else is the statement's.
    pub(crate) fn node(plan: &LogicalPlan) -> ZoneOf {
        if matches!(plan, LogicalPlan::Extension(_)) { ZoneOf::Policy } else { ZoneOf::Session }
    }

    pub(crate) fn expr(self) -> Expr {
        match self {
            ZoneOf::Session => session_value::zone(),
            ZoneOf::Policy => Expr::Literal(ScalarValue::Utf8View(Some("UTC".into())), None),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Semantics;

impl AnalyzerRule for Semantics {
    fn name(&self) -> &str {
        "postgresql_semantics"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let settled = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let zone = ZoneOf::node(&node);
            rewrite::expressions(node, |expr| expr.transform_up(|part| settle(part, &schema, zone)))
        })?;
        Ok(settled.data)
    }
}

/// All of one expression, its types coerced.
pub(crate) fn settle_all(expr: Expr, schema: &DFSchema, zone: ZoneOf) -> Result<Expr, DataFusionError> {
    Ok(expr.transform_up(|part| settle(part, schema, zone))?.data)
}

fn settle(expr: Expr, schema: &DFSchema, zone: ZoneOf) -> Result<Transformed<Expr>, DataFusionError> {
    let (expr, changed) = match expr {
        Expr::BinaryExpr(binary) => checked::check(binary, schema),
        Expr::Negative(inner) => checked::negate(*inner, schema),
        Expr::Cast(cast) => settle_cast(cast, schema, zone)?,
        Expr::ScalarFunction(call) => with_zone(call, schema, zone),
        other => (other, false),
    };
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Casts that Arrow does in another way.
fn settle_cast(cast: Cast, schema: &DFSchema, zone: ZoneOf) -> Result<(Expr, bool), DataFusionError> {
    let target = scalar_type(&cast.field);
    if arrow_type(target) != *cast.field.data_type() {
        return Ok((Expr::Cast(cast), false));
    }
    let (_, source) = cast.expr.to_field(schema)?;
    let from = source.data_type();
    let zoned = matches!(from, DataType::Timestamp(_, Some(_)));
    let character = matches!(target, ColumnType::Text | ColumnType::Varchar(_));
    let integer = matches!(target, ColumnType::SmallInt | ColumnType::Integer | ColumnType::BigInt);
    let differs = match from {
        DataType::Null => false,
        text if is_text(text) => target != ColumnType::Text && scalar_type(&source) != target,
        _ if matches!(target, ColumnType::Varchar(_)) => true,
        DataType::Decimal128(..) | DataType::Decimal256(..) => integer,
        DataType::Float32 => integer || character || matches!(target, ColumnType::Numeric { .. }),
        DataType::Float64 => target != ColumnType::Double,
        DataType::Date32 => character || matches!(target, ColumnType::Timestamp | ColumnType::Timestamptz),
        DataType::Timestamp(..) => *from != arrow_type(target),
        DataType::Time64(_) => character || target == ColumnType::Interval,
        DataType::Interval(_) => character || target == ColumnType::Time,
        DataType::Binary | DataType::BinaryView => character,
        _ => false,
    };
    if !differs {
        return Ok((Expr::Cast(cast), false));
    }
    let needs_zone = zoned || target == ColumnType::Timestamptz;
    Ok((cast_call(*cast.expr, target, needs_zone.then(|| zone.expr())), true))
}

/// Functions that read a clock or a calendar take the zone they are read in, unless the statement gave one.
fn with_zone(mut call: ScalarFunction, schema: &DFSchema, zone: ZoneOf) -> (Expr, bool) {
    let Some(plain) = call.func.inner().downcast_ref::<Plain>() else {
        return (Expr::ScalarFunction(call), false);
    };
    let is_instant = |argument: &Expr| matches!(argument.get_type(schema), Ok(DataType::Timestamp(_, Some(_))));
    let dated = |argument: &Expr| matches!(argument.get_type(schema), Ok(DataType::Date32));
    let wanted = (plain.zoned && call.args.len() == 2 && call.args.iter().any(is_instant))
        || (call.func.name() == "date_trunc" && call.args.len() == 2 && call.args.iter().any(dated))
        || from_pattern::wants_zone(call.func.name(), &call.args);
    if wanted {
        call.args.push(zone.expr());
    }
    (Expr::ScalarFunction(call), wanted)
}
