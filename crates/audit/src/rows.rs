//! Records as rows: the columns of `weir.audit`.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringViewBuilder, TimestampMicrosecondBuilder},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use weir_model::{ColumnType, TYPE_TAG};

use crate::{AuditError, Hash, stored::Record};

/// As stored tables write the zone of `timestamptz`.
const UTC: &str = "+00:00";

/// The columns of `weir.audit` and of a Parquet export.
///
/// A row is a record. An outcome's row repeats what its intent said of the statement, so that one line tells all of it.
/// Lists are joined by commas; credits are whole credits; times are cut to microseconds.
#[must_use]
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(fields())));
    Arc::clone(&SCHEMA)
}

fn fields() -> Vec<Field> {
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let tagged = |name: &str, column_type: ColumnType| {
        text(name).with_metadata([(TYPE_TAG.to_owned(), column_type.tag())].into())
    };
    let bigint = |name: &str, nullable| Field::new(name, DataType::Int64, nullable);
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())), false),
        bigint("record", false),
        text("kind").with_nullable(false),
        text("event"),
        text("org"),
        text("agent"),
        text("roles"),
        tagged("session", ColumnType::Uuid).with_nullable(false),
        tagged("statement", ColumnType::Uuid),
        text("client"),
        text("application_name"),
        text("sql"),
        text("executed"),
        text("fingerprint"),
        text("tables"),
        text("action"),
        Field::new("allowed", DataType::Boolean, true),
        text("rules"),
        bigint("bundle_version", true),
        text("outcome"),
        text("code"),
        bigint("rows", true),
        bigint("elapsed_us", true),
        text("masks"),
        double("credits_estimated"),
        double("credits_settled"),
        tagged("detail", ColumnType::Json),
        text("leaf_hash").with_nullable(false),
    ]
}

/// What an intent says that its outcome's row repeats.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    roles: Option<String>,
    client: Option<String>,
    application_name: Option<String>,
    sql: Option<String>,
    executed: Option<String>,
    fingerprint: Option<String>,
    tables: Option<String>,
    action: Option<String>,
    allowed: Option<bool>,
    rules: Option<String>,
    bundle_version: Option<i64>,
}

impl Told {
    pub fn of(record: &Record<'_>) -> Told {
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        let decision = record.decision.as_ref();
        Told {
            roles: joined(&record.roles),
            client: text(&record.client),
            application_name: record.claims.application_name.clone(),
            sql: text(&record.sql),
            executed: text(&record.executed),
            fingerprint: text(&record.fingerprint),
            tables: joined(&record.tables),
            action: text(&record.action),
            allowed: decision.map(|decision| decision.allowed),
            rules: decision.and_then(|decision| joined(&decision.rules)),
            bundle_version: decision.map(|decision| signed(decision.bundle)),
        }
    }

    fn bytes(&self) -> usize {
        [&self.roles, &self.client, &self.sql, &self.executed, &self.tables, &self.rules]
            .into_iter()
            .flatten()
            .map(String::len)
            .sum()
    }
}

/// Rows on their way to a batch.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    count: usize,
    bytes: usize,
    time: Vec<i64>,
    record: Int64Builder,
    kind: StringViewBuilder,
    event: StringViewBuilder,
    org: StringViewBuilder,
    agent: StringViewBuilder,
    roles: StringViewBuilder,
    session: StringViewBuilder,
    statement: StringViewBuilder,
    client: StringViewBuilder,
    application_name: StringViewBuilder,
    sql: StringViewBuilder,
    executed: StringViewBuilder,
    fingerprint: StringViewBuilder,
    tables: StringViewBuilder,
    action: StringViewBuilder,
    allowed: BooleanBuilder,
    rules: StringViewBuilder,
    bundle_version: Int64Builder,
    outcome: StringViewBuilder,
    code: StringViewBuilder,
    rows: Int64Builder,
    elapsed_us: Int64Builder,
    masks: StringViewBuilder,
    credits_estimated: Float64Builder,
    credits_settled: Float64Builder,
    detail: StringViewBuilder,
    leaf_hash: StringViewBuilder,
}

impl Rows {
    pub fn count(&self) -> usize {
        self.count
    }

    /// About how much text the rows hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn push(&mut self, index: u64, leaf: &Hash, record: &Record<'_>, told: &Told) {
        self.count += 1;
        self.bytes += 512 + told.bytes();
        self.time.push(signed(record.time / 1_000));
        self.record.append_value(signed(index));
        self.kind.append_value(&record.record);
        self.event.append_option(record.event.as_deref());
        self.org.append_option(record.org.as_deref());
        self.agent.append_option(record.agent.as_deref());
        self.roles.append_option(told.roles.as_deref());
        self.session.append_value(&record.session);
        self.statement.append_option(record.statement.as_deref());
        self.client.append_option(told.client.as_deref());
        self.application_name.append_option(told.application_name.as_deref());
        self.sql.append_option(told.sql.as_deref());
        self.executed.append_option(told.executed.as_deref());
        self.fingerprint.append_option(told.fingerprint.as_deref());
        self.tables.append_option(told.tables.as_deref());
        self.action.append_option(told.action.as_deref());
        self.allowed.append_option(told.allowed);
        self.rules.append_option(told.rules.as_deref());
        self.bundle_version.append_option(told.bundle_version);
        self.outcome.append_option(record.outcome.as_deref());
        self.code.append_option(record.code.as_deref());
        self.rows.append_option(record.rows.map(signed));
        self.elapsed_us.append_option(record.elapsed_ns.map(|nanoseconds| signed(nanoseconds / 1_000)));
        let masks: Vec<String> = record.masks.iter().map(|mask| format!("{}:{}", mask.column, mask.mask)).collect();
        self.masks.append_option(joined(&masks));
        self.credits_estimated.append_option(record.estimated.map(credits));
        self.credits_settled.append_option(record.settled.map(credits));
        let detail = record.detail.as_ref().and_then(|detail| serde_json::to_string(detail).ok());
        self.detail.append_option(detail);
        self.leaf_hash.append_value(leaf.to_string());
    }

    /// The rows so far as a batch, leaving none.
    pub fn finish(&mut self) -> Result<RecordBatch, AuditError> {
        let mut rows = std::mem::take(self);
        let mut time = TimestampMicrosecondBuilder::with_capacity(rows.time.len()).with_timezone(UTC);
        time.append_slice(&rows.time);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(time.finish()),
            Arc::new(rows.record.finish()),
            Arc::new(rows.kind.finish()),
            Arc::new(rows.event.finish()),
            Arc::new(rows.org.finish()),
            Arc::new(rows.agent.finish()),
            Arc::new(rows.roles.finish()),
            Arc::new(rows.session.finish()),
            Arc::new(rows.statement.finish()),
            Arc::new(rows.client.finish()),
            Arc::new(rows.application_name.finish()),
            Arc::new(rows.sql.finish()),
            Arc::new(rows.executed.finish()),
            Arc::new(rows.fingerprint.finish()),
            Arc::new(rows.tables.finish()),
            Arc::new(rows.action.finish()),
            Arc::new(rows.allowed.finish()),
            Arc::new(rows.rules.finish()),
            Arc::new(rows.bundle_version.finish()),
            Arc::new(rows.outcome.finish()),
            Arc::new(rows.code.finish()),
            Arc::new(rows.rows.finish()),
            Arc::new(rows.elapsed_us.finish()),
            Arc::new(rows.masks.finish()),
            Arc::new(rows.credits_estimated.finish()),
            Arc::new(rows.credits_settled.finish()),
            Arc::new(rows.detail.finish()),
            Arc::new(rows.leaf_hash.finish()),
        ];
        RecordBatch::try_new(schema(), columns).map_err(|error| AuditError::Export(error.to_string()))
    }
}

fn joined(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(","))
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_precision_loss, reason = "credits are far below 2^53 thousandths")]
fn credits(milli: u64) -> f64 {
    milli as f64 / 1_000.0
}
