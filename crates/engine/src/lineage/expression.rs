//! What an expression reads, and the NULL that stands in for what may not be computed.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, Field},
    common::{
        Result, ScalarValue, TableReference,
        metadata::FieldMetadata,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Expr, LogicalPlan, Subquery,
        expr::{Exists, InSubquery, SetComparison},
    },
};

use super::{node::Tracer, refuse, scope::Scope, source::Lineage};
use crate::mask::is_text;

/// What an expression reads.
#[derive(Debug)]
pub(super) struct Reading {
    pub lineage: Lineage,
    /// The expression only carries a column on: nothing is computed.
    pub bare: bool,
}

impl Reading {
    /// True when the expression computes from what nothing may be computed from.
    pub(super) fn must_not_run(&self) -> bool {
        !self.bare && self.lineage.is_restricted()
    }
}

impl Tracer<'_> {
    /// Traces the subqueries in an expression and puts their rewritten plans in; true when one changed.
    pub(super) fn enter(&mut self, expr: Expr, scope: &Scope<'_>) -> Result<(Expr, bool)> {
        if !expr.exists(|inner| Ok(subquery_of(inner).is_some()))? {
            return Ok((expr, false));
        }
        let mut changed = false;
        let entered = expr.transform_down(|inner| {
            let mut enter = |subquery| {
                let (subquery, is_new) = self.subquery(subquery, scope)?;
                changed |= is_new;
                Ok::<_, datafusion::error::DataFusionError>(subquery)
            };
            Ok(match inner {
                Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(enter(subquery)?)),
                Expr::Exists(Exists { subquery, negated }) => {
                    Transformed::yes(Expr::Exists(Exists { subquery: enter(subquery)?, negated }))
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: enter(subquery)?, negated }))
                }
                Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                    let subquery = enter(subquery)?;
                    Transformed::yes(Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }))
                }
                other => Transformed::no(other),
            })
        })?;
        Ok((entered.data, changed))
    }

    pub(super) fn enter_all(&mut self, exprs: Vec<Expr>, scope: &Scope<'_>) -> Result<(Vec<Expr>, bool)> {
        let mut changed = false;
        let exprs = exprs.into_iter().map(|expr| {
            let (expr, is_new) = self.enter(expr, scope)?;
            changed |= is_new;
            Ok(expr)
        });
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        Ok((exprs, changed))
    }

    fn subquery(&mut self, subquery: Subquery, scope: &Scope<'_>) -> Result<(Subquery, bool)> {
        let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
        let node = self.node(Arc::unwrap_or_clone(plan), Some(scope))?;
        let outer_ref_columns = if node.changed { node.plan.all_out_ref_exprs() } else { outer_ref_columns };
        let plan = Arc::new(node.plan);
        let first = node.columns.into_iter().next().unwrap_or_default();
        self.subqueries.insert(Arc::as_ptr(&plan), (Arc::clone(&plan), first));
        Ok((Subquery { subquery: plan, outer_ref_columns, spans }, node.changed))
    }

    /// What a traced subquery's first column carries.
    pub(super) fn subquery_column(&self, subquery: &Subquery) -> Result<Lineage> {
        let traced = self.subqueries.get(&Arc::as_ptr(&subquery.subquery));
        traced.map(|(_, lineage)| lineage.clone()).ok_or_else(|| refuse::ungoverned("a subquery"))
    }

    /// What an expression, its subqueries traced already, reads.
    pub(super) fn read(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Reading> {
        if let Some(lineage) = self.carried(expr, scope)? {
            return Ok(Reading { lineage, bare: true });
        }
        let mut lineage = Lineage::default();
        expr.apply(|inner| {
            match inner {
                Expr::Column(column) => lineage.compute_with(&scope.column(column)?),
                Expr::OuterReferenceColumn(_, column) => lineage.compute_with(&scope.outer_column(column)?),
                // Whether rows exist tells nothing of their values: what chose them was checked in the subquery.
                Expr::Exists(_) => {}
                other => {
                    if let Some(subquery) = subquery_of(other) {
                        lineage.compute_with(&self.subquery_column(subquery)?);
                    }
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Reading { lineage, bare: false })
    }

    /// What a column carries that this expression only carries on: through aliases, and casts that cannot fail and lose
    /// nothing.
    fn carried(&self, expr: &Expr, scope: &Scope<'_>) -> Result<Option<Lineage>> {
        let mut casts = Vec::new();
        let mut inner = expr;
        loop {
            inner = match inner {
                Expr::Alias(alias) => &alias.expr,
                Expr::Cast(cast) => {
                    casts.push(cast.field.data_type());
                    &cast.expr
                }
                Expr::TryCast(cast) => {
                    casts.push(cast.field.data_type());
                    &cast.expr
                }
                _ => break,
            };
        }
        let (lineage, from) = match inner {
            Expr::Column(column) => (scope.column(column)?, scope.data_type(column)),
            Expr::OuterReferenceColumn(field, column) => (scope.outer_column(column)?, Some(field.data_type())),
            Expr::ScalarSubquery(subquery) => {
                (self.subquery_column(subquery)?, subquery.subquery.schema().fields().first().map(|f| f.data_type()))
            }
            _ => return Ok(None),
        };
        let Some(mut from) = from else { return Ok(casts.is_empty().then_some(lineage)) };
        for to in casts.into_iter().rev() {
            if !is_lossless(from, to) {
                return Ok(None);
            }
            from = to;
        }
        Ok(Some(lineage))
    }
}

/// The subquery that an expression is, if it is one.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// A NULL of an output column's type, under its name.
pub(super) fn null_like((qualifier, field): (Option<&TableReference>, &Arc<Field>)) -> Result<Expr> {
    let null = null_of(field.data_type())?;
    let metadata = (!field.metadata().is_empty()).then(|| FieldMetadata::from(field.as_ref()));
    Ok(null.alias_qualified_with_metadata(qualifier.cloned(), field.name(), metadata))
}

pub(super) fn null_of(data_type: &DataType) -> Result<Expr> {
    Ok(Expr::Literal(ScalarValue::try_new_null(data_type)?, None))
}

/// True for casts that never fail and keep different values different.
fn is_lossless(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64};
    let integer_digits = |data_type: &DataType| match data_type {
        Int8 => Some(3_i16),
        Int16 => Some(5),
        Int32 => Some(10),
        Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        _ if from == to => true,
        _ if is_text(from) && is_text(to) => true,
        (Float32, Float64) => true,
        (Decimal128(p1, s1) | Decimal256(p1, s1), Decimal128(p2, s2) | Decimal256(p2, s2)) => {
            s2 >= s1 && i16::from(*p2) - i16::from(*s2) >= i16::from(*p1) - i16::from(*s1)
        }
        (_, Decimal128(precision, scale) | Decimal256(precision, scale)) => integer_digits(from)
            .is_some_and(|digits| *scale >= 0 && i16::from(*precision) - i16::from(*scale) >= digits),
        _ => matches!((integer_digits(from), integer_digits(to)), (Some(narrow), Some(wide)) if narrow < wide),
    }
}

/// Plans are told apart by address while they are held: equal plans in different places may carry different things.
pub(super) type TracedSubqueries = std::collections::HashMap<*const LogicalPlan, (Arc<LogicalPlan>, Lineage)>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_that_can_fail_or_lose_are_computations() {
        use DataType::{Decimal128, Float64, Int16, Int32, Int64, Utf8, Utf8View};
        for (from, to, expected) in [
            (Utf8, Utf8View, true),
            (Utf8, Int32, false),
            (Int32, Utf8, false),
            (Int16, Int64, true),
            (Int64, Int32, false),
            (Int32, Decimal128(12, 2), true),
            (Int32, Decimal128(11, 2), false),
            (Decimal128(15, 2), Decimal128(17, 4), true),
            (Decimal128(15, 2), Decimal128(15, 4), false),
            (Decimal128(15, 2), Float64, false),
            (Int64, Float64, false),
        ] {
            assert_eq!(is_lossless(&from, &to), expected, "{from} to {to}");
        }
    }
}
