//! Names of output columns as PostgreSQL gives them: `count` and not `count(*)`, and the same name twice where the
//! statement says so.

use weir_model::fold_identifier;
use weir_sql::ast::{CastKind, DataType, Expr, Ident, ObjectNamePart, SelectItem, SetExpr};

/// Prefix of the aliases that keep outputs apart in a plan; never shown.
pub(crate) const HIDDEN: &str = "__weir_out";
/// What PostgreSQL calls an expression without a name.
const UNNAMED: &str = "?column?";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Output {
    Named(String),
    Wildcard,
}

/// The outputs of a query, by position as far as the text alone tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutputNames(Vec<Output>);

impl OutputNames {
    /// The name for each of the plan's fields.
    pub(crate) fn resolve(&self, fields: &[&str]) -> Vec<String> {
        let wildcards = self.0.iter().filter(|output| **output == Output::Wildcard).count();
        let named = self.0.len() - wildcards;
        let plain = || fields.iter().map(|name| display(name)).collect();
        match wildcards {
            0 if named == fields.len() => self.0.iter().map(|output| self.name(output)).collect(),
            1 if named <= fields.len() => {
                let expanded = fields.len() - named;
                let mut names = Vec::with_capacity(fields.len());
                for output in &self.0 {
                    match output {
                        Output::Named(name) => names.push(name.clone()),
                        Output::Wildcard => {
                            let from = names.len();
                            names.extend(fields.iter().skip(from).take(expanded).map(|name| display(name)));
                        }
                    }
                }
                names
            }
            _ => plain(),
        }
    }

    fn name(&self, output: &Output) -> String {
        match output {
            Output::Named(name) => name.clone(),
            Output::Wildcard => UNNAMED.to_owned(),
        }
    }
}

fn display(name: &str) -> String {
    if name.starts_with(HIDDEN) { UNNAMED.to_owned() } else { name.to_owned() }
}

pub(crate) fn names_of(body: &SetExpr) -> OutputNames {
    match body {
        SetExpr::Select(select) => OutputNames(select.projection.iter().map(output).collect()),
        SetExpr::Query(query) => names_of(&query.body),
        SetExpr::SetOperation { left, .. } => names_of(left),
        _ => OutputNames::default(),
    }
}

fn output(item: &SelectItem) -> Output {
    match item {
        SelectItem::UnnamedExpr(expr) => Output::Named(name_of(expr).unwrap_or_else(|| UNNAMED.to_owned())),
        SelectItem::ExprWithAlias { alias, .. } => Output::Named(folded(alias)),
        _ => Output::Wildcard,
    }
}

fn folded(ident: &Ident) -> String {
    fold_identifier(&ident.value, ident.quote_style.is_some())
}

/// PostgreSQL's `FigureColname`; none for what it calls `?column?`.
pub(crate) fn name_of(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Identifier(ident) => folded(ident),
        Expr::CompoundIdentifier(parts) => folded(parts.last()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => return name_of(inner),
        Expr::Function(function) => match function.name.0.last()? {
            ObjectNamePart::Identifier(ident) => folded(ident),
            ObjectNamePart::Function(_) => return None,
        },
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            return name_of(expr).or_else(|| type_name(data_type));
        }
        Expr::TypedString(typed) => type_name(&typed.data_type)?,
        Expr::Case { else_result, .. } => else_result
            .as_deref()
            .and_then(|value| match value {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => name_of(value),
                _ => None,
            })
            .unwrap_or_else(|| "case".to_owned()),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Subquery(query) => match names_of(&query.body).0.first()? {
            Output::Named(name) => name.clone(),
            Output::Wildcard => return None,
        },
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Overlay { .. } => "overlay".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        _ => return None,
    })
}

fn type_name(data_type: &DataType) -> Option<String> {
    use weir_model::ColumnType;
    Some(
        match weir_sql::column_type(data_type).ok()? {
            ColumnType::Boolean => "bool",
            ColumnType::SmallInt => "int2",
            ColumnType::Integer => "int4",
            ColumnType::BigInt => "int8",
            ColumnType::Real => "float4",
            ColumnType::Double => "float8",
            ColumnType::Numeric { .. } => "numeric",
            ColumnType::Text => "text",
            ColumnType::Varchar(_) => "varchar",
            ColumnType::Bytea => "bytea",
            ColumnType::Date => "date",
            ColumnType::Time => "time",
            ColumnType::Timestamp => "timestamp",
            ColumnType::Timestamptz => "timestamptz",
            ColumnType::Interval => "interval",
            ColumnType::Uuid => "uuid",
            ColumnType::Json => "json",
            ColumnType::Jsonb => "jsonb",
        }
        .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test fails by panicking"
    )]
    use super::*;
    use weir_sql::ast::Statement;

    fn check(sql: &str, fields: &[&str], expected: &[&str]) {
        let statements = weir_sql::parse(sql).unwrap();
        let Statement::Query(query) = statements[0].tree() else { panic!("{sql}") };
        let names = names_of(&query.body);
        assert_eq!(names.resolve(fields), expected, "{sql}");
    }

    #[test]
    fn outputs_are_named_as_postgresql_names_them() {
        check(
            "SELECT count(*), a, t.b, 1, a::text, 1::int, CASE WHEN a THEN 1 END FROM t",
            &[""; 7],
            &["count", "a", "b", "?column?", "a", "int4", "case"],
        );
        check("SELECT x.*, sum(a) AS \"S\" FROM t x", &["p", "q", "s"], &["p", "q", "S"]);
        check("SELECT a, a FROM t", &["a", "__weir_out1"], &["a", "a"]);
    }
}
