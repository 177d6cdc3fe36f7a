//! `weir.audit` and `weir.usage`, the journal and the meter as tables of an org, which sees its own records only; and
//! `facts.<namespace>`, the facts of an org that has some.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use weir_audit::Journal;
use weir_engine::VirtualTables;
use weir_meter::{Credits, Meter, UsageRow};
use weir_model::{Code, ObjectName, OrgName, Refusal, Result};
use weir_policy::Policy;

use crate::facts::{self, OrgFacts};

const SCHEMA: &str = "weir";
const AUDIT: &str = "audit";
const USAGE: &str = "usage";

/// `weir.audit` shows the newest records of the journal, so many at most, as it is read into memory;
/// `weir audit export` has no such bound.
const RECORDS_SHOWN: u64 = 200_000;

/// Whether the name is one of theirs. Of facts' namespaces the tables themselves say which there are.
pub(crate) fn is_virtual(object: &ObjectName) -> bool {
    schema(object).is_some()
}

/// The virtual tables of one org, under one policy.
#[derive(Debug)]
pub(crate) struct OrgVirtuals {
    org: OrgName,
    policy: Arc<Policy>,
    journal: Arc<Journal>,
    meter: Arc<Meter>,
    facts: Option<Arc<dyn OrgFacts>>,
}

impl OrgVirtuals {
    pub(crate) fn new(
        org: OrgName,
        policy: Arc<Policy>,
        journal: Arc<Journal>,
        meter: Arc<Meter>,
        facts: Option<Arc<dyn OrgFacts>>,
    ) -> OrgVirtuals {
        OrgVirtuals { org, policy, journal, meter, facts }
    }

    pub(crate) fn facts(&self) -> Option<&dyn OrgFacts> {
        self.facts.as_deref()
    }

    fn namespace(&self, object: &ObjectName) -> Option<&dyn OrgFacts> {
        let is_one = |facts: &&dyn OrgFacts| facts.namespaces().iter().any(|namespace| namespace == object.name());
        self.facts().filter(|_| object.schema() == facts::SCHEMA).filter(is_one)
    }
}

pub(crate) fn schema(object: &ObjectName) -> Option<SchemaRef> {
    match (object.schema(), object.name()) {
        (SCHEMA, AUDIT) => Some(weir_audit::schema()),
        (SCHEMA, USAGE) => Some(usage_schema()),
        (facts::SCHEMA, name) if name != "*" => Some(facts::schema()),
        _ => None,
    }
}

impl VirtualTables for OrgVirtuals {
    fn schema(&self, object: &ObjectName) -> Option<SchemaRef> {
        let is_there = object.schema() != facts::SCHEMA || self.namespace(object).is_some();
        schema(object).filter(|_| is_there)
    }

    fn batches(&self, object: &ObjectName) -> Result<Vec<RecordBatch>> {
        match (object.schema(), object.name()) {
            (SCHEMA, AUDIT) => {
                let unreadable = |error: weir_audit::AuditError| error.refusal();
                let first = self.journal.size().saturating_sub(RECORDS_SHOWN);
                let scan = self.journal.scan_from(Some(&self.org), first).map_err(unreadable)?;
                scan.map(|batch| batch.map_err(unreadable)).collect()
            }
            (SCHEMA, USAGE) => {
                let org = self.policy.quota_for("").org.map(Credits);
                let rows = self.meter.usage(&self.org, org, |agent| self.policy.quota_for(agent).agent.map(Credits));
                Ok(vec![usage_batch(&rows)?])
            }
            _ => match self.namespace(object) {
                Some(facts) => facts::batches(facts, object.name()),
                None => Err(Refusal::new(Code::Internal, "no such virtual table")),
            },
        }
    }

    fn names(&self) -> Vec<ObjectName> {
        let own = [AUDIT, USAGE].into_iter().filter_map(|name| ObjectName::new(SCHEMA, name).ok());
        own.chain(self.facts().into_iter().flat_map(facts::names)).collect()
    }
}

fn usage_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    Arc::new(Schema::new(vec![
        Field::new("agent", DataType::Utf8, true),
        Field::new("period_start", time.clone(), false),
        Field::new("period_end", time, false),
        Field::new("statements", DataType::Int64, false),
        Field::new("rows", DataType::Int64, false),
        Field::new("credits_settled", DataType::Float64, false),
        Field::new("credits_reserved", DataType::Float64, false),
        Field::new("allowance", DataType::Float64, true),
        Field::new("balance", DataType::Float64, true),
    ]))
}

fn usage_batch(rows: &[UsageRow]) -> Result<RecordBatch> {
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let credits = |credits: Credits| credits_number(credits);
    let time = |seconds: fn(&UsageRow) -> i64| -> ArrayRef {
        let micros = rows.iter().map(|row| seconds(row).saturating_mul(1_000_000));
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.agent.as_deref()).collect::<StringArray>()),
        time(|row| row.period.start()),
        time(|row| row.period.end()),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| count(row.statements)))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| count(row.rows)))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| credits(row.settled)))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| credits(row.reserved)))),
        Arc::new(rows.iter().map(|row| row.allowance.map(credits_number)).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.balance.map(credits_number)).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(usage_schema(), columns).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

#[allow(clippy::cast_precision_loss, reason = "milli-credits stay far below 2^53")]
fn credits_number(credits: Credits) -> f64 {
    credits.0 as f64 / 1_000.0
}
