mod pending;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use arrow::record_batch::RecordBatch;
use weir_model::{Code, ColumnType, ObjectName, Refusal};

use self::pending::PendingTable;
use crate::{
    RowId, TableId, TableSchema, TableVersion, Version, View,
    cache::SegmentCache,
    catalog::{CatalogChange, undefined},
    commit::Change,
    version::{Catalog, Relation},
};

/// What transactions take from their database besides its versions: fresh numbers, and room for large inserts.
#[derive(Debug)]
pub(crate) struct Space {
    pub segments: PathBuf,
    pub cache: Arc<SegmentCache>,
    pub next_oid: AtomicU32,
    pub next_file: AtomicU64,
    /// Numbers the working versions of transactions.
    pub next_working: AtomicU64,
}

impl Space {
    /// A number for a table, view or schema. Numbers of transactions that do not commit are lost.
    fn fresh_oid(&self) -> u32 {
        self.next_oid.fetch_add(1, Ordering::Relaxed)
    }

    pub fn fresh_file(&self, table: TableId) -> String {
        format!("{:08}-{:012}.parquet", table.0, self.next_file.fetch_add(1, Ordering::Relaxed))
    }

    /// Never the number of a published version.
    fn fresh_working(&self) -> u64 {
        (1 << 63) | self.next_working.fetch_add(1, Ordering::Relaxed)
    }
}

/// Changes against one version, seen by nobody else until they are committed. Dropping it forgets them.
///
/// A refused operation leaves the transaction as it was before it.
#[derive(Debug)]
pub struct Transaction {
    base: Arc<Version>,
    space: Arc<Space>,
    /// With this transaction's changes; None while there are none.
    catalog: Option<Arc<Catalog>>,
    catalog_number: u64,
    catalog_changes: Vec<CatalogChange>,
    tables: HashMap<TableId, PendingTable>,
    working: OnceLock<Arc<Version>>,
}

impl Transaction {
    pub(crate) fn new(base: Arc<Version>, space: Arc<Space>) -> Transaction {
        Transaction {
            base,
            space,
            catalog: None,
            catalog_number: 0,
            catalog_changes: Vec::new(),
            tables: HashMap::new(),
            working: OnceLock::new(),
        }
    }

    /// The version the transaction began with.
    #[must_use]
    pub fn base(&self) -> &Arc<Version> {
        &self.base
    }

    /// The base with the transaction's own changes: what its statements read. Own new rows have provisional ids.
    #[must_use]
    pub fn version(&self) -> &Arc<Version> {
        if self.is_empty() { &self.base } else { self.working.get_or_init(|| Arc::new(self.build_working())) }
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.catalog_changes.is_empty() && self.tables.values().all(PendingTable::is_empty)
    }

    fn build_working(&self) -> Version {
        let mut version = self.base.as_ref().clone();
        version.id = self.space.fresh_working();
        if let Some(catalog) = &self.catalog {
            version.catalog = Arc::clone(catalog);
            version.catalog_version = self.catalog_number;
            version.tables.retain(|table| catalog.tables.contains_key(&table.id));
        }
        for pending in self.tables.values() {
            version.put_table(Arc::new(pending.working()));
        }
        version
    }

    fn catalog(&self) -> &Catalog {
        self.catalog.as_deref().unwrap_or(&self.base.catalog)
    }

    fn change_catalog(&mut self, change: CatalogChange) -> Result<(), Refusal> {
        let mut catalog = self.catalog().clone();
        catalog.change(&change)?;
        self.catalog = Some(Arc::new(catalog));
        self.catalog_number = self.space.fresh_working();
        self.catalog_changes.push(change);
        self.working.take();
        Ok(())
    }

    fn table_id(&self, name: &ObjectName) -> Result<TableId, Refusal> {
        match self.catalog().relations.get(name) {
            Some(Relation::Table(id)) => Ok(*id),
            Some(Relation::View(_)) => {
                Err(Refusal::new(Code::WrongObjectType, format!("\"{}\" is not a table", name.name())))
            }
            None => Err(undefined("relation", name)),
        }
    }

    fn pending(&mut self, name: &ObjectName) -> Result<&mut PendingTable, Refusal> {
        let id = self.table_id(name)?;
        self.working.take();
        match self.tables.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(new) => {
                let table = self.base.table_by_id(id).ok_or_else(|| undefined("relation", name))?;
                Ok(new.insert(PendingTable::new(Arc::clone(table), Arc::clone(&self.space))))
            }
        }
    }

    /// Adds rows. The batch has the table's columns in order, of the table's Arrow types; its column names do not
    /// matter.
    ///
    /// Many rows are written to segment files at once instead of being kept in memory.
    ///
    /// # Errors
    /// `undefined_table`, `datatype_mismatch`, `not_null_violation`, `unique_violation` (against what this transaction
    /// sees), and what the files say.
    pub fn insert(&mut self, table: &ObjectName, batch: RecordBatch) -> Result<(), Refusal> {
        self.pending(table)?.insert(batch)
    }

    /// Deletes rows by the ids that scans of [`Transaction::version`] gave. Says how many it was: a row named twice, or
    /// deleted by this transaction before, counts once.
    ///
    /// # Errors
    /// `undefined_table`; `internal` when an id was never a row of the transaction's version.
    pub fn delete(&mut self, table: &ObjectName, rows: &[RowId]) -> Result<u64, Refusal> {
        self.pending(table)?.delete(rows)
    }

    /// Deletes all rows.
    ///
    /// # Errors
    /// `undefined_table`.
    pub fn truncate(&mut self, table: &ObjectName) -> Result<(), Refusal> {
        self.pending(table)?.truncate();
        Ok(())
    }

    /// Returns the schema's OID.
    ///
    /// # Errors
    /// `duplicate_schema`.
    pub fn create_schema(&mut self, name: &str) -> Result<u32, Refusal> {
        // A name that is no identifier would not read back from its own file.
        ObjectName::new(name, name).map_err(|error| Refusal::new(Code::InvalidName, error.to_string()))?;
        let oid = self.space.fresh_oid();
        self.change_catalog(CatalogChange::CreateSchema { name: name.to_owned(), oid })?;
        Ok(oid)
    }

    /// # Errors
    /// `undefined_schema`; `dependent_objects` when it is not empty.
    pub fn drop_schema(&mut self, name: &str) -> Result<(), Refusal> {
        let oid = self
            .catalog()
            .schemas
            .get(name)
            .copied()
            .ok_or_else(|| Refusal::new(Code::UndefinedSchema, format!("schema \"{name}\" does not exist")))?;
        self.change_catalog(CatalogChange::DropSchema { name: name.to_owned(), oid })
    }

    /// # Errors
    /// `undefined_schema`, `duplicate_table`.
    pub fn create_table(&mut self, name: &ObjectName, schema: TableSchema) -> Result<TableId, Refusal> {
        let id = TableId(self.space.fresh_oid());
        let schema = Arc::new(schema);
        self.change_catalog(CatalogChange::CreateTable { id, name: name.clone(), schema: Arc::clone(&schema) })?;
        let table = Arc::new(TableVersion::empty(id, name.clone(), schema, self.base.lsn));
        self.tables.insert(id, PendingTable::new_table(table, Arc::clone(&self.space)));
        Ok(id)
    }

    /// # Errors
    /// `undefined_table`; `wrong_object_type` for a view.
    pub fn drop_table(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        let id = self.table_id(name)?;
        self.change_catalog(CatalogChange::DropTable { id })?;
        self.tables.remove(&id);
        Ok(())
    }

    /// Returns the view's OID, which a replacement keeps.
    ///
    /// # Errors
    /// `undefined_schema`; `duplicate_table` unless `or_replace` and the name is a view's.
    pub fn create_view(
        &mut self,
        name: &ObjectName,
        sql: &str,
        columns: Vec<(String, ColumnType)>,
        owner: &str,
        or_replace: bool,
    ) -> Result<u32, Refusal> {
        let old = match self.catalog().relations.get(name) {
            Some(Relation::View(view)) if or_replace => Some((view.oid, view.revision)),
            Some(Relation::Table(_)) if or_replace => {
                return Err(Refusal::new(Code::WrongObjectType, format!("\"{}\" is not a view", name.name())));
            }
            _ => None,
        };
        let (oid, revision) = match old {
            Some((oid, revision)) => (oid, revision + 1),
            None => (self.space.fresh_oid(), 0),
        };
        let (name, sql, owner) = (name.clone(), sql.to_owned(), owner.to_owned());
        let view = Arc::new(View { oid, name, sql, columns, owner, revision });
        self.change_catalog(CatalogChange::CreateView { view, replaces: old.map(|(_, revision)| revision) })?;
        Ok(oid)
    }

    /// # Errors
    /// `undefined_table`; `wrong_object_type` for a table.
    pub fn drop_view(&mut self, name: &ObjectName) -> Result<(), Refusal> {
        let oid = match self.catalog().relations.get(name) {
            Some(Relation::View(view)) => view.oid,
            Some(Relation::Table(_)) => {
                return Err(Refusal::new(Code::WrongObjectType, format!("\"{}\" is not a view", name.name())));
            }
            None => return Err(undefined("view", name)),
        };
        self.change_catalog(CatalogChange::DropView { name: name.clone(), oid })
    }

    /// The base and all changes against it.
    pub(crate) fn into_change(self) -> (Arc<Version>, Change) {
        let mut tables: Vec<_> = self.tables.into_values().filter(|pending| !pending.is_empty()).collect();
        tables.sort_by_key(PendingTable::id);
        let tables = tables.into_iter().map(PendingTable::into_change).collect();
        (self.base, Change { catalog: self.catalog_changes, tables })
    }
}
