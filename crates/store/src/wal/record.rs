//! Records: what one transaction changes, as bytes.
//!
//! `format: u8`; the catalog's changes as a block of JSON (empty when there are none); then each table until the end:
//! id `u32`, schema revision `u32`, flags `u8`, deleted rows as a block (roaring, 64 bits) if flagged, the number of
//! pieces `u32`, and for each piece its kind `u8`, a block of its dead rows (roaring; empty when none) and a block of
//! its rows ([`crate::columns`]) or of the JSON that names a segment file.

use std::sync::Arc;

use roaring::{RoaringBitmap, RoaringTreemap};

use crate::{
    TableId,
    catalog::CatalogChange,
    columns::{Malformed, Reader, encode_block, encode_rows},
    commit::Change,
    segment::{Entry, cold::FileEntry},
};

const FORMAT: u8 = 1;
const FLAG_TRUNCATE: u8 = 1;
const FLAG_DELETED: u8 = 2;
const KIND_ROWS: u8 = 0;
const KIND_FILE: u8 = 1;

pub(crate) fn encode_record(change: &Change) -> Result<Vec<u8>, Malformed> {
    let mut out = vec![FORMAT];
    if change.catalog.is_empty() {
        encode_block(&[], &mut out)?;
    } else {
        let catalog = serde_json::to_vec(&change.catalog).map_err(|error| error.to_string())?;
        encode_block(&catalog, &mut out)?;
    }
    let mut part = Vec::new();
    for table in &change.tables {
        let revision = table.pieces.first().map_or(0, |piece| piece.body.schema().revision());
        out.extend_from_slice(&table.table.0.to_le_bytes());
        out.extend_from_slice(&revision.to_le_bytes());
        let deleted = if table.deleted.is_empty() { 0 } else { FLAG_DELETED };
        out.push(deleted | if table.truncate { FLAG_TRUNCATE } else { 0 });
        if deleted != 0 {
            part.clear();
            table.deleted.serialize_into(&mut part).map_err(|error| error.to_string())?;
            encode_block(&part, &mut out)?;
        }
        let pieces = u32::try_from(table.pieces.len()).map_err(|_| "too many pieces".to_owned())?;
        out.extend_from_slice(&pieces.to_le_bytes());
        for piece in &table.pieces {
            encode_piece(piece, &mut part, &mut out)?;
        }
    }
    Ok(out)
}

fn encode_piece(piece: &Entry, part: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let hot = piece.body.as_hot();
    out.push(if hot.is_some() { KIND_ROWS } else { KIND_FILE });
    part.clear();
    if let Some(deleted) = &piece.deleted {
        deleted.serialize_into(&mut *part).map_err(|error| error.to_string())?;
    }
    encode_block(part, out)?;
    part.clear();
    match (hot, piece.body.as_cold()) {
        (Some(hot), _) => encode_rows(hot.batch(), part)?,
        (None, Some(cold)) => *part = serde_json::to_vec(cold.entry()).map_err(|error| error.to_string())?,
        (None, None) => return Err("a segment is neither hot nor cold".to_owned()),
    }
    encode_block(part, out)
}

/// A record read back, its rows still bytes: what they look like is for the catalog to say, after the record's own
/// changes of it.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub catalog: Vec<CatalogChange>,
    pub tables: Vec<TableRecord<'a>>,
}

#[derive(Debug)]
pub(crate) struct TableRecord<'a> {
    pub table: TableId,
    pub revision: u32,
    pub truncate: bool,
    pub deleted: RoaringTreemap,
    pub pieces: Vec<PieceRecord<'a>>,
}

#[derive(Debug)]
pub(crate) struct PieceRecord<'a> {
    pub deleted: Option<Arc<RoaringBitmap>>,
    pub rows: PieceRows<'a>,
}

#[derive(Debug)]
pub(crate) enum PieceRows<'a> {
    Bytes(&'a [u8]),
    File(FileEntry),
}

impl<'a> Record<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, Malformed> {
        let mut reader = Reader { bytes };
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(format!("record format {format} is not known to this version of the program"));
        }
        let catalog = reader.block()?;
        let catalog = if catalog.is_empty() {
            Vec::new()
        } else {
            serde_json::from_slice(catalog).map_err(|error| error.to_string())?
        };
        let mut tables = Vec::new();
        while !reader.bytes.is_empty() {
            tables.push(TableRecord::decode(&mut reader)?);
        }
        Ok(Record { catalog, tables })
    }
}

impl<'a> TableRecord<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<TableRecord<'a>, Malformed> {
        let table = TableId(reader.u32()?);
        let revision = reader.u32()?;
        let flags = reader.u8()?;
        let deleted = if flags & FLAG_DELETED != 0 {
            RoaringTreemap::deserialize_from(reader.block()?).map_err(|error| error.to_string())?
        } else {
            RoaringTreemap::new()
        };
        let count = reader.u32()?;
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push(PieceRecord::decode(reader)?);
        }
        Ok(TableRecord { table, revision, truncate: flags & FLAG_TRUNCATE != 0, deleted, pieces })
    }
}

impl<'a> PieceRecord<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<PieceRecord<'a>, Malformed> {
        let kind = reader.u8()?;
        let deleted = reader.block()?;
        let deleted = if deleted.is_empty() {
            None
        } else {
            Some(Arc::new(RoaringBitmap::deserialize_from(deleted).map_err(|error| error.to_string())?))
        };
        let bytes = reader.block()?;
        let rows = match kind {
            KIND_ROWS => PieceRows::Bytes(bytes),
            KIND_FILE => PieceRows::File(serde_json::from_slice(bytes).map_err(|error| error.to_string())?),
            other => return Err(format!("unknown kind of piece {other}")),
        };
        Ok(PieceRecord { deleted, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{commit::TableChange, segment::Body, segment::hot::Hot, testing};

    fn change() -> Change {
        let schema = testing::orders_schema();
        let body = Body::hot(&schema, Hot::new(testing::orders(0, 3)));
        let name = weir_model::ObjectName::new("public", "orders").unwrap();
        Change {
            catalog: vec![CatalogChange::CreateTable { id: TableId(9), name, schema }],
            tables: vec![TableChange {
                table: TableId(9),
                truncate: true,
                deleted: RoaringTreemap::from_iter([1, 1 << 40]),
                pieces: vec![Entry { first_row: 0, body, deleted: Some(Arc::new(RoaringBitmap::from_iter([2]))) }],
                keys: None,
            }],
        }
    }

    #[test]
    fn records_read_back() {
        let bytes = encode_record(&change()).unwrap();
        let record = Record::decode(&bytes).unwrap();
        assert!(matches!(record.catalog.as_slice(), [CatalogChange::CreateTable { id: TableId(9), .. }]));
        let [table] = record.tables.as_slice() else { panic!("one table expected") };
        assert_eq!((table.table, table.revision, table.truncate), (TableId(9), 0, true));
        assert_eq!(table.deleted, RoaringTreemap::from_iter([1, 1 << 40]));
        let [piece] = table.pieces.as_slice() else { panic!("one piece expected") };
        assert_eq!(piece.deleted.as_deref(), Some(&RoaringBitmap::from_iter([2])));
        let PieceRows::Bytes(rows) = &piece.rows else { panic!("rows expected") };
        let rows = crate::columns::decode_rows(testing::orders_schema().arrow(), rows).unwrap();
        assert_eq!(rows, testing::orders(0, 3));
    }

    #[test]
    fn cut_or_altered_records_never_panic() {
        let bytes = encode_record(&change()).unwrap();
        for length in 0..bytes.len() {
            let _ = Record::decode(&bytes[..length]);
        }
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0xff;
            let _ = Record::decode(&altered);
        }
    }

    #[test]
    fn one_row_costs_few_bytes_more_than_its_values() {
        let schema = testing::orders_schema();
        let body = Body::hot(&schema, Hot::new(testing::orders(5, 1)));
        let pieces = vec![Entry { first_row: 0, body, deleted: None }];
        let deleted = RoaringTreemap::new();
        let table = TableChange { table: TableId(9), truncate: false, deleted, pieces, keys: None };
        let bytes = encode_record(&Change { catalog: Vec::new(), tables: vec![table] }).unwrap();
        assert!(bytes.len() < 90, "{}", bytes.len());
    }
}
