//! COPY … FROM STDIN: batches that the wire decoded, into a table.

use std::{fmt, sync::Arc};

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use weir_model::{Action, Code, ColumnType, ObjectName, Refusal, Result};
use weir_store::{TableSchema, Transaction, arrow_type};

use super::{assemble, insert::place_of, unchanged};
use crate::{
    bind::Bindings,
    binder::undefined_table,
    coerce::{self, Context},
    constant::Constant,
    governance::{Governance, Snapshot},
    plan::Planning,
    row_check::RowCheck,
    session::EngineSession,
};

/// Where COPY IN puts its rows: casts, defaults and WITH CHECK are resolved once for the whole copy.
pub struct CopyTarget {
    object: ObjectName,
    schema: Arc<TableSchema>,
    /// Columns that a batch has, by their place in the table.
    places: Vec<usize>,
    names: Vec<(String, ColumnType)>,
    /// For each column of the table its default, where no batch has it.
    defaults: Vec<Option<Constant>>,
    check: RowCheck,
    bindings: Bindings,
}

impl fmt::Debug for CopyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyTarget").field("object", &self.object).field("columns", &self.names).finish_non_exhaustive()
    }
}

impl EngineSession {
    /// The table as COPY IN's target; no columns means all.
    ///
    /// # Errors
    /// `undefined_table`, `undefined_column`, `duplicate_column`, `permission_denied`.
    pub fn copy_target(
        &self,
        table: &ObjectName,
        columns: &[String],
        snapshot: &Snapshot,
        governance: &Governance,
    ) -> Result<CopyTarget> {
        let planning = Planning::new(self, snapshot, governance);
        let missing = || undefined_table(table.name());
        let known = governance.objects.get(table).ok_or_else(missing)?;
        let stored = snapshot.version.table(table).ok_or_else(missing)?;
        if !known.allows(Action::Insert) {
            return Err(Refusal::new(Code::PermissionDenied, format!("permission denied for table {}", table.name())));
        }
        let schema = Arc::clone(stored.schema());
        let mut places = Vec::new();
        for name in columns {
            let place = place_of(name, &schema)?;
            if places.contains(&place) {
                return Err(Refusal::new(Code::DuplicateColumn, format!("column \"{name}\" specified more than once")));
            }
            places.push(place);
        }
        if columns.is_empty() {
            places = (0..schema.columns().len()).collect();
        }
        let binder = planning.binder();
        let defaults = schema
            .columns()
            .iter()
            .enumerate()
            .map(|(place, column)| match &column.default {
                Some(text) if !places.contains(&place) => Constant::default(&binder, text).map(Some),
                _ => Ok(None),
            })
            .collect::<Result<Vec<_>>>()?;
        let check = planning.insert_check(&binder, table, &schema)?;
        let names = places
            .iter()
            .filter_map(|place| schema.columns().get(*place))
            .map(|column| (column.name.clone(), column.column_type))
            .collect();
        let bindings = Bindings::new(&[], &[], self.shared_identity(), &snapshot.search_path, self.settings())?;
        Ok(CopyTarget { object: table.clone(), schema, places, names, defaults, check, bindings })
    }
}

impl CopyTarget {
    /// Names and types of the columns a batch must have, in order.
    #[must_use]
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.names
    }

    /// Adds rows; says how many.
    ///
    /// # Errors
    /// As INSERT.
    pub fn insert(&self, transaction: &mut Transaction, batch: &RecordBatch) -> Result<u64> {
        unchanged(transaction, &self.object, &self.schema)?;
        let rows = batch.num_rows();
        let columns = self
            .schema
            .columns()
            .iter()
            .zip(&self.defaults)
            .enumerate()
            .map(|(place, (column, default))| {
                let context = Context::Column(&column.name);
                let given = self.places.iter().position(|known| *known == place);
                match (given, default) {
                    (Some(index), _) => match batch.columns().get(index) {
                        Some(array) => coerce::to_type(array, column.column_type, context, self.bindings.zone()),
                        None => Err(Refusal::new(Code::Internal, "a batch lacks a column")),
                    },
                    (None, Some(default)) => {
                        let values = default.evaluate(&self.bindings, rows)?;
                        coerce::to_type(&values, column.column_type, context, self.bindings.zone())
                    }
                    (None, None) => Ok(new_null_array(&arrow_type(column.column_type), rows)),
                }
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let batch = assemble(&self.schema, columns, rows)?;
        self.check.check(&batch)?;
        transaction.insert(&self.object, batch)?;
        Ok(rows as u64)
    }
}
