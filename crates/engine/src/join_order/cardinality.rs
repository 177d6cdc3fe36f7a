//! How many rows a plan gives, and how many values a column has: the textbook's independence assumptions (Selinger
//! 1979), from exact row counts, exact bounds and estimated distinct counts. A wrong estimate costs time, never a row.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, JoinType, ScalarValue},
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan, expr::InList, utils::split_conjunction},
};
use weir_store::{ColumnStatistics, Version};

use crate::{barrier::Barrier, governed::RawTable};

/// Where nothing tells: the share of rows that a condition keeps.
const UNKNOWN: f64 = 0.3;
const LIKE: f64 = 0.1;
/// The least share of rows that is taken to be without a partner.
const ANTI_MIN: f64 = 0.1;

/// Rows, and of each column that leads back to a table its distinct values and bounds.
#[derive(Debug, Clone, Default)]
pub(super) struct Estimate {
    pub rows: f64,
    columns: HashMap<Column, ColumnEstimate>,
    keys: Vec<Key>,
}

/// Columns that no two rows share the values of.
#[derive(Debug, Clone)]
struct Key {
    columns: Vec<Column>,
    /// Rows of the table (or groups of the aggregate) that the key is of, before anything was filtered.
    of: f64,
}

#[derive(Debug, Clone, Copy)]
struct ColumnEstimate {
    distinct: f64,
    bounds: Option<(f64, f64)>,
}

impl Estimate {
    fn distinct(&self, column: &Column) -> f64 {
        self.columns.get(column).map_or(self.rows, |known| known.distinct).min(self.rows).max(1.0)
    }

    /// Where a side has a key, each row of the other finds what is left of it. Else |L|·|R| / Π max(distinct), each
    /// further pair counting by its square root: values of several columns correlate.
    pub(super) fn joined_rows(&self, other: &Estimate, on: &[(Column, Column)]) -> f64 {
        let here = self.left_of_key(|column| on.iter().any(|(left, _)| left == column));
        let there = other.left_of_key(|column| on.iter().any(|(_, right)| right == column));
        let by_key = match (here, there) {
            (Some(here), Some(there)) => Some((here * other.rows).min(there * self.rows)),
            (Some(here), None) => Some(here * other.rows),
            (None, Some(there)) => Some(there * self.rows),
            (None, None) => None,
        };
        if let Some(rows) = by_key {
            return rows.max(1.0);
        }
        let mut shares: Vec<f64> =
            on.iter().map(|(left, right)| self.distinct(left).max(other.distinct(right))).collect();
        shares.sort_by(|a, b| b.total_cmp(a));
        let divisor: f64 =
            shares.iter().enumerate().map(|(i, share)| if i == 0 { *share } else { share.sqrt() }).product();
        (self.rows * other.rows / divisor.max(1.0)).max(1.0)
    }

    /// The share of a key's rows that is still here, where the columns hold a key.
    fn left_of_key(&self, has: impl Fn(&Column) -> bool) -> Option<f64> {
        let held = self.keys.iter().filter(|key| key.columns.iter().all(&has));
        held.map(|key| (self.rows / key.of.max(1.0)).min(1.0)).min_by(f64::total_cmp)
    }

    pub(super) fn join(&self, other: &Estimate, on: &[(Column, Column)]) -> Estimate {
        let rows = self.joined_rows(other, on);
        let mut columns = self.columns.clone();
        columns.extend(other.columns.iter().map(|(column, known)| (column.clone(), *known)));
        for (left, right) in on {
            let distinct = self.distinct(left).min(other.distinct(right));
            for column in [left, right] {
                if let Some(known) = columns.get_mut(column) {
                    known.distinct = known.distinct.min(distinct);
                }
            }
        }
        // A side's rows stay single where each finds at most one partner.
        let mut keys = Vec::new();
        if other.left_of_key(|column| on.iter().any(|(_, right)| right == column)).is_some() {
            keys.extend(self.keys.iter().cloned());
        }
        if self.left_of_key(|column| on.iter().any(|(left, _)| left == column)).is_some() {
            keys.extend(other.keys.iter().cloned());
        }
        Estimate { rows, columns, keys }
    }

    /// The share of the rows that has a partner in the other.
    fn share_with_partner(&self, other: &Estimate, on: &[(Column, Column)]) -> f64 {
        let by_key = other.left_of_key(|column| on.iter().any(|(_, right)| right == column));
        let by_values = on.iter().map(|(left, right)| (other.distinct(right) / self.distinct(left)).min(1.0));
        by_key.unwrap_or_else(|| by_values.fold(1.0, f64::min))
    }

    /// The columns of a projection, alias or aggregate, each of which was one here.
    fn renamed(&self, pairs: impl Iterator<Item = (Column, Column)>) -> Estimate {
        let names: Vec<(Column, Column)> = pairs.collect();
        let renamed = |from: &Column| names.iter().find(|(old, _)| old == from).map(|(_, new)| new.clone());
        let columns = names.iter().filter_map(|(from, to)| Some((to.clone(), *self.columns.get(from)?))).collect();
        let keys = self.keys.iter().filter_map(|key| {
            Some(Key { columns: key.columns.iter().map(renamed).collect::<Option<_>>()?, of: key.of })
        });
        Estimate { rows: self.rows, columns, keys: keys.collect() }
    }

    fn scaled(mut self, share: f64) -> Estimate {
        let before = self.rows;
        self.rows = (self.rows * share.clamp(0.0, 1.0)).max(1.0);
        for known in self.columns.values_mut() {
            // Of d values over n rows, a sample of m rows still shows about d·(1 − (1 − m/n)^(n/d)) (Cardenas 1975).
            let per_value = before / known.distinct.max(1.0);
            let left = 1.0 - (1.0 - self.rows / before.max(1.0)).max(0.0).powf(per_value);
            known.distinct = (known.distinct * left).clamp(1.0, self.rows);
        }
        self
    }
}

pub(super) struct Estimator<'a> {
    version: &'a Version,
}

impl<'a> Estimator<'a> {
    pub(super) fn new(version: &'a Version) -> Estimator<'a> {
        Estimator { version }
    }

    pub(super) fn estimate(&self, plan: &LogicalPlan) -> Estimate {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Filter(filter) => {
                let input = self.estimate(&filter.input);
                filtered(input, &filter.predicate)
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let input = self.estimate(&alias.input);
                input.renamed(alias.input.schema().columns().into_iter().zip(alias.schema.columns()))
            }
            LogicalPlan::Projection(projection) => {
                let input = self.estimate(&projection.input);
                let passed = projection.expr.iter().map(passed_column);
                input.renamed(passed.zip(projection.schema.columns()).filter_map(|(from, to)| Some((from?, to))))
            }
            LogicalPlan::Extension(_) => match Barrier::of(plan) {
                Some(barrier) => filtered(self.estimate(barrier.input()), barrier.predicate()),
                None => self.unknown(plan),
            },
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.estimate(&aggregate.input);
                let keys =
                    aggregate.group_expr.iter().map(|key| passed_column(key).map(|column| input.distinct(&column)));
                let groups: f64 = keys.map(|distinct| distinct.unwrap_or(input.rows.sqrt())).product();
                let rows = groups.min(input.rows).max(1.0);
                let names = aggregate.schema.columns();
                let passed = aggregate.group_expr.iter().map(passed_column);
                let pairs = passed.zip(names.clone()).filter_map(|(from, to)| Some((from?, to)));
                let columns = input.renamed(pairs).columns;
                let key = names.into_iter().take(aggregate.group_expr.len()).collect();
                Estimate { rows, columns, keys: vec![Key { columns: key, of: rows }] }
            }
            LogicalPlan::Join(join) => {
                let (left, right) = (self.estimate(&join.left), self.estimate(&join.right));
                let pairs: Vec<(Column, Column)> =
                    join.on.iter().filter_map(|(l, r)| passed_column(l).zip(passed_column(r))).collect();
                let turned = || pairs.iter().map(|(left, right)| (right.clone(), left.clone())).collect::<Vec<_>>();
                match join.join_type {
                    JoinType::LeftSemi => {
                        let share = left.share_with_partner(&right, &pairs);
                        left.scaled(share)
                    }
                    JoinType::RightSemi => {
                        let share = right.share_with_partner(&left, &turned());
                        right.scaled(share)
                    }
                    JoinType::LeftAnti => {
                        let share = left.share_with_partner(&right, &pairs);
                        left.scaled((1.0 - share).max(ANTI_MIN))
                    }
                    JoinType::RightAnti => {
                        let share = right.share_with_partner(&left, &turned());
                        right.scaled((1.0 - share).max(ANTI_MIN))
                    }
                    JoinType::LeftMark => left,
                    JoinType::RightMark => right,
                    JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => left.join(&right, &pairs),
                }
            }
            LogicalPlan::Sort(sort) => self.estimate(&sort.input),
            LogicalPlan::Distinct(_) | LogicalPlan::Limit(_) | LogicalPlan::Window(_) => self.first_input(plan),
            _ => self.unknown(plan),
        }
    }

    fn first_input(&self, plan: &LogicalPlan) -> Estimate {
        plan.inputs().first().map_or_else(Estimate::default, |input| self.estimate(input))
    }

    fn unknown(&self, plan: &LogicalPlan) -> Estimate {
        let rows = plan.inputs().into_iter().map(|input| self.estimate(input).rows).sum::<f64>();
        Estimate { rows: rows.max(1.0), ..Estimate::default() }
    }

    fn scan(&self, scan: &TableScan) -> Estimate {
        let raw = scan.source.downcast_ref::<RawTable>();
        let table = raw.and_then(|raw| self.version.table(raw.object()));
        let Some(statistics) = table.and_then(|table| table.statistics().ok()) else {
            return Estimate { rows: 1_000.0, ..Estimate::default() };
        };
        let rows = as_number(statistics.row_count);
        let stored = raw.map(|raw| raw.schema_ref().fields().clone()).unwrap_or_default();
        let known: HashMap<&str, &ColumnStatistics> =
            stored.iter().zip(&statistics.columns).map(|(field, column)| (field.name().as_str(), column)).collect();
        let places = raw.map(RawTable::primary_key).unwrap_or_default();
        let key: Option<Vec<Column>> = places
            .iter()
            .map(|place| {
                let name = stored.get(*place)?.name();
                scan.projected_schema.columns().into_iter().find(|column| column.name == *name)
            })
            .collect();
        let keys = key.filter(|columns| !columns.is_empty()).map(|columns| Key { columns, of: rows.max(1.0) });
        let columns = scan
            .projected_schema
            .columns()
            .into_iter()
            .filter_map(|column| {
                let known = known.get(column.name.as_str())?;
                Some((column, column_estimate(known, rows)))
            })
            .collect();
        let whole = Estimate { rows: rows.max(1.0), columns, keys: keys.into_iter().collect() };
        scan.filters.iter().fold(whole, filtered_by)
    }
}

fn column_estimate(known: &ColumnStatistics, rows: f64) -> ColumnEstimate {
    let number =
        |array: &arrow::array::ArrayRef| ScalarValue::try_from_array(array, 0).ok().as_ref().and_then(as_float);
    ColumnEstimate {
        distinct: known.distinct.map_or(rows, as_number).clamp(1.0, rows.max(1.0)),
        bounds: known.min.as_ref().and_then(number).zip(known.max.as_ref().and_then(number)),
    }
}

fn passed_column(expr: &Expr) -> Option<Column> {
    match expr {
        Expr::Column(column) => Some(column.clone()),
        Expr::Alias(alias) => passed_column(&alias.expr),
        Expr::Cast(cast) => passed_column(&cast.expr),
        _ => None,
    }
}

fn filtered(input: Estimate, predicate: &Expr) -> Estimate {
    split_conjunction(predicate).into_iter().fold(input, filtered_by)
}

fn filtered_by(input: Estimate, conjunct: &Expr) -> Estimate {
    let share = selectivity(&input, conjunct);
    let pinned = match conjunct {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_constant(right) => passed_column(left),
        _ => None,
    };
    let mut kept = input.scaled(share);
    if let Some(known) = pinned.and_then(|column| kept.columns.get_mut(&column)) {
        known.distinct = 1.0;
    }
    kept
}

fn selectivity(input: &Estimate, predicate: &Expr) -> f64 {
    match predicate {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            selectivity(input, left) * selectivity(input, right)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (left, right) = (selectivity(input, left), selectivity(input, right));
            left + right - left * right
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => comparison(input, left, *op, right),
        Expr::Not(inner) => 1.0 - selectivity(input, inner),
        Expr::Between(between) => {
            let low = comparison(input, &between.expr, Operator::GtEq, &between.low);
            let high = comparison(input, &between.expr, Operator::LtEq, &between.high);
            let inside = (low + high - 1.0).max(0.01);
            if between.negated { 1.0 - inside } else { inside }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let distinct = passed_column(expr).map_or(20.0, |column| input.distinct(&column));
            let inside = (as_number(u64::try_from(list.len()).unwrap_or(u64::MAX)) / distinct).min(1.0);
            if *negated { 1.0 - inside } else { inside }
        }
        Expr::Like(like) => {
            if like.negated {
                1.0 - LIKE
            } else {
                LIKE
            }
        }
        Expr::IsNull(_) => 0.05,
        Expr::IsNotNull(_) => 0.95,
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => 1.0,
        Expr::Literal(..) => 0.0,
        _ => UNKNOWN,
    }
}

fn comparison(input: &Estimate, left: &Expr, op: Operator, right: &Expr) -> f64 {
    if is_constant(left) && !is_constant(right) {
        return op.swap().map_or(UNKNOWN, |op| comparison(input, right, op, left));
    }
    let known = passed_column(left).and_then(|column| input.columns.get(&column).copied());
    match op {
        Operator::Eq if is_constant(right) => 1.0 / known.map_or(10.0, |known| known.distinct).max(1.0),
        Operator::NotEq if is_constant(right) => 1.0 - 1.0 / known.map_or(10.0, |known| known.distinct).max(1.0),
        Operator::Eq => 0.1,
        Operator::NotEq => 0.9,
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq => {
            let bounds = known.and_then(|known| known.bounds);
            let value = match right {
                Expr::Literal(value, _) => as_float(value),
                _ => None,
            };
            match bounds.zip(value) {
                Some(((min, max), value)) if max > min => {
                    let below = ((value - min) / (max - min)).clamp(0.0, 1.0);
                    if matches!(op, Operator::Lt | Operator::LtEq) { below } else { 1.0 - below }
                }
                _ => UNKNOWN,
            }
        }
        Operator::LikeMatch => LIKE,
        _ => UNKNOWN,
    }
}

fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Placeholder(_) => true,
        Expr::Cast(cast) => is_constant(&cast.expr),
        _ => false,
    }
}

/// Numbers, dates and times on one axis.
fn as_float(value: &ScalarValue) -> Option<f64> {
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(number)) => number,
        _ => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(number) => number.map(as_signed),
            _ => None,
        },
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn as_number(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn as_signed(number: i64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
