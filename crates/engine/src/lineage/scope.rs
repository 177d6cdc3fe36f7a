//! What an expression can name: its node's inputs, and the queries around it.

use datafusion::common::{Column, DFSchema, Result};

use super::{refuse, source::Lineage};

/// An input of a node: its columns' names and what they carry, position by position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub schema: &'a DFSchema,
    pub columns: &'a [Lineage],
}

#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub parts: Vec<Part<'a>>,
    /// The query this one stands in, or the left side of a lateral join.
    pub outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// What a column of this query carries.
    ///
    /// # Errors
    /// When no input has such a column: what cannot be traced is refused.
    pub(super) fn column(&self, column: &Column) -> Result<Lineage> {
        self.find(column).ok_or_else(|| refuse::untraced(column))
    }

    /// What a column of an enclosing query carries. A name that several enclosing queries have carries what any of them
    /// does: which one is meant is not for lineage to guess.
    pub(super) fn outer_column(&self, column: &Column) -> Result<Lineage> {
        let mut found: Option<Lineage> = None;
        let mut scope = self.outer;
        while let Some(query) = scope {
            if let Some(lineage) = query.find(column) {
                match &mut found {
                    Some(known) => known.meet(&lineage),
                    None => found = Some(lineage),
                }
            }
            scope = query.outer;
        }
        found.ok_or_else(|| refuse::untraced(column))
    }

    fn find(&self, column: &Column) -> Option<Lineage> {
        let mut found: Option<Lineage> = None;
        for part in &self.parts {
            for ((qualifier, field), lineage) in part.schema.iter().zip(part.columns) {
                let qualified = match (&column.relation, qualifier) {
                    (None, _) => true,
                    (Some(wanted), Some(qualifier)) => wanted.resolved_eq(qualifier),
                    (Some(_), None) => false,
                };
                if !qualified || *field.name() != column.name {
                    continue;
                }
                match &mut found {
                    Some(known) => known.meet(lineage),
                    None => found = Some(lineage.clone()),
                }
            }
        }
        found
    }

    /// The type of a column of this query, where it is known.
    pub(super) fn data_type(&self, column: &Column) -> Option<&'a datafusion::arrow::datatypes::DataType> {
        let field = |part: &Part<'a>| {
            let position = part.schema.maybe_index_of_column(column)?;
            Some(part.schema.field(position).data_type())
        };
        self.parts.iter().find_map(field)
    }
}
