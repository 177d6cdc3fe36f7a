//! Comparisons of rows: `(a, b) < (c, d)`, `(a, b) IN ((1, 2), (3, 4))`.

use weir_sql::ast::{BinaryOperator, Expr};

fn combined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

/// Column by column, as PostgreSQL compares rows; None for another operator or rows of different lengths.
pub(super) fn comparison(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> Option<Expr> {
    if left.len() != right.len() {
        return None;
    }
    let pairs = left.iter().cloned().zip(right.iter().cloned());
    match op {
        BinaryOperator::Eq => pairs
            .map(|(l, r)| combined(l, BinaryOperator::Eq, r))
            .reduce(|all, next| combined(all, BinaryOperator::And, next)),
        BinaryOperator::NotEq => pairs
            .map(|(l, r)| combined(l, BinaryOperator::NotEq, r))
            .reduce(|all, next| combined(all, BinaryOperator::Or, next)),
        BinaryOperator::Lt | BinaryOperator::LtEq => ordered(left, right, &BinaryOperator::Lt, op),
        BinaryOperator::Gt | BinaryOperator::GtEq => ordered(left, right, &BinaryOperator::Gt, op),
        _ => None,
    }
}

/// The first columns that differ decide; the last ones may be equal where the operator lets them.
fn ordered(left: &[Expr], right: &[Expr], strict: &BinaryOperator, last: &BinaryOperator) -> Option<Expr> {
    let ((l, left), (r, right)) = (left.split_first()?, right.split_first()?);
    if left.is_empty() {
        return Some(combined(l.clone(), last.clone(), r.clone()));
    }
    let rest = ordered(left, right, strict, last)?;
    let equal = combined(combined(l.clone(), BinaryOperator::Eq, r.clone()), BinaryOperator::And, rest);
    Some(combined(combined(l.clone(), strict.clone(), r.clone()), BinaryOperator::Or, equal))
}

/// Whether a row is one of a list of rows.
pub(super) fn membership(row: &[Expr], list: &[Expr]) -> Option<Expr> {
    let equal = |item: &Expr| match item {
        Expr::Tuple(other) => comparison(row, &BinaryOperator::Eq, other),
        _ => None,
    };
    let all: Option<Vec<Expr>> = list.iter().map(equal).collect();
    all?.into_iter().reduce(|all, next| combined(all, BinaryOperator::Or, next))
}
