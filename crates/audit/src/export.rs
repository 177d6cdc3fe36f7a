use std::{io::Write, path::Path, str::FromStr};

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use weir_model::OrgName;

use crate::{
    AuditError,
    form::Forms,
    layout::Layout,
    reader::{Reader, Stored},
    rows::schema,
    scan::{Scan, nanoseconds, parse},
};

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportFormat {
    /// One object a line: `index`, `leaf`, `salt`, and the record byte for byte, so that its leaf can be computed again.
    /// A record that says `"as":3` has the fields of the newest one before it in its session that says `"form":3`, which
    /// is exported with it however old.
    JsonLines,
    /// The columns of [`schema`].
    Parquet,
}

impl FromStr for ExportFormat {
    type Err = AuditError;

    fn from_str(text: &str) -> Result<ExportFormat, AuditError> {
        match text {
            "jsonl" | "jsonlines" | "json-lines" => Ok(ExportFormat::JsonLines),
            "parquet" => Ok(ExportFormat::Parquet),
            _ => Err(AuditError::Export(format!("`{text}` is not a format; there are `jsonl` and `parquet`"))),
        }
    }
}

/// Which records an export holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportFilter {
    /// Records of this org only; without, also those of no org.
    pub org: Option<OrgName>,
    pub since_unix_seconds: Option<i64>,
}

/// Writes a journal's records out, from its files, whether or not a server writes them. Returns how many.
///
/// # Errors
/// When the journal cannot be read or `out` not be written.
pub fn export(
    data: &Path,
    filter: &ExportFilter,
    format: ExportFormat,
    out: impl Write + Send,
) -> Result<u64, AuditError> {
    match format {
        ExportFormat::JsonLines => json_lines(data, filter, out),
        ExportFormat::Parquet => parquet(data, filter, out),
    }
}

fn json_lines(data: &Path, filter: &ExportFilter, mut out: impl Write) -> Result<u64, AuditError> {
    let since = nanoseconds(filter.since_unix_seconds.unwrap_or(0));
    let mut reader = Reader::of_folder(Layout::new(data))?;
    let mut records = 0;
    // Lines that are too old, but that later ones refer to.
    let mut older: Forms<Vec<u8>> = Forms::default();
    while let Some(stored) = reader.next()? {
        let record = parse(stored.index, stored.payload)?;
        if filter.org.as_ref().is_some_and(|org| record.org.as_deref() != Some(org.as_str())) {
            continue;
        }
        if record.ends_session() {
            older.forget(&record.session);
        }
        let is_older = record.time < since;
        if is_older && record.form.is_none() {
            continue;
        }
        let line = line(&stored);
        let stated = record.as_form.and_then(|number| older.take(&record.session, number));
        // Its number no longer means what an older line says.
        if let Some(number) = record.form {
            older.take(&record.session, number);
        }
        if is_older {
            older.put(&record.session, record.form.unwrap_or_default(), line);
            continue;
        }
        for line in stated.into_iter().chain([line]) {
            out.write_all(&line).map_err(AuditError::io("the export"))?;
            records += 1;
        }
    }
    out.flush().map_err(AuditError::io("the export"))?;
    Ok(records)
}

fn line(stored: &Stored<'_>) -> Vec<u8> {
    let head = format!(
        "{{\"index\":{},\"leaf\":\"{}\",\"salt\":\"{}\",\"record\":",
        stored.index,
        stored.leaf(),
        hex::encode(stored.salt)
    );
    [head.as_bytes(), stored.payload, b"}\n"].concat()
}

fn parquet(data: &Path, filter: &ExportFilter, out: impl Write + Send) -> Result<u64, AuditError> {
    let failed = |error: parquet::errors::ParquetError| AuditError::Export(error.to_string());
    let compression = Compression::ZSTD(ZstdLevel::try_new(3).map_err(failed)?);
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(out, schema(), Some(properties)).map_err(failed)?;
    let since = nanoseconds(filter.since_unix_seconds.unwrap_or(0));
    let mut records = 0;
    for batch in Scan::of_folder(data, filter.org.clone(), since)? {
        let batch = batch?;
        records += batch.num_rows() as u64;
        writer.write(&batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(records)
}
