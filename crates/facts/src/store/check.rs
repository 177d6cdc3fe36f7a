//! Whether a store is what it should be, from its files alone.

use std::fmt;

use crate::{
    key::FactKey,
    store::{
        Reader, StoreError, block,
        engine::{Engine, Space},
        index::IndexBuilder,
        reader::Shared,
        record::{Check, NAMED},
        tally::{self, Tally},
    },
};

/// What a check of a whole store came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Checked {
    pub states: u64,
    pub lost: u64,
    pub metadata: u64,
    /// Empty: all is well.
    pub findings: Vec<Finding>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A record that is not what was written.
    Damaged { what: String },
    /// A lost value that is not in a row of its key.
    Misplaced { key: FactKey },
    /// A lost value of a key of which nothing is remembered.
    Orphan { key: FactKey },
    /// The indexes are not those of the states.
    Index,
    /// The records do not add up to what the commits wrote.
    Sum { keyspace: &'static str },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Damaged { what } => f.write_str(what),
            Finding::Misplaced { key } => write!(f, "the record of {key} is not where it belongs"),
            Finding::Orphan { key } => write!(f, "there are lost values of {key}, of which nothing else is remembered"),
            Finding::Index => f.write_str("the indexes are not those of the states"),
            Finding::Sum { keyspace } => write!(f, "the {keyspace} are not what the commits add up to"),
        }
    }
}

impl Reader {
    /// Reads every record and compares them with their places, the indexes and the sums. Commits wait until it is done.
    ///
    /// # Errors
    /// [`StoreError`]: the files could not be read. What is read and is wrong is a finding.
    pub fn check(&self) -> Result<Checked, StoreError> {
        let shared = &*self.0;
        let _none_under_way = shared.commit.lock();
        let index = shared.index.read();
        shared.with_engine(|engine| {
            let mut check = Checking { shared, engine, sums: Tally::default(), checked: Checked::default() };
            let rebuilt = check.live()?;
            check.history(&rebuilt)?;
            check.metadata()?;
            check.sums()?;
            if rebuilt.build() != *index {
                check.checked.findings.push(Finding::Index);
            }
            Ok(check.checked)
        })
    }
}

struct Checking<'a> {
    shared: &'a Shared,
    engine: &'a Engine,
    sums: Tally,
    checked: Checked,
}

impl Checking<'_> {
    fn damaged(&mut self, error: &StoreError) {
        self.checked.findings.push(Finding::Damaged { what: error.to_string() });
    }

    fn live(&mut self) -> Result<IndexBuilder, StoreError> {
        let (mut rebuilt, engine) = (IndexBuilder::default(), self.engine);
        let first = self.stored()?.unwrap_or_default().first;
        engine.scan_back(Space::Live, &block::row_of(first), |(row, record)| {
            let check = Check::of(&record);
            self.sums.live.add(check);
            if let Err(error) = rebuilt.add_record(&self.shared.records, &row, &record) {
                self.damaged(&error);
            }
            Ok(true)
        })?;
        self.checked.states = rebuilt.len() as u64;
        Ok(rebuilt)
    }

    fn history(&mut self, live: &IndexBuilder) -> Result<(), StoreError> {
        let engine = self.engine;
        engine.scan(Space::History, b"", false, |(row, record)| {
            self.sums.history.add(Check::of(&record));
            self.checked.lost += 1;
            match self.shared.records.read_lost(&row, &record) {
                Ok((key, _)) if !row.starts_with(&self.shared.records.history_prefix(&key)) => {
                    self.checked.findings.push(Finding::Misplaced { key });
                }
                Ok((key, _)) if !live.has(&key) => self.checked.findings.push(Finding::Orphan { key }),
                Ok(_) => {}
                Err(error) => self.damaged(&error),
            }
            Ok(true)
        })
    }

    fn metadata(&mut self) -> Result<(), StoreError> {
        let engine = self.engine;
        engine.scan(Space::Metadata, &[NAMED], false, |(row, record)| {
            self.sums.metadata.add(Check::of(&record));
            self.checked.metadata += 1;
            if let Err(error) = self.shared.records.read_metadata(&row, &record) {
                self.damaged(&error);
            }
            Ok(true)
        })
    }

    fn stored(&self) -> Result<Option<Tally>, StoreError> {
        let stored = self.engine.get(Space::Metadata, tally::ROW)?;
        Ok(stored.and_then(|bytes| Tally::from_bytes(&bytes)))
    }

    fn sums(&mut self) -> Result<(), StoreError> {
        let mut stored = self.stored()?.unwrap_or_default();
        for space in Space::ALL {
            if stored.of(space) != self.sums.of(space) {
                self.checked.findings.push(Finding::Sum { keyspace: space.name() });
            }
        }
        Ok(())
    }
}
