use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use chrono::{DateTime, NaiveDate};
use clap::{Args, Subcommand, ValueEnum};
use weir_audit::{ExportFilter, ExportFormat, VerifyOptions, export, verify_with};
use weir_model::OrgName;

use super::table;
use crate::failure::Failure;

/// Verify and export the audit journal.
#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Prove that the journal is whole, or name what was changed, cut, dropped or swapped; needs no server
    Verify(Verify),
    /// Write the journal's records to a file or to stdout
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The data folder that holds the journal
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// A checkpoint kept elsewhere: what it saw must still be there
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The data folder that holds the journal
    #[arg(value_name = "DIR")]
    data: PathBuf,
    #[arg(long, value_enum)]
    format: Format,
    /// Only this org's records
    #[arg(long, value_parser = OrgName::new)]
    org: Option<OrgName>,
    /// Only records from this time on: 2026-01-31 or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<i64>,
    /// Where to [default: stdout]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON lines
    Jsonl,
    Parquet,
}

impl Audit {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Audit::Verify(verify) => verify.run(),
            Audit::Export(export) => export.run(),
        }
    }
}

impl Verify {
    fn run(self) -> Result<(), Failure> {
        let report = verify_with(&self.data, &VerifyOptions { key: None, witness: self.checkpoint });
        table::print(&format!("{report}\n"))?;
        let faults = report.faults.len();
        if report.is_ok() {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "the journal is not whole: {faults} {}",
                if faults == 1 { "fault" } else { "faults" }
            )))
        }
    }
}

impl Export {
    fn run(self) -> Result<(), Failure> {
        let filter = ExportFilter { org: self.org, since_unix_seconds: self.since };
        let format = match self.format {
            Format::Jsonl => ExportFormat::JsonLines,
            Format::Parquet => ExportFormat::Parquet,
        };
        let records = match &self.output {
            Some(path) => {
                let file = File::create(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
                let mut out = io::BufWriter::new(file);
                let records = export(&self.data, &filter, format, &mut out)?;
                out.into_inner().map_err(|error| Failure::new(error.error()))?.sync_all()?;
                records
            }
            None => {
                let mut out = io::BufWriter::new(io::stdout());
                let records = export(&self.data, &filter, format, &mut out)?;
                out.flush()?;
                records
            }
        };
        eprintln!("{records} {} exported", if records == 1 { "record" } else { "records" });
        Ok(())
    }
}

/// Unix seconds of a day's beginning or a time, in UTC unless it says otherwise.
fn instant(text: &str) -> Result<i64, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        if time.timestamp_subsec_nanos() > 0 {
            return Err("a time is given to the second".to_owned());
        }
        return Ok(time.timestamp());
    }
    let day: NaiveDate = text.parse().map_err(|_| "a time is written 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())?;
    Ok(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_days_or_instants() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(super::instant(text).ok(), expected, "{text}");
        check("1970-01-02", Some(86_400));
        check("1970-01-01T01:00:00+01:00", Some(0));
        check("1970-01-01T00:00:01Z", Some(1));
        check("1970-01-01T00:00:01.5Z", None);
        check("yesterday", None);
    }
}
