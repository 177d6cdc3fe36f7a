//! The tables of an org: versions, commits, the log, segments, flushing, recovery, the cache of what is read.
//!
//! The state of a database is an immutable [`Version`]: for each table a schema and a list of immutable segments, hot
//! ones in memory as Arrow and cold ones in Parquet files, each with a mask of deleted rows. A reader holds a version;
//! it is never blocked and never sees half a commit. A [`Transaction`] gathers changes against a version, and
//! [`Database::commit`] checks them, appends them to the log, syncs once for all commits that wait, and publishes the
//! next version.
//!
//! Invariants:
//! - A commit that was acknowledged survives `kill -9` and, with `fsync`, power loss. After a failed write or sync of
//!   the log nothing more is committed until a restart; nothing is retried.
//! - Versions follow each other in the order of their log sequence numbers. First committer wins.
//! - A row keeps its [`RowId`] for life; flushing and merging move bytes, not rows.
//! - Every byte read from a file is checked against a checksum before it is believed. Damage is named, with its file
//!   and place, and never passed over. A file that is missing or cut stops the opening; a flipped bit in a segment
//!   keeps only the rows next to it from being read.
//! - The log holds rows and positions, never SQL text.
//!
//! It is not: a query engine (it scans, looks up and takes), an authority on who may read what, or a place that knows
//! the SQL of defaults and views, which it keeps as text.
//!
//! Commit rules (`commit`, `catalog`), log and row layouts (`wal`, `columns`) are plain functions over plain data;
//! files, threads and clocks are in `database`, `committer`, `flush`, `housekeeping` and `recovery`.

mod cache;
mod catalog;
mod columns;
mod commit;
mod committer;
mod database;
mod error;
mod files;
mod flush;
mod housekeeping;
mod index;
mod key;
mod manifest;
mod recovery;
mod scan;
mod schema;
mod segment;
mod shelf;
mod table;
#[cfg(test)]
mod testing;
mod transaction;
mod version;
mod wal;

pub use self::{
    cache::{CacheFigures, SegmentCache},
    database::{Database, StoreOptions},
    error::StoreError,
    files::{LocalLogStorage, LogFile, LogStorage},
    scan::{Blocks, ROW_ID_COLUMN, ScanUnit},
    schema::{COLUMNS_MAX, Column, TableSchema, arrow_field, arrow_type, column_type_of},
    segment::{
        BLOCK_ROWS, CHUNK_ROWS, SEGMENT_ROWS_MAX,
        statistics::{ColumnStatistics, TableStatistics},
        zones::ColumnZones,
    },
    table::{RowId, TableId, TableVersion},
    transaction::Transaction,
    version::{FIRST_OID, Relation, Version, View},
};
