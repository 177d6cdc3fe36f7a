//! How lineage says no, and carries it through DataFusion's traversals.

use std::fmt;

use datafusion::{common::Column, error::DataFusionError};
use weir_model::{Code, Refusal};

use super::source::Source;

/// Where a masked column would decide over rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Where,
    Having,
    Qualify,
    Filter,
    Join,
    GroupBy,
    CountDistinct,
    Distinct,
    DistinctOn,
    Union,
    Intersect,
    Except,
    OrderBy,
    PartitionBy,
    DistributeBy,
    Limit,
    Unnest,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Use::Where => "WHERE",
            Use::Having => "HAVING",
            Use::Qualify => "QUALIFY",
            Use::Filter => "FILTER",
            Use::Join => "JOIN",
            Use::GroupBy => "GROUP BY",
            Use::CountDistinct => "count(DISTINCT …)",
            Use::Distinct => "DISTINCT",
            Use::DistinctOn => "DISTINCT ON",
            Use::Union => "UNION",
            Use::Intersect => "INTERSECT",
            Use::Except => "EXCEPT",
            Use::OrderBy => "ORDER BY",
            Use::PartitionBy => "PARTITION BY",
            Use::DistributeBy => "DISTRIBUTE BY",
            Use::Limit => "LIMIT",
            Use::Unnest => "UNNEST",
        })
    }
}

/// The refusal of a use that the mask does not allow.
pub(super) fn masked_predicate(source: &Source, used_in: Use) -> DataFusionError {
    let column = format!("{}.{}", source.table, source.column);
    let hint = match used_in {
        Use::Union => "use UNION ALL, or select other columns; a masked column can be returned and counted",
        _ => {
            "return the column without choosing, joining, grouping or ordering rows by it, or count it; \
             use an unmasked column, such as the table's key, to find rows"
        }
    };
    carried(
        Refusal::new(Code::MaskedPredicate, format!("masked column \"{column}\" cannot be used in {used_in}"))
            .detail(format_args!("column={column}"))
            .detail(format_args!("used_in={used_in}"))
            .hint(hint),
    )
}

/// The refusal of a plan that lineage does not understand.
pub(super) fn ungoverned(what: &str) -> DataFusionError {
    carried(Refusal::new(Code::UngovernedPlan, format!("{what} over masked columns cannot be traced")))
}

pub(super) fn untraced(column: &Column) -> DataFusionError {
    ungoverned(&format!("column \"{}\"", column.name))
}

fn carried(refusal: Refusal) -> DataFusionError {
    DataFusionError::External(Box::new(refusal))
}

/// The refusal that an error carries; any other error is a bug here, of which a client is told nothing else.
pub(super) fn refusal(error: DataFusionError) -> Refusal {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Refusal>() {
            Ok(refusal) => *refusal,
            Err(error) => internal(&error),
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => refusal(*inner),
        error => internal(&error),
    }
}

fn internal(error: &dyn fmt::Display) -> Refusal {
    tracing::error!(%error, "lineage of masked columns failed");
    Refusal::new(Code::Internal, "the statement's masks could not be worked out")
}
