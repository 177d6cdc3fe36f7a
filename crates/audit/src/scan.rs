use std::{path::Path, sync::Arc};

use ahash::AHashMap;
use arrow::record_batch::RecordBatch;
use serde::Deserialize;
use weir_model::OrgName;

use crate::{
    AuditError, Journal,
    chain::{self, Chained, Link},
    form::{Forms, STATES_FORM},
    layout::Layout,
    reader::Reader,
    rows::{Rows, Told},
    stored::Record,
};

const ROWS_PER_BATCH: usize = 8_192;
const BYTES_PER_BATCH: usize = 8 << 20;

/// The journal's records as batches of [`crate::schema`], oldest first.
#[derive(Debug)]
pub struct Scan {
    reader: Reader,
    org: Option<OrgName>,
    since_ns: u64,
    from: u64,
    statements: Statements,
    done: bool,
}

/// What records on the way said of statements, for those that refer to it.
#[derive(Debug, Default)]
struct Statements {
    /// Of statements whose outcome has not come yet.
    running: AHashMap<String, Told>,
    forms: Forms<Told>,
}

/// What a statement was charged, as its outcome recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub org: OrgName,
    pub agent: Arc<str>,
    pub unix_seconds: i64,
    pub milli_credits: u64,
    pub rows: u64,
}

/// The charges in the journal, oldest first.
#[derive(Debug)]
pub struct Charges {
    reader: Reader,
    since_ns: u64,
    done: bool,
}

impl Journal {
    /// Every record of an org, or of all with `None`, up to what is written now. Records that belong to no org are
    /// only among all.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn scan(&self, org: Option<&OrgName>) -> Result<Scan, AuditError> {
        self.scan_from(org, 0)
    }

    /// [`Journal::scan`] without the records before an index, and without reading the files that hold only such, apart
    /// from the one before the first. An outcome whose intent lies before that repeats nothing of it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn scan_from(&self, org: Option<&OrgName>, record: u64) -> Result<Scan, AuditError> {
        let mut files = self.core().extent();
        let first = files.iter().rposition(|file| file.first <= record).unwrap_or(0);
        // Records refer to forms of their own file, or of the one before.
        files.drain(..first.saturating_sub(1));
        let reader = Reader::open(self.core().layout().clone(), files)?;
        Ok(Scan { from: record, ..Scan::new(reader, org.cloned(), 0) })
    }

    /// What statements were charged since a time, from which balances are restored.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn settled(&self, since_unix_seconds: i64) -> Result<Charges, AuditError> {
        let reader = Reader::open(self.core().layout().clone(), self.core().extent())?;
        Ok(Charges { reader, since_ns: nanoseconds(since_unix_seconds), done: false })
    }
}

pub(crate) fn nanoseconds(unix_seconds: i64) -> u64 {
    u64::try_from(unix_seconds).unwrap_or(0).saturating_mul(1_000_000_000)
}

impl Statements {
    /// What is told of the record's statement: by it, by the record of its intent, or by one whose form it has.
    fn told(&mut self, record: &Record<'_>) -> Told {
        let statement = record.statement.as_deref().unwrap_or_default();
        if record.record == "outcome" {
            return self.running.remove(statement).unwrap_or_default();
        }
        let told = match record.as_form {
            Some(number) => self.forms.get(&record.session, number).cloned().unwrap_or_default(),
            None => Told::of(record),
        };
        if let Some(number) = record.form {
            self.forms.put(&record.session, number, told.clone());
        }
        if record.record == "intent" {
            self.running.insert(statement.to_owned(), told.clone());
        }
        if record.ends_session() {
            self.forms.forget(&record.session);
        }
        told
    }
}

impl Scan {
    fn new(reader: Reader, org: Option<OrgName>, since_ns: u64) -> Scan {
        Scan { reader, org, since_ns, from: 0, statements: Statements::default(), done: false }
    }

    pub(crate) fn of_folder(data: &Path, org: Option<OrgName>, since_ns: u64) -> Result<Scan, AuditError> {
        Ok(Scan::new(Reader::of_folder(Layout::new(data))?, org, since_ns))
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>, AuditError> {
        let mut rows = Rows::default();
        while rows.count() < ROWS_PER_BATCH && rows.bytes() < BYTES_PER_BATCH {
            let Some(stored) = self.reader.next()? else {
                self.done = true;
                break;
            };
            if stored.index < self.from && !is_referred_to(stored.payload) {
                continue;
            }
            let record = parse(stored.index, stored.payload)?;
            if self.org.as_ref().is_some_and(|org| record.org.as_deref() != Some(org.as_str())) {
                continue;
            }
            let told = self.statements.told(&record);
            if record.time >= self.since_ns && stored.index >= self.from {
                rows.push(stored.index, &stored.leaf(), &record, &told);
            }
        }
        if rows.count() == 0 { Ok(None) } else { rows.finish().map(Some) }
    }
}

impl Iterator for Scan {
    type Item = Result<RecordBatch, AuditError>;

    fn next(&mut self) -> Option<Result<RecordBatch, AuditError>> {
        if self.done {
            return None;
        }
        let batch = self.batch();
        self.done |= batch.is_err();
        batch.transpose()
    }
}

impl Charges {
    fn charge(&mut self) -> Result<Option<Settled>, AuditError> {
        #[derive(Deserialize)]
        struct Charge<'a> {
            time: u64,
            #[serde(borrow)]
            org: std::borrow::Cow<'a, str>,
            #[serde(borrow)]
            agent: std::borrow::Cow<'a, str>,
            settled: u64,
            rows: u64,
            outcome: std::borrow::Cow<'a, str>,
        }
        while let Some(stored) = self.reader.next()? {
            if !matches!(chain::read(stored.payload), Some(Chained { link: Link::Outcome(_) | Link::Whole(_), .. })) {
                continue;
            }
            let charge: Charge<'_> =
                serde_json::from_slice(stored.payload).map_err(|error| unreadable(stored.index, &error))?;
            // What was refused or abandoned never came to a charge.
            if charge.time < self.since_ns || (charge.settled == 0 && charge.outcome != "ok") {
                continue;
            }
            let Ok(org) = OrgName::new(&charge.org) else { continue };
            return Ok(Some(Settled {
                org,
                agent: charge.agent.as_ref().into(),
                unix_seconds: i64::try_from(charge.time / 1_000_000_000).unwrap_or(i64::MAX),
                milli_credits: charge.settled,
                rows: charge.rows,
            }));
        }
        Ok(None)
    }
}

impl Iterator for Charges {
    type Item = Result<Settled, AuditError>;

    fn next(&mut self) -> Option<Result<Settled, AuditError>> {
        if self.done {
            return None;
        }
        let charge = self.charge();
        self.done = !matches!(charge, Ok(Some(_)));
        charge.transpose()
    }
}

/// Whether a later record may need what this one says. Never missed; what a client's text holds may be mistaken for it.
fn is_referred_to(payload: &[u8]) -> bool {
    let states_form = || payload.windows(STATES_FORM.len()).any(|bytes| bytes == STATES_FORM);
    matches!(chain::read(payload), Some(Chained { link: Link::Intent(_), .. })) || states_form()
}

pub(crate) fn parse(index: u64, payload: &[u8]) -> Result<Record<'_>, AuditError> {
    serde_json::from_slice(payload).map_err(|error| unreadable(index, &error))
}

fn unreadable(index: u64, error: &serde_json::Error) -> AuditError {
    AuditError::corrupt("the log", None, format!("record {index} cannot be read: {error}"))
}
