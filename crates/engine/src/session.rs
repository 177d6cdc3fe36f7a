//! One connection's engine: its identity, its settings, and the three things it does: plan, execute, write.

use std::{
    hash::{Hash, Hasher},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use datafusion::common::config::ConfigOptions;
use parking_lot::RwLock;
use weir_model::{Code, Refusal, Result, Value, ValueType};
use weir_sql::Statement;

use crate::{
    bind::{Bindings, bind},
    engine::{Engine, config_options},
    error::refusal,
    governance::{Control, Governance, SessionIdentity, Snapshot},
    plan::{Planned, Planning, Work},
    rows::{RowSource, UnmaskedRows},
    run::Run,
    settings::Settings,
};

/// Rows of all tables of a plan together from which it pays to divide the work.
const PARALLEL_ROWS: u64 = 100_000;
/// Rows up to which a plan over one table runs in place.
const INLINE_ROWS: u64 = 16_384;

/// Texts up to this size have no expression too deep for an ordinary stack.
const SMALL_TEXT_BYTES: usize = 2048;
/// Reserved, not used: pages are taken as the stack grows.
const PLANNING_STACK_BYTES: usize = 64 << 20;

/// A connection's side of the engine. Cheap; nothing in it is shared with another connection.
#[derive(Debug)]
pub struct EngineSession {
    engine: Arc<Engine>,
    identity: Arc<SessionIdentity>,
    settings: RwLock<Arc<Settings>>,
    options: Arc<ConfigOptions>,
}

impl EngineSession {
    pub(crate) fn new(engine: Arc<Engine>, identity: SessionIdentity) -> EngineSession {
        EngineSession {
            engine,
            identity: Arc::new(identity),
            settings: RwLock::default(),
            options: Arc::new(config_options()),
        }
    }

    /// What `current_setting(name)` answers. Names are lower case; values change no plan.
    pub fn set_setting(&self, name: &str, value: Option<&str>) {
        Arc::make_mut(&mut self.settings.write()).set(name, value);
    }

    /// Tells apart settings under which one text has different plans.
    #[must_use]
    pub fn settings_key(&self) -> u64 {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        self.options.execution.time_zone.hash(&mut hasher);
        hasher.finish()
    }

    #[must_use]
    pub fn identity(&self) -> &SessionIdentity {
        &self.identity
    }

    pub(crate) fn shared_identity(&self) -> &Arc<SessionIdentity> {
        &self.identity
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn options(&self) -> &Arc<ConfigOptions> {
        &self.options
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Binds, governs, verifies, traces lineage and optimises. Reads no row and has no effect.
    ///
    /// # Errors
    /// What is wrong with the statement, or what the governance does not allow.
    pub fn plan(
        &self,
        statement: &Statement,
        snapshot: &Snapshot,
        governance: &Governance,
        parameter_types: &[Option<ValueType>],
    ) -> Result<Planned> {
        let planning = Planning::new(self, snapshot, governance);
        let work = || planning.statement(statement, parameter_types);
        let planned = if statement.text().len() <= SMALL_TEXT_BYTES {
            std::panic::catch_unwind(AssertUnwindSafe(work))
        } else {
            // Deep expressions need more stack than a caller's thread may have.
            std::thread::scope(|scope| {
                let builder = std::thread::Builder::new().name("weir-plan".into()).stack_size(PLANNING_STACK_BYTES);
                match builder.spawn_scoped(scope, work) {
                    Ok(thread) => thread.join(),
                    Err(error) => {
                        tracing::error!(%error, "no thread to plan a large statement on");
                        Ok(Err(Refusal::new(Code::TooManyConnections, "no thread is left to plan the statement")))
                    }
                }
            })
        };
        planned.unwrap_or_else(|_| {
            tracing::error!(fingerprint = %statement.fingerprint(), "planning panicked");
            Err(Refusal::new(Code::Internal, "internal error while planning the statement")
                .hint("report this statement: it is a bug"))
        })
    }

    /// Runs a query. Rows leave unmasked only as this type, which only `mask` opens.
    ///
    /// # Errors
    /// When values do not fit the parameters; what happens later comes with the rows.
    pub fn execute(
        &self,
        planned: &Planned,
        snapshot: &Snapshot,
        parameters: &[Value],
        control: Control,
    ) -> Result<UnmaskedRows> {
        let template = planned.template();
        let source = match &template.work {
            Work::Query(query) => {
                let bindings = self.bindings(planned, snapshot, parameters)?;
                match &query.lookup {
                    Some(lookup) => RowSource::Ready(
                        lookup.run(snapshot, &bindings).map_err(|error| refusal(&error, template.values))?,
                    ),
                    None => RowSource::Stream(self.run(planned, snapshot, &bindings, control)?),
                }
            }
            Work::Explain(lines) => RowSource::Ready(Some(crate::explain::batch(lines)?)),
            Work::Insert(_) | Work::Change(_) => {
                return Err(Refusal::new(Code::Internal, "a write was executed as a query"));
            }
        };
        Ok(UnmaskedRows { schema: Arc::clone(&template.schema), source, key: template.key.clone() })
    }

    pub(crate) fn bindings(&self, planned: &Planned, snapshot: &Snapshot, values: &[Value]) -> Result<Bindings> {
        Bindings::new(planned.parameters(), values, &self.identity, &snapshot.search_path, self.settings())
    }

    /// The rows of a template's query.
    pub(crate) fn run(
        &self,
        planned: &Planned,
        snapshot: &Snapshot,
        bindings: &Bindings,
        control: Control,
    ) -> Result<futures::stream::BoxStream<'static, Result<arrow::array::RecordBatch>>> {
        let template = planned.template();
        let Some(query) = template.query() else {
            return Err(Refusal::new(Code::Internal, "the statement has no query"));
        };
        if let Some(lookup) = &query.lookup {
            let row = lookup.run(snapshot, bindings).map_err(|error| refusal(&error, template.values))?;
            return Ok(Box::pin(futures::stream::iter(row.map(Ok))));
        }
        let plan = if query.has_placeholders {
            bind(&query.plan, bindings, &self.options).map_err(|error| refusal(&error, template.values))?
        } else {
            query.plan.as_ref().clone()
        };
        let tables = query.tables.iter().filter_map(|name| snapshot.version.table(name));
        let rows = tables.map(|table| table.row_count()).fold(0, u64::saturating_add);
        let run = Run {
            engine: Arc::clone(&self.engine),
            snapshot: snapshot.clone(),
            plan,
            partitions: if rows < PARALLEL_ROWS { 1 } else { self.engine.threads() },
            values: template.values,
            control,
        };
        Ok(if query.is_plain && rows <= INLINE_ROWS { run.inline() } else { run.spawned() })
    }
}
