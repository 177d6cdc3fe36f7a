//! A database, an engine and one session, driven by SQL text.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arrow::{
    array::RecordBatch,
    util::display::{ArrayFormatter, FormatOptions},
};
use futures::StreamExt;
use weir_engine::{
    Control, Engine, EngineOptions, EngineSession, Governance, MaskKey, NoVirtualTables, ObjectGovernance, Planned,
    SessionIdentity, Snapshot,
};
use weir_model::{Action, Attributes, Code, ObjectName, OrgName, Principal, Refusal, Result, Value, ValueType};
use weir_policy::{
    BundleBody, ColumnMask, MaskKind, MaskPredicates, Policy, PolicyClass, RowCommand, RowFilter, Source, Validity,
};
use weir_sql::{Kind, Statement};
use weir_store::{Column, Database, SegmentCache, StoreOptions, TableSchema, Transaction};

pub struct World {
    pub database: Arc<Database>,
    pub engine: Arc<Engine>,
    pub session: EngineSession,
    /// Row policies in SQL, compiled by the policy crate as an org's would be.
    policies: String,
    masks: HashMap<ObjectName, Vec<ColumnMask>>,
    hidden: Vec<ObjectName>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

pub fn name(text: &str) -> ObjectName {
    ObjectName::try_from(text.to_owned()).unwrap()
}

impl World {
    pub fn new() -> World {
        World::with_memory(256 << 20)
    }

    pub fn with_memory(statement_memory_bytes: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { fsync: false, wal_file_bytes: 1 << 20, ..StoreOptions::default() };
        let org = OrgName::new("acme").unwrap();
        let database = Database::open(folder.path(), &org, options, SegmentCache::new(64 << 20)).unwrap();
        let engine = Engine::new(EngineOptions {
            threads: 2,
            memory_bytes: 1 << 30,
            statement_memory_bytes,
            spill_dir: folder.path().join("spill"),
            spill_bytes: 1 << 30,
        })
        .unwrap();
        let session = engine.session(SessionIdentity {
            user: "tester".into(),
            database: "acme".into(),
            backend_pid: 4242,
            session_id: "s".into(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        World {
            database,
            engine,
            session,
            policies: String::new(),
            masks: HashMap::new(),
            hidden: Vec::new(),
            runtime,
            _folder: folder,
        }
    }

    /// Runs statements that must succeed.
    pub fn setup(&self, sql: &str) -> &World {
        for statement in weir_sql::parse(sql).unwrap() {
            self.run(&statement, &[]).unwrap_or_else(|refusal| panic!("{}: {refusal:?}", statement.text()));
        }
        self
    }

    /// `CREATE POLICY …` statements, in force from here on.
    pub fn policies(&mut self, sql: &str) {
        self.policies.push_str(sql);
    }

    pub fn mask(&mut self, table: &str, column: &str, kind: MaskKind, predicates: MaskPredicates) {
        let mask = ColumnMask { column: column.into(), kind, predicates };
        self.masks.entry(name(table)).or_default().push(mask);
    }

    pub fn clear_masks(&mut self) {
        self.masks.clear();
    }

    /// The principal may not know of the object.
    pub fn hide(&mut self, table: &str) {
        self.hidden.push(name(table));
    }

    pub fn principal(&self) -> Principal {
        Principal {
            org: OrgName::new("acme").unwrap(),
            agent: "tester".into(),
            roles: vec!["analyst".into()],
            attributes: Attributes::new(),
        }
    }

    fn policy(&self) -> Policy {
        let toml = "org = \"acme\"\n[roles.analyst]\n[roles.auditor]\n";
        let source = Source::from_text(std::path::Path::new("test"), toml, "", &self.policies);
        let validity = Validity { version: 1, issued_at: 0, not_after: i64::MAX };
        let body: BundleBody =
            weir_policy::compile(&source, validity).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        Policy::new(body).unwrap()
    }

    pub fn governance(&self, version: &weir_store::Version) -> Governance {
        let policy = self.policy();
        let principal = self.principal();
        let filter = |object: &ObjectName, command: RowCommand| -> RowFilter {
            policy.row_filter(&principal, object, command).unwrap()
        };
        let names =
            version.tables().map(|table| table.name().clone()).chain(version.views().map(|view| view.name.clone()));
        let objects = names
            .filter(|object| !self.hidden.contains(object))
            .map(|object| {
                let governed = ObjectGovernance {
                    actions: Action::ALL.to_vec(),
                    select: filter(&object, RowCommand::Select),
                    insert: filter(&object, RowCommand::Insert),
                    update: filter(&object, RowCommand::Update),
                    delete: filter(&object, RowCommand::Delete),
                    masks: self.masks.get(&object).cloned().unwrap_or_default().into(),
                };
                (object, governed)
            })
            .collect();
        let class: PolicyClass = policy.policy_class(&principal);
        let hidden = self.hidden.clone();
        Governance {
            principal: Arc::new(principal),
            bundle_version: 1,
            class,
            mask_key: MaskKey::new([7; 32]),
            objects,
            visible: Arc::new(move |object| !hidden.contains(object)),
            admin_role: "admin".into(),
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            version: self.database.version(),
            virtuals: Arc::new(NoVirtualTables),
            search_path: ["public".to_owned()].into(),
        }
    }

    pub fn plan(&self, sql: &str, types: &[Option<ValueType>]) -> Result<Planned> {
        let statement = weir_sql::parse(sql)?.remove(0);
        let snapshot = self.snapshot();
        self.session.plan(&statement, &snapshot, &self.governance(&snapshot.version), types)
    }

    pub fn execute(&self, planned: &Planned, values: &[Value]) -> Result<Vec<RecordBatch>> {
        self.execute_within(planned, values, Control::default())
    }

    pub fn execute_within(&self, planned: &Planned, values: &[Value], control: Control) -> Result<Vec<RecordBatch>> {
        self.runtime.block_on(async {
            let rows = self.session.execute(planned, &self.snapshot(), values, control)?;
            let mut rows = rows.mask(planned.masks().clone());
            let mut batches = Vec::new();
            while let Some(batch) = rows.next().await {
                batches.push(batch?);
            }
            Ok(batches)
        })
    }

    /// Plans and runs one statement; writes are committed. Rows as text, or the number of rows written.
    pub fn run(&self, statement: &Statement, values: &[Value]) -> Result<Outcome> {
        match statement.kind() {
            Kind::CreateTable(definition) => {
                let columns: Vec<Column> = definition
                    .columns
                    .iter()
                    .map(|column| Column {
                        name: column.name.clone(),
                        column_type: column.column_type,
                        nullable: column.nullable,
                        default: column.default.as_ref().map(ToString::to_string),
                    })
                    .collect();
                let place = |name: &String| columns.iter().position(|column| column.name == *name).unwrap();
                let key = definition.primary_key.iter().map(place).collect();
                let schema = TableSchema::new(columns.clone(), key)?;
                let mut transaction = self.database.begin();
                transaction.create_table(&name(&definition.name.to_string()), schema)?;
                self.commit(transaction)?;
                Ok(Outcome::Written(0))
            }
            Kind::CreateView(view) => {
                let snapshot = self.snapshot();
                let planned = self.session.plan(statement, &snapshot, &self.governance(&snapshot.version), &[])?;
                let columns = planned.columns().unwrap();
                let columns =
                    columns.iter().map(|column| (column.name.clone(), column.value_type.scalar().unwrap())).collect();
                let weir_sql::ast::Statement::CreateView(create) = statement.tree() else { panic!() };
                let mut transaction = self.database.begin();
                let sql = create.query.to_string();
                transaction.create_view(&name(&view.name.to_string()), &sql, columns, "tester", view.or_replace)?;
                self.commit(transaction)?;
                Ok(Outcome::Written(0))
            }
            Kind::CreateTableAs(create) => {
                let snapshot = self.snapshot();
                let planned = self.session.plan(statement, &snapshot, &self.governance(&snapshot.version), &[])?;
                let columns = planned.columns().unwrap();
                let columns = columns
                    .iter()
                    .map(|column| Column {
                        name: column.name.clone(),
                        column_type: column.value_type.scalar().unwrap(),
                        nullable: true,
                        default: None,
                    })
                    .collect();
                let target = name(&create.name.to_string());
                let mut transaction = self.database.begin();
                transaction.create_table(&target, TableSchema::new(columns, Vec::new())?)?;
                let written = self.runtime.block_on(self.session.write_rows(
                    &planned,
                    &snapshot,
                    values,
                    &mut transaction,
                    &target,
                    Control::default(),
                ))?;
                self.commit(transaction)?;
                Ok(Outcome::Written(written))
            }
            Kind::Insert | Kind::Update | Kind::Delete => {
                let snapshot = self.snapshot();
                let governance = self.governance(&snapshot.version);
                let planned = self.session.plan(statement, &snapshot, &governance, &[])?;
                self.write(&planned, values).map(Outcome::Written)
            }
            _ => {
                let snapshot = self.snapshot();
                let planned = self.session.plan(statement, &snapshot, &self.governance(&snapshot.version), &[])?;
                let batches = self.execute(&planned, values)?;
                Ok(Outcome::Rows(text(&planned, &batches)))
            }
        }
    }

    pub fn write(&self, planned: &Planned, values: &[Value]) -> Result<u64> {
        let mut transaction = self.database.begin();
        let snapshot = Snapshot { version: Arc::clone(transaction.version()), ..self.snapshot() };
        let governance = self.governance(&snapshot.version);
        let written = self.runtime.block_on(self.session.write(
            planned,
            &snapshot,
            values,
            &mut transaction,
            &governance,
            Control::default(),
        ))?;
        self.commit(transaction)?;
        Ok(written)
    }

    fn commit(&self, transaction: Transaction) -> Result<()> {
        self.database.commit_blocking(transaction).map(|_| ())
    }

    fn one(&self, sql: &str, values: &[Value]) -> Result<Outcome> {
        let statements = weir_sql::parse(sql)?;
        assert_eq!(statements.len(), 1, "{sql}");
        self.run(&statements[0], values)
    }

    /// The rows, one a line, columns separated by `|`, in the order they come.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        match self.one(sql, &[]) {
            Ok(Outcome::Rows(rows)) => rows,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[track_caller]
    pub fn check(&self, sql: &str, expected: &[&str]) {
        assert_eq!(self.rows(sql), expected, "{sql}");
    }

    #[track_caller]
    pub fn check_with(&self, sql: &str, values: &[Value], expected: &[&str]) {
        match self.one(sql, values) {
            Ok(Outcome::Rows(rows)) => assert_eq!(rows, expected, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[track_caller]
    pub fn changes(&self, sql: &str, expected: u64) {
        match self.one(sql, &[]) {
            Ok(Outcome::Written(written)) => assert_eq!(written, expected, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(&self, sql: &str, code: Code) -> Refusal {
        match self.one(sql, &[]) {
            Err(refusal) => {
                assert_eq!(refusal.code(), code, "{sql}: {refusal:?}");
                refusal
            }
            Ok(outcome) => panic!("{sql}: {outcome:?}"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Flushing threads hold files in the folder until then.
        let _ = self.database.close();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Debug)]
pub enum Outcome {
    Rows(Vec<String>),
    Written(u64),
}

pub fn text(planned: &Planned, batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let width = planned.columns().map_or(0, |columns| columns.len());
    let mut rows = Vec::new();
    for batch in batches {
        assert_eq!(batch.num_columns(), width);
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|array| ArrayFormatter::try_new(array, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.push(cells.join("|"));
        }
    }
    rows
}
