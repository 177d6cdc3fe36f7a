//! An org's facts in SQL: `facts.<namespace>`, one table for each namespace.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray},
    datatypes::{Schema, SchemaRef},
};
use weir_model::{Code, ColumnType, ObjectName, Refusal, Result};
use weir_policy::{FactSource, FactsUnavailable};
use weir_store::arrow_field;

/// The schema of the tables. Nobody makes others in it.
pub(crate) const SCHEMA: &str = "facts";

/// Bytes of keys and values that one read of a table holds in memory.
const BYTES_MAX: usize = 256 << 20;

/// What an org's sessions read of its facts.
pub trait OrgFacts: FactSource {
    /// Namespaces that are tables.
    fn namespaces(&self) -> Vec<String>;

    /// Facts of a namespace by key, from after a key on, as many as suit the source.
    ///
    /// # Errors
    /// When they cannot be told.
    fn page(&self, namespace: &str, after: Option<&str>) -> std::result::Result<FactPage, FactsUnavailable>;
}

/// Some of a namespace's facts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FactPage {
    pub rows: Vec<FactRow>,
    /// The key to go on after; none at the end.
    pub next: Option<String>,
}

/// One fact. Times are microseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRow {
    pub key: String,
    /// JSON text.
    pub value: String,
    pub version: u64,
    pub created_at: i64,
    pub updated_at: i64,
    pub expires_at: Option<i64>,
    pub conflicted: bool,
}

pub(crate) fn schema() -> SchemaRef {
    let column = |name: &str, column_type: ColumnType| arrow_field(name, column_type, false);
    Arc::new(Schema::new(vec![
        column("key", ColumnType::Text),
        column("value", ColumnType::Jsonb),
        column("version", ColumnType::BigInt),
        column("created_at", ColumnType::Timestamptz),
        column("updated_at", ColumnType::Timestamptz),
        arrow_field("expires_at", ColumnType::Timestamptz, true),
        column("conflicted", ColumnType::Boolean),
    ]))
}

pub(crate) fn names(facts: &dyn OrgFacts) -> impl Iterator<Item = ObjectName> {
    facts.namespaces().into_iter().filter_map(|namespace| ObjectName::new(SCHEMA, &namespace).ok())
}

/// All of a namespace, in the order of keys.
///
/// # Errors
/// `engine_unavailable` when they cannot be told, `program_limit_exceeded` when they are too many.
pub(crate) fn batches(facts: &dyn OrgFacts, namespace: &str) -> Result<Vec<RecordBatch>> {
    batches_within(facts, namespace, BYTES_MAX)
}

fn batches_within(facts: &dyn OrgFacts, namespace: &str, bytes_max: usize) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut after, mut bytes) = (Vec::new(), None, 0);
    loop {
        let page = facts.page(namespace, after.as_deref()).map_err(|unavailable| {
            Refusal::new(Code::EngineUnavailable, format!("the facts cannot be read: {unavailable}"))
                .hint("try again; the status page says how the facts plane is")
        })?;
        bytes += page.rows.iter().map(|row| row.key.len() + row.value.len()).sum::<usize>();
        if bytes > bytes_max {
            let message = format!("table \"{namespace}\" is larger than a statement reads at once");
            return Err(Refusal::new(Code::ProgramLimitExceeded, message)
                .detail(format!("limit_bytes={bytes_max}"))
                .hint("read it in parts by `query` on the data socket"));
        }
        batches.push(batch(&page.rows)?);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(batches),
        }
    }
}

fn batch(rows: &[FactRow]) -> Result<RecordBatch> {
    let time = |of: fn(&FactRow) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("+00:00"))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.key.as_str())).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| Some(row.value.as_str())).collect::<StringViewArray>()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(row.version).unwrap_or(i64::MAX)))),
        time(|row| Some(row.created_at)),
        time(|row| Some(row.updated_at)),
        time(|row| row.expires_at),
        Arc::new(rows.iter().map(|row| Some(row.conflicted)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(schema(), columns).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

#[cfg(test)]
pub(crate) mod testing {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::collections::BTreeMap;

    use weir_policy::{FactReading, FactValue};

    use super::*;

    /// Facts by key, two to a page.
    #[derive(Debug, Default)]
    pub(crate) struct Kept(pub BTreeMap<String, serde_json::Value>);

    impl FactSource for Kept {
        fn fact(&self, key: &str) -> std::result::Result<FactReading, FactsUnavailable> {
            let value = self.0.get(key).cloned().map(FactValue::from);
            Ok(FactReading { version: u64::from(value.is_some()), value, conflicted: false })
        }

        fn matching(&self, _: &str, _: usize) -> std::result::Result<Vec<(String, FactReading)>, FactsUnavailable> {
            Err(FactsUnavailable("not asked for here".to_owned()))
        }

        fn staleness_ms(&self) -> u64 {
            0
        }
    }

    impl OrgFacts for Kept {
        fn namespaces(&self) -> Vec<String> {
            let names = self.0.keys().filter_map(|key| key.split('.').next());
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.dedup();
            names
        }

        fn page(&self, namespace: &str, after: Option<&str>) -> std::result::Result<FactPage, FactsUnavailable> {
            let prefix = format!("{namespace}.");
            let mut rows = self.0.iter().filter(|(key, _)| key.starts_with(&prefix));
            let rows = rows.by_ref().filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
            let rows: Vec<FactRow> = rows
                .take(2)
                .map(|(key, value)| FactRow {
                    key: key.clone(),
                    value: value.to_string(),
                    version: 7,
                    created_at: 1,
                    updated_at: 2,
                    expires_at: None,
                    conflicted: false,
                })
                .collect();
            let next = (rows.len() == 2).then(|| rows.last().unwrap().key.clone());
            Ok(FactPage { rows, next })
        }
    }

    #[test]
    fn a_namespace_is_read_page_by_page_and_no_other() {
        let keys = ["a.1", "a.2", "a.3", "a.4", "b.1"];
        let kept = Kept(keys.map(|key| (key.to_owned(), serde_json::json!({ "is": key }))).into());
        let batches = batches(&kept, "a").unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 2, 0]);
        assert_eq!(names(&kept).map(|name| name.to_string()).collect::<Vec<_>>(), ["facts.a", "facts.b"]);
    }

    #[test]
    fn a_namespace_that_is_too_large_for_a_statement_is_refused_whole() {
        let kept = Kept(["a.1", "a.2", "a.3", "a.4"].map(|key| (key.to_owned(), "x".repeat(7).into())).into());
        let check = |bytes_max: usize, expected: Option<Code>| {
            let read = batches_within(&kept, "a", bytes_max);
            assert_eq!(read.err().map(|refusal| refusal.code()), expected, "{bytes_max} bytes");
        };
        // A key of 3 bytes and a text of 9.
        check(4 * 12, None);
        check(4 * 12 - 1, Some(Code::ProgramLimitExceeded));
    }

    /// Fails after a first page.
    #[derive(Debug)]
    struct Failing(Kept);

    impl FactSource for Failing {
        fn fact(&self, key: &str) -> std::result::Result<FactReading, FactsUnavailable> {
            self.0.fact(key)
        }

        fn matching(
            &self,
            pattern: &str,
            limit: usize,
        ) -> std::result::Result<Vec<(String, FactReading)>, FactsUnavailable> {
            self.0.matching(pattern, limit)
        }

        fn staleness_ms(&self) -> u64 {
            0
        }
    }

    impl OrgFacts for Failing {
        fn namespaces(&self) -> Vec<String> {
            self.0.namespaces()
        }

        fn page(&self, namespace: &str, after: Option<&str>) -> std::result::Result<FactPage, FactsUnavailable> {
            match after {
                None => self.0.page(namespace, after),
                Some(_) => Err(FactsUnavailable("the disk is gone".to_owned())),
            }
        }
    }

    #[test]
    fn facts_that_cannot_be_read_to_the_end_are_no_table() {
        let kept = Kept(["a.1", "a.2", "a.3"].map(|key| (key.to_owned(), 1.into())).into());
        let refusal = batches(&Failing(kept), "a").unwrap_err();
        assert_eq!(refusal.code(), Code::EngineUnavailable);
        assert!(refusal.message().contains("the disk is gone"), "{refusal:?}");
    }
}
