use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};
use weir_model::{ColumnType, ObjectName};

use crate::{TableId, TableVersion};

/// The first OID that is ours to give; PostgreSQL keeps those below for itself.
pub const FIRST_OID: u32 = 16_384;

/// A view: its text and the columns it had when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub oid: u32,
    pub name: ObjectName,
    /// The defining query, as SQL text.
    pub sql: String,
    pub columns: Vec<(String, ColumnType)>,
    /// The principal on whose authority the view reads.
    pub owner: String,
    /// Counts replacements.
    pub revision: u64,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Relation {
    Table(TableId),
    View(Arc<View>),
}

/// Names and definitions, without rows. Shared by all versions between two changes of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    /// Name to OID.
    pub schemas: BTreeMap<String, u32>,
    pub relations: BTreeMap<ObjectName, Relation>,
    /// By id; what a table's rows look like and how it is called.
    pub tables: BTreeMap<TableId, ObjectName>,
}

/// The whole state of a database at one instant: schemas, tables with their rows, views. Immutable and cheap to hold; a
/// reader that holds one is never blocked and sees nothing of later commits.
#[derive(Debug, Clone)]
pub struct Version {
    pub(crate) id: u64,
    pub(crate) lsn: u64,
    pub(crate) time: i64,
    pub(crate) catalog_version: u64,
    pub(crate) catalog: Arc<Catalog>,
    /// Sorted by id: a commit of rows copies this list of pointers and leaves the catalog alone.
    pub(crate) tables: Vec<Arc<TableVersion>>,
}

static PUBLIC: LazyLock<String> = LazyLock::new(|| ObjectName::DEFAULT_SCHEMA.to_owned());

impl Version {
    /// A new database: the schema `public`, and nothing in it.
    pub(crate) fn initial() -> Version {
        let catalog = Catalog { schemas: BTreeMap::from([(PUBLIC.clone(), FIRST_OID)]), ..Catalog::default() };
        Version { id: 1, lsn: 0, time: 0, catalog_version: 0, catalog: Arc::new(catalog), tables: Vec::new() }
    }

    /// Grows with every version published in this database; not shared by two.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The log sequence number of the last commit this version has.
    #[must_use]
    pub fn lsn(&self) -> u64 {
        self.lsn
    }

    /// When that commit was made, in microseconds since 1970 UTC; 0 before the first. Never less than in an earlier
    /// version.
    #[must_use]
    pub fn committed_at(&self) -> i64 {
        self.time
    }

    /// Equal between versions only if schemas, tables, views and their definitions are. Within a transaction that
    /// changed them, a number no other transaction has.
    #[must_use]
    pub fn catalog_version(&self) -> u64 {
        self.catalog_version
    }

    /// Names and OIDs, in order of name.
    pub fn schemas(&self) -> impl Iterator<Item = (&str, u32)> {
        self.catalog.schemas.iter().map(|(name, oid)| (name.as_str(), *oid))
    }

    #[must_use]
    pub fn has_schema(&self, name: &str) -> bool {
        self.catalog.schemas.contains_key(name)
    }

    #[must_use]
    pub fn relation(&self, name: &ObjectName) -> Option<&Relation> {
        self.catalog.relations.get(name)
    }

    #[must_use]
    pub fn table(&self, name: &ObjectName) -> Option<&Arc<TableVersion>> {
        match self.relation(name)? {
            Relation::Table(id) => self.table_by_id(*id),
            Relation::View(_) => None,
        }
    }

    #[must_use]
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<TableVersion>> {
        let index = self.tables.binary_search_by_key(&id, |table| table.id).ok()?;
        self.tables.get(index)
    }

    #[must_use]
    pub fn view(&self, name: &ObjectName) -> Option<&Arc<View>> {
        match self.relation(name)? {
            Relation::Table(_) => None,
            Relation::View(view) => Some(view),
        }
    }

    /// In order of name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<TableVersion>> {
        self.catalog.relations.values().filter_map(|relation| match relation {
            Relation::Table(id) => self.table_by_id(*id),
            Relation::View(_) => None,
        })
    }

    /// In order of name.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.catalog.relations.values().filter_map(|relation| match relation {
            Relation::Table(_) => None,
            Relation::View(view) => Some(view),
        })
    }

    pub(crate) fn hot_bytes(&self) -> usize {
        self.tables.iter().map(|table| table.hot_bytes()).sum()
    }

    pub(crate) fn put_table(&mut self, table: Arc<TableVersion>) {
        match self.tables.binary_search_by_key(&table.id, |known| known.id) {
            Ok(index) => {
                if let Some(place) = self.tables.get_mut(index) {
                    *place = table;
                }
            }
            Err(index) => self.tables.insert(index, table),
        }
    }
}
