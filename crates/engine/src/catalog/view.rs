//! From a snapshot and a governance to what the principal may know of: the one place that decides it.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, LazyLock},
};

use datafusion::logical_expr::ScalarUDF;
use sqlparser::ast;
use weir_model::{Action, Code, ObjectName, Refusal, Result};
use weir_store::{Column, TableVersion, View, column_type_of};

use super::{
    build, functions, layout,
    objects::{Attribute, Kind, Objects, Relation, Session, SharedObjects},
    rewrite,
};
use crate::{
    governance::{Governance, SessionIdentity, Snapshot},
    governed::RawTable,
};

/// The system catalogs of one statement. Making one is cheap: nothing is gathered until a plan needs it.
pub(crate) struct CatalogView {
    objects: SharedObjects,
}

impl fmt::Debug for CatalogView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogView").finish_non_exhaustive()
    }
}

impl CatalogView {
    /// `settings` are the session's own, for `pg_settings` and `current_setting()`.
    pub(crate) fn with_settings(
        snapshot: &Snapshot,
        governance: &Governance,
        identity: &SessionIdentity,
        settings: Vec<(String, String)>,
    ) -> CatalogView {
        let session = session(snapshot, governance, identity, settings);
        let visible = Visible {
            snapshot: snapshot.clone(),
            may_know: Arc::clone(&governance.visible),
            known: governance.objects.iter().map(|(name, known)| (name.clone(), known.actions.clone())).collect(),
        };
        CatalogView { objects: Arc::new(LazyLock::new(Box::new(move || visible.gather(session)))) }
    }

    /// A relation of `pg_catalog`, with or without the schema, or of `information_schema`.
    pub(crate) fn table(&self, schema: Option<&str>, name: &str) -> Option<RawTable> {
        let layout = layout::find(schema, name)?;
        let object = ObjectName::new(layout.schema, layout.name).ok()?;
        let objects = Arc::clone(&self.objects);
        Some(RawTable::computed(object, Arc::clone(&layout.arrow), move || {
            let batch = build(layout, &objects).map_err(|why| {
                Refusal::new(Code::Internal, "a catalog relation could not be built").detail(why.to_string())
            })?;
            Ok(vec![batch])
        }))
    }

    pub(crate) fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        functions::all(&self.objects)
    }

    /// # Errors
    /// None now; what cannot be rewritten is left for the planner to refuse.
    pub(crate) fn rewrite(&self, statement: &ast::Statement) -> Result<ast::Statement> {
        Ok(rewrite::rewrite(statement.clone()))
    }
}

fn session(
    snapshot: &Snapshot,
    governance: &Governance,
    identity: &SessionIdentity,
    settings: Vec<(String, String)>,
) -> Session {
    let principal = &governance.principal;
    let application_name = settings
        .iter()
        .find(|(name, _)| name == "application_name")
        .map(|(_, value)| value.clone())
        .unwrap_or_default();
    Session {
        user: identity.user.to_string(),
        database: identity.database.to_string(),
        roles: principal.roles.iter().map(ToString::to_string).collect(),
        owner: governance.admin_role.to_string(),
        search_path: snapshot.search_path.to_vec(),
        process_id: identity.backend_pid,
        application_name,
        settings: with_constants(settings, &snapshot.search_path),
    }
}

/// What is so for every session, and clients ask of `pg_settings`.
fn with_constants(mut settings: Vec<(String, String)>, search_path: &[String]) -> Vec<(String, String)> {
    let path: Vec<String> = search_path.iter().map(|name| super::text::quote_identifier(name)).collect();
    let path = path.join(", ");
    for (name, value) in [
        ("block_size", "8192"),
        ("client_encoding", "UTF8"),
        ("default_table_access_method", "heap"),
        ("integer_datetimes", "on"),
        ("is_superuser", "off"),
        ("max_identifier_length", "63"),
        ("max_index_keys", "32"),
        ("search_path", path.as_str()),
        ("server_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
    ] {
        if settings.iter().all(|(known, _)| !known.eq_ignore_ascii_case(name)) {
            settings.push((name.to_owned(), value.to_owned()));
        }
    }
    settings.sort();
    settings
}

/// Everything there is, and who may know what of it.
struct Visible {
    snapshot: Snapshot,
    may_know: Arc<dyn Fn(&ObjectName) -> bool + Send + Sync>,
    /// Actions on the objects that the statement names.
    known: std::collections::HashMap<ObjectName, Vec<Action>>,
}

impl Visible {
    fn gather(self, session: Session) -> Objects {
        let version = &self.snapshot.version;
        let mut relations: Vec<Relation> = Vec::new();
        relations.extend(version.tables().filter(|table| self.sees(table.name())).map(|table| self.table(table)));
        relations.extend(version.views().filter(|view| self.sees(&view.name)).map(|view| self.view(view)));
        let names = self.snapshot.virtuals.names();
        relations.extend(names.into_iter().filter(|name| self.sees(name)).filter_map(|name| self.computed(name)));
        let schemas = self.schemas(&relations);
        Objects::new(session, schemas, relations)
    }

    fn sees(&self, name: &ObjectName) -> bool {
        (self.may_know)(name)
    }

    /// A schema shows if something in it does, or if the policy lets the principal know of the schema itself, which is
    /// named by itself twice. `public` is no secret.
    fn schemas(&self, relations: &[Relation]) -> Vec<(u32, String)> {
        let shown: HashSet<&str> = relations.iter().map(|relation| relation.name.schema()).collect();
        let by_itself = |name: &str| ObjectName::new(name, name).is_ok_and(|name| self.sees(&name));
        let shows = |name: &str| shown.contains(name) || name == ObjectName::DEFAULT_SCHEMA || by_itself(name);
        let mut schemas: Vec<(u32, String)> = self
            .snapshot
            .version
            .schemas()
            .filter(|(name, _)| shows(name))
            .map(|(name, oid)| (oid, name.to_owned()))
            .collect();
        for name in shown {
            if schemas.iter().all(|(_, known)| known != name) {
                schemas.push((computed_oid(name), name.to_owned()));
            }
        }
        schemas
    }

    /// What the policy lets the principal do, where this statement asked; else what being visible means: to read.
    fn actions(&self, name: &ObjectName) -> Vec<Action> {
        self.known.get(name).cloned().unwrap_or_else(|| vec![Action::Select])
    }

    fn table(&self, table: &TableVersion) -> Relation {
        let schema = table.schema();
        Relation {
            oid: table.oid(),
            name: table.name().clone(),
            kind: Kind::Table,
            columns: schema.columns().iter().map(attribute).collect(),
            key: schema.primary_key().to_vec(),
            definition: None,
            actions: self.actions(table.name()),
        }
    }

    fn view(&self, view: &View) -> Relation {
        let columns = view.columns.iter().map(|(name, column_type)| Attribute {
            name: name.clone(),
            column_type: *column_type,
            not_null: false,
            default: None,
        });
        Relation {
            oid: view.oid,
            name: view.name.clone(),
            kind: Kind::View,
            columns: columns.collect(),
            key: Vec::new(),
            definition: self.tells_nothing_hidden(&view.sql).then(|| view.sql.clone()),
            actions: self.actions(&view.name),
        }
    }

    /// Whether the principal may know of every relation that a view's text names. Names without a schema mean `public`.
    fn tells_nothing_hidden(&self, sql: &str) -> bool {
        let Ok(statements) = weir_sql::parse(sql) else { return false };
        let path = [ObjectName::DEFAULT_SCHEMA.to_owned()];
        statements.iter().flat_map(weir_sql::Statement::uses).all(|used| {
            let system = layout::find(used.name.schema.as_deref(), &used.name.name).is_some();
            system || used.name.resolve(&path, |_| true).is_ok_and(|name| self.sees(&name))
        })
    }

    fn computed(&self, name: ObjectName) -> Option<Relation> {
        let schema = self.snapshot.virtuals.schema(&name)?;
        let columns = schema.fields().iter().map(|field| Attribute {
            name: field.name().clone(),
            column_type: column_type_of(field).unwrap_or(weir_model::ColumnType::Text),
            not_null: !field.is_nullable(),
            default: None,
        });
        Some(Relation {
            oid: computed_oid(&name.to_string()),
            kind: Kind::View,
            columns: columns.collect(),
            key: Vec::new(),
            definition: None,
            actions: self.actions(&name),
            name,
        })
    }
}

fn attribute(column: &Column) -> Attribute {
    Attribute {
        name: column.name.clone(),
        column_type: column.column_type,
        not_null: !column.nullable,
        default: column.default.clone(),
    }
}

/// Below the store's oids, and the same after every start: from the name (FNV-1a).
fn computed_oid(name: &str) -> u32 {
    const FIRST: u32 = 15_100;
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    FIRST + hash % (weir_store::FIRST_OID - FIRST)
}
