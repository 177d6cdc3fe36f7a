//! Whether a store is what it should be, from its files alone.

use std::{collections::HashSet, fmt};

use crate::{
    key::FactKey,
    store::{
        Reader, StoreError,
        engine::{Engine, Space},
        index::{Index, IndexBuilder},
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
    /// A record that is not in the row of its name.
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
    /// Reads every record and compares it with its name, the indexes and the sums. Commits wait until it is done.
    ///
    /// # Errors
    /// [`StoreError`]: the files could not be read. What is read and is wrong is a finding.
    pub fn check(&self) -> Result<Checked, StoreError> {
        let shared = &*self.0;
        let index = shared.index.read();
        shared.with_engine(|engine| {
            let mut check = Checking { shared, engine, sums: Tally::default(), checked: Checked::default() };
            let keys = check.live(&index)?;
            check.history(&keys)?;
            check.metadata()?;
            check.sums()?;
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

    fn live(&mut self, index: &Index) -> Result<HashSet<FactKey>, StoreError> {
        let (mut rebuilt, mut keys, engine) = (IndexBuilder::default(), HashSet::new(), self.engine);
        engine.scan(Space::Live, b"", false, |(row, record)| {
            let check = Check::of(&record);
            self.sums.live.add(check);
            self.checked.states += 1;
            match self.shared.records.read_live(&row, &record) {
                Ok((key, state)) => {
                    if self.shared.records.live_row(&key) != row {
                        self.checked.findings.push(Finding::Misplaced { key: key.clone() });
                    }
                    // A key of two rows is misplaced in one of them.
                    if keys.insert(key.clone()) {
                        rebuilt.add(key, &state, check);
                    }
                }
                Err(error) => self.damaged(&error),
            }
            Ok(true)
        })?;
        if rebuilt.build() != *index {
            self.checked.findings.push(Finding::Index);
        }
        Ok(keys)
    }

    fn history(&mut self, keys: &HashSet<FactKey>) -> Result<(), StoreError> {
        let engine = self.engine;
        engine.scan(Space::History, b"", false, |(row, record)| {
            self.sums.history.add(Check::of(&record));
            self.checked.lost += 1;
            match self.shared.records.read_lost(&row, &record) {
                Ok((key, _)) if !row.starts_with(&self.shared.records.history_prefix(&key)) => {
                    self.checked.findings.push(Finding::Misplaced { key });
                }
                Ok((key, _)) if !keys.contains(&key) => self.checked.findings.push(Finding::Orphan { key }),
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

    fn sums(&mut self) -> Result<(), StoreError> {
        let stored = self.engine.get(Space::Metadata, tally::ROW)?;
        let mut stored = stored.and_then(|bytes| Tally::from_bytes(&bytes)).unwrap_or_default();
        for space in Space::ALL {
            if stored.of(space) != self.sums.of(space) {
                self.checked.findings.push(Finding::Sum { keyspace: space.name() });
            }
        }
        Ok(())
    }
}
