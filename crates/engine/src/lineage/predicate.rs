//! What masked columns may decide.

use datafusion::{
    common::Result,
    logical_expr::{
        BinaryExpr, Expr, Operator, SortExpr,
        expr::{InList, InSubquery, SetComparison},
    },
};
use weir_policy::MaskPredicates;

use super::{
    expression::Reading,
    node::Tracer,
    refuse::{self, Use},
    scope::Scope,
    source::Lineage,
};

fn allows_any(predicates: MaskPredicates) -> bool {
    predicates == MaskPredicates::Any
}

fn allows_equality(predicates: MaskPredicates) -> bool {
    matches!(predicates, MaskPredicates::Equality | MaskPredicates::Any)
}

/// Lets through what is compared for equality: a masked value itself when its mask allows that, or what is computed
/// from one when its mask allows everything.
pub(super) fn check_equality(lineage: &Lineage, bare: bool, used_in: Use) -> Result<()> {
    let allowed = if bare && !lineage.is_derived() { allows_equality } else { allows_any };
    lineage.refusing(allowed).map_or(Ok(()), |source| Err(refuse::masked_predicate(source, used_in)))
}

/// Lets through what decides in any other way.
pub(super) fn check_any(lineage: &Lineage, used_in: Use) -> Result<()> {
    lineage.refusing(allows_any).map_or(Ok(()), |source| Err(refuse::masked_predicate(source, used_in)))
}

impl Tracer<'_> {
    /// Checks a condition: conjunctions, disjunctions and negations of comparisons are taken apart, and equality with a
    /// masked column is allowed where its mask says so.
    pub(super) fn check_condition(&self, condition: &Expr, scope: &Scope<'_>, used_in: Use) -> Result<()> {
        if !self.read(condition, scope)?.lineage.is_restricted() {
            return Ok(());
        }
        let mut parts = vec![condition];
        while let Some(part) = parts.pop() {
            match part {
                Expr::Alias(alias) => parts.push(&alias.expr),
                Expr::Not(inner) => parts.push(inner),
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
                    parts.extend([left.as_ref(), right.as_ref()]);
                }
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_equality(*op) => {
                    self.check_key(left, scope, used_in)?;
                    self.check_key(right, scope, used_in)?;
                }
                Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.check_key(inner, scope, used_in)?,
                Expr::InList(InList { expr, list, .. }) => {
                    for compared in std::iter::once(expr.as_ref()).chain(list) {
                        self.check_key(compared, scope, used_in)?;
                    }
                }
                Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
                    self.check_key(expr, scope, used_in)?;
                    check_equality(&self.subquery_column(subquery)?, true, used_in)?;
                }
                Expr::SetComparison(SetComparison { expr, subquery, op, .. }) if is_equality(*op) => {
                    self.check_key(expr, scope, used_in)?;
                    check_equality(&self.subquery_column(subquery)?, true, used_in)?;
                }
                other => check_any(&self.read(other, scope)?.lineage, used_in)?,
            }
        }
        Ok(())
    }

    /// Checks an expression that is compared for equality: a join or group key, a side of `=`.
    pub(super) fn check_key(&self, key: &Expr, scope: &Scope<'_>, used_in: Use) -> Result<()> {
        let Reading { lineage, bare } = self.read(key, scope)?;
        check_equality(&lineage, bare, used_in)
    }

    pub(super) fn check_keys(&self, keys: &[Expr], scope: &Scope<'_>, used_in: Use) -> Result<()> {
        keys.iter().try_for_each(|key| self.check_key(key, scope, used_in))
    }

    pub(super) fn check_order(&self, order: &[SortExpr], scope: &Scope<'_>) -> Result<()> {
        order.iter().try_for_each(|sort| check_any(&self.read(&sort.expr, scope)?.lineage, Use::OrderBy))
    }
}

fn is_equality(operator: Operator) -> bool {
    matches!(operator, Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}
