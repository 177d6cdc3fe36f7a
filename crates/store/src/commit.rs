//! What a commit may do and what it does: rules over plain data, without files, locks or clocks. The committer runs
//! them on the changes of transactions, recovery on what the log kept of them.

use std::{collections::HashMap, sync::Arc};

use roaring::{RoaringBitmap, RoaringTreemap};
use weir_model::{Code, ObjectName, Refusal};

use crate::{
    CHUNK_ROWS, StoreError, TableId, TableVersion, Version,
    catalog::CatalogChange,
    index::{PrimaryIndex, Run},
    segment::{Entry, hot::merge_tail, is_live},
    table::key_is,
    version::Catalog,
};

/// All that one transaction changes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub catalog: Vec<CatalogChange>,
    pub tables: Vec<TableChange>,
}

/// What a transaction changes in one table: the old rows go first, then the new ones come.
#[derive(Debug)]
pub(crate) struct TableChange {
    pub table: TableId,
    pub truncate: bool,
    /// Committed rows.
    pub deleted: RoaringTreemap,
    /// New rows, counted from zero; the commit numbers them from the table's next row on.
    pub pieces: Vec<Entry>,
    /// Keys of the new rows, dead ones too; only a table with a primary key has any.
    pub keys: Option<Arc<Run>>,
}

/// The next version while a group of commits builds it. Each commit is checked against those before it.
#[derive(Debug)]
pub(crate) struct Builder {
    base: Arc<Version>,
    lsn: u64,
    time: i64,
    catalog: Arc<Catalog>,
    catalog_version: u64,
    touched: HashMap<TableId, Touched>,
    dropped: Vec<TableId>,
}

#[derive(Debug)]
struct Touched {
    table: TableVersion,
    /// Entries from here on are this group's.
    fresh: usize,
    shrunk: bool,
}

/// Hot neighbours are merged up to this many rows; flushing makes the larger segments.
const MERGED_ROWS_MAX: usize = CHUNK_ROWS;
/// While replaying a log, merge after this many pieces rather than once at its end.
const FRESH_PIECES_MAX: usize = 512;

impl Builder {
    pub fn new(base: Arc<Version>) -> Builder {
        Builder {
            lsn: base.lsn,
            time: base.time,
            catalog: Arc::clone(&base.catalog),
            catalog_version: base.catalog_version,
            touched: HashMap::new(),
            dropped: Vec::new(),
            base,
        }
    }

    pub fn table(&self, id: TableId) -> Option<&TableVersion> {
        if !self.catalog.tables.contains_key(&id) {
            return None;
        }
        let touched = self.touched.get(&id).map(|touched| &touched.table);
        touched.or_else(|| self.base.table_by_id(id).map(AsRef::as_ref))
    }

    /// Sets the time of the commits that follow. Time does not run backwards, whatever the clock does.
    pub fn set_time(&mut self, time: i64) -> i64 {
        self.time = self.time.max(time);
        self.time
    }

    /// Whether a change made on `base` still fits. First committer wins: a row, name or key that an earlier commit took
    /// is not taken again.
    ///
    /// # Errors
    /// `serialization_failure` when rows or names changed under the transaction, `unique_violation` when a key was
    /// committed meanwhile.
    pub fn check(&self, change: &Change, base: &Version) -> Result<(), Refusal> {
        let mut created = Vec::new();
        if !change.catalog.is_empty() {
            let mut catalog = self.catalog.as_ref().clone();
            for step in &change.catalog {
                catalog
                    .change(step)
                    .map_err(|refusal| conflict("a concurrent change of the catalog").detail(refusal.message()))?;
                if let CatalogChange::CreateTable { id, .. } = step {
                    created.push(*id);
                }
            }
        }
        for change in &change.tables {
            if created.contains(&change.table) {
                continue;
            }
            let latest = self.table(change.table).ok_or_else(|| conflict("a concurrent drop of a table"))?;
            check_table(change, latest, base.table_by_id(change.table).map(AsRef::as_ref))?;
        }
        Ok(())
    }

    /// Makes a checked change, as the commit of that LSN.
    ///
    /// # Errors
    /// Never after [`Builder::check`]; from a log, a refusal means that the log does not belong to the base.
    pub fn apply(&mut self, change: Change, lsn: u64) -> Result<(), Refusal> {
        self.change_catalog(&change.catalog, lsn)?;
        self.lsn = lsn;
        for change in change.tables {
            let Some(touched) = self.touch(change.table) else {
                return Err(Refusal::new(Code::UndefinedTable, "the table does not exist"));
            };
            touched.apply(change, lsn);
        }
        Ok(())
    }

    fn change_catalog(&mut self, steps: &[CatalogChange], lsn: u64) -> Result<(), Refusal> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut catalog = self.catalog.as_ref().clone();
        for step in steps {
            catalog.change(step)?;
            match step {
                CatalogChange::CreateTable { id, name, schema } => {
                    let table = TableVersion::empty(*id, name.clone(), Arc::clone(schema), lsn);
                    self.touched.insert(*id, Touched { table, fresh: 0, shrunk: false });
                }
                CatalogChange::DropTable { id } => {
                    self.touched.remove(id);
                    self.dropped.push(*id);
                }
                _ => {}
            }
        }
        self.catalog = Arc::new(catalog);
        self.catalog_version = lsn;
        Ok(())
    }

    fn touch(&mut self, id: TableId) -> Option<&mut Touched> {
        if !self.catalog.tables.contains_key(&id) {
            return None;
        }
        match self.touched.entry(id) {
            std::collections::hash_map::Entry::Occupied(known) => Some(known.into_mut()),
            std::collections::hash_map::Entry::Vacant(new) => {
                let table = self.base.table_by_id(id)?.fork();
                Some(new.insert(Touched { fresh: table.entries.len(), table, shrunk: false }))
            }
        }
    }

    /// Puts a table's segments in the place of those that hold the same rows. For flushing; changes no row.
    pub fn replace(&mut self, id: TableId, replace: impl FnOnce(&mut TableVersion)) {
        if let Some(touched) = self.touch(id) {
            replace(&mut touched.table);
            touched.fresh = touched.table.entries.len();
            touched.shrunk = true;
        }
    }

    /// The version after the group.
    pub fn finish(mut self) -> Version {
        let mut version = self.base.as_ref().clone();
        version.id += 1;
        version.lsn = self.lsn;
        version.time = self.time;
        version.catalog = self.catalog;
        version.catalog_version = self.catalog_version;
        self.dropped.sort_unstable();
        version.tables.retain(|table| self.dropped.binary_search(&table.id).is_err());
        for (_, mut touched) in self.touched {
            touched.settle();
            version.put_table(Arc::new(touched.table));
        }
        version
    }
}

impl Touched {
    fn apply(&mut self, change: TableChange, lsn: u64) {
        let table = &mut self.table;
        if change.truncate {
            table.entries.clear();
            table.index = PrimaryIndex::empty(table.next_row);
            self.fresh = 0;
        }
        for (index, positions) in by_segment(&table.entries, &change.deleted) {
            if let Some(entry) = table.entries.get_mut(index) {
                entry.delete(&positions);
                self.shrunk = true;
            }
        }
        table.lsn = lsn;
        let first_row = table.next_row;
        for mut piece in change.pieces {
            piece.first_row += first_row;
            table.next_row = piece.end();
            table.entries.push(piece);
        }
        if let Some(keys) = change.keys {
            let entries = &table.entries;
            let rows = table.next_row - first_row;
            table.index.extend(first_row, rows, &keys, lsn, |row| !is_live(entries, row));
        }
        if table.entries.len() - self.fresh.min(table.entries.len()) > FRESH_PIECES_MAX {
            self.settle();
        }
    }

    /// Merges what the group added and drops segments of which no row lives.
    fn settle(&mut self) {
        let entries = &mut self.table.entries;
        if self.fresh < entries.len()
            && let Err(error) = merge_tail(entries, self.fresh, MERGED_ROWS_MAX)
        {
            // The rows are all there, in more pieces than need be.
            tracing::warn!(%error, "could not merge segments in memory");
        }
        if self.shrunk {
            entries.retain(|entry| entry.live_rows() > 0);
        }
        self.fresh = entries.len();
        self.shrunk = false;
    }
}

/// The rows of a set, by the segment that holds them: its index, and their positions in it. Rows in no segment are left
/// out.
pub(crate) fn by_segment(entries: &[Entry], rows: &RoaringTreemap) -> Vec<(usize, RoaringBitmap)> {
    let mut found: Vec<(usize, RoaringBitmap)> = Vec::new();
    let mut index = 0;
    let mut positions = RoaringBitmap::new();
    let inside = |index: usize, row: u64| {
        entries.get(index).filter(|entry| entry.first_row <= row && row < entry.end()).map(|entry| entry.first_row)
    };
    for row in rows {
        let mut first_row = inside(index, row);
        if first_row.is_none() {
            if !positions.is_empty() {
                found.push((index, std::mem::take(&mut positions)));
            }
            index = entries.partition_point(|entry| entry.end() <= row);
            first_row = inside(index, row);
        }
        if let Some(position) = first_row.and_then(|first_row| u32::try_from(row - first_row).ok()) {
            positions.insert(position);
        }
    }
    if !positions.is_empty() {
        found.push((index, positions));
    }
    found
}

fn check_table(change: &TableChange, latest: &TableVersion, base: Option<&TableVersion>) -> Result<(), Refusal> {
    let base = base.ok_or_else(|| conflict("a concurrent drop of a table"))?;
    if base.lsn == latest.lsn {
        return Ok(());
    }
    if change.truncate {
        return Err(conflict("a concurrent change of a truncated table"));
    }
    let mut living = 0;
    for (index, positions) in by_segment(&latest.entries, &change.deleted) {
        let deleted = latest.entries.get(index).and_then(|entry| entry.deleted.as_deref());
        if deleted.is_some_and(|deleted| !deleted.is_disjoint(&positions)) {
            return Err(conflict("a concurrent update"));
        }
        living += positions.len();
    }
    if living < change.deleted.len() {
        return Err(conflict("a concurrent delete"));
    }
    match &change.keys {
        Some(keys) if latest.next_row > base.next_row => check_keys(change, keys, latest, base),
        _ => Ok(()),
    }
}

/// The transaction checked its keys against its base; what is left are the rows committed since, all of which have ids
/// from the base's next row on.
fn check_keys(change: &TableChange, keys: &Run, latest: &TableVersion, base: &TableVersion) -> Result<(), Refusal> {
    latest.ensure_index()?;
    let mut encoded = Vec::new();
    for (hash, row) in keys.iter() {
        let candidates = latest.index.candidates(hash);
        let mut others =
            candidates.rows.into_iter().filter(|&row| row >= base.next_row && is_live(&latest.entries, row)).peekable();
        if others.peek().is_none() || !is_live(&change.pieces, row) {
            continue;
        }
        encode_stored_key(change, latest, row, &mut encoded)?;
        for other in others {
            let Some((entry, position)) = crate::segment::locate(&latest.entries, other) else { continue };
            if key_is(&latest.schema, entry, position, &encoded)? {
                return Err(duplicate_key(&latest.name));
            }
        }
    }
    Ok(())
}

fn encode_stored_key(
    change: &TableChange,
    table: &TableVersion,
    row: u64,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    out.clear();
    let Some((entry, position)) = crate::segment::locate(&change.pieces, row) else {
        return Err(StoreError::NoSuchRow(row));
    };
    for (index, _) in table.schema.key_columns() {
        let (array, place) = entry.body.cell(index, position)?;
        crate::key::KeyColumn::of(&array)?.encode(place, out);
    }
    Ok(())
}

fn conflict(because: &str) -> Refusal {
    Refusal::new(Code::SerializationFailure, format!("could not serialize access due to {because}"))
        .hint("retry the transaction")
}

/// As PostgreSQL says it, but without the key's values: the other row may be one the reader must not see.
pub(crate) fn duplicate_key(table: &ObjectName) -> Refusal {
    let constraint = format!("{}_pkey", table.name());
    let message = format!("duplicate key value violates unique constraint \"{constraint}\"");
    Refusal::new(Code::UniqueViolation, message).detail(format!("constraint={constraint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        segment::{Body, hot::Hot},
        testing,
    };

    fn entry(first_row: u64, rows: i64) -> Entry {
        let body = Body::hot(&testing::orders_schema(), Hot::new(testing::orders(0, rows)));
        Entry { first_row, body, deleted: None }
    }

    #[test]
    fn rows_are_found_in_their_segments() {
        let entries = [entry(0, 10), entry(10, 5), entry(100, 3)];
        let check = |rows: &[u64], expected: &[(usize, &[u32])]| {
            let found = by_segment(&entries, &rows.iter().copied().collect());
            let expected: Vec<_> =
                expected.iter().map(|(index, positions)| (*index, positions.iter().copied().collect())).collect();
            assert_eq!(found, expected, "{rows:?}");
        };
        check(&[], &[]);
        check(&[0, 9], &[(0, &[0, 9])]);
        check(&[3, 10, 14, 15, 99, 100], &[(0, &[3]), (1, &[0, 4]), (2, &[0])]);
        check(&[15, 16, 103, 1 << 50], &[]);
        check(&[16, 102], &[(2, &[2])]);
    }

    #[test]
    fn a_group_sees_its_earlier_commits_and_numbers_rows_in_their_order() {
        let name = ObjectName::new("public", "orders").unwrap();
        let schema = testing::orders_schema();
        let create = CatalogChange::CreateTable { id: TableId(9), name: name.clone(), schema };
        let mut builder = Builder::new(Arc::new(Version::initial()));
        builder.apply(Change { catalog: vec![create], tables: Vec::new() }, 1).unwrap();
        let base = builder.finish();
        let insert = |ids: &[i64]| {
            let body = Body::hot(&testing::orders_schema(), Hot::new(testing::orders_of(ids)));
            let pieces = vec![Entry { first_row: 0, body, deleted: None }];
            let mut keys = Run::default();
            for (row, id) in ids.iter().enumerate() {
                keys.insert(crate::key::hash_key(&id.to_le_bytes()), row as u64);
            }
            let deleted = RoaringTreemap::new();
            let keys = Some(Arc::new(keys));
            let table = TableChange { table: TableId(9), truncate: false, deleted, pieces, keys };
            Change { catalog: Vec::new(), tables: vec![table] }
        };
        let mut group = Builder::new(Arc::new(base.clone()));
        group.check(&insert(&[1, 2]), &base).unwrap();
        group.apply(insert(&[1, 2]), 2).unwrap();
        let refusal = group.check(&insert(&[3, 2]), &base).unwrap_err();
        assert_eq!(refusal.code(), Code::UniqueViolation);
        group.check(&insert(&[3]), &base).unwrap();
        group.apply(insert(&[3]), 3).unwrap();
        let version = group.finish();
        let table = version.table(&name).unwrap();
        assert_eq!((version.lsn, table.row_count(), table.entries.len()), (3, 3, 1));
        for (row, key) in [1, 2, 3].into_iter().enumerate() {
            let found = table.lookup(&[weir_model::Value::BigInt(key)]).unwrap();
            assert_eq!(found, Some(crate::RowId(row as u64)));
        }
        assert_eq!(base.table(&name).unwrap().lookup(&[weir_model::Value::BigInt(1)]).unwrap(), None);
    }
}
