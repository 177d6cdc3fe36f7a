use std::sync::Arc;

use sqlparser::{
    ast::{
        CloseCursor, CopySource, DescribeAlias, DiscardObject, Expr, FromTable, Reset, SetExpr, Statement as Tree,
        TableFactor, TableObject, TableWithJoins,
    },
    tokenizer::TokenWithSpan,
};
use weir_model::{Action, Refusal, Result};

use crate::{
    copy::{CopyDirection, CopyStatement, copy},
    ddl::{
        CreateSchema, CreateTableAs, CreateView, DropKind, DropObjects, TableDefinition, create_schema,
        create_table_as, create_view, drop_objects, table_definition,
    },
    fingerprint::Fingerprint,
    names::{fold, raw_name},
    restrictions,
    session::{
        DeclareCursor, FetchCursor, Prepare, SetStatement, declare, fetch, set, setting_name, transaction_modes,
    },
    shape::Shape,
    types::value_type,
    uses::{ObjectUse, Uses, reads_columns},
};

/// The allow-list: what is not here is refused as `unsupported`.
#[derive(Debug, Clone)]
pub enum Kind {
    Query,
    Insert,
    Update,
    Delete,
    Truncate,
    /// EXPLAIN of the statement given, which is not run.
    Explain {
        statement: Statement,
        verbose: bool,
    },
    CreateTable(TableDefinition),
    CreateTableAs(CreateTableAs),
    CreateView(CreateView),
    CreateSchema(CreateSchema),
    Drop(DropObjects),
    Copy(CopyStatement),
    Begin {
        /// None leaves it to `default_transaction_read_only`.
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
    Set(SetStatement),
    /// SHOW name; `all` for SHOW ALL.
    Show(String),
    /// RESET name, or all.
    Reset(Option<String>),
    DiscardAll,
    Prepare(Box<Prepare>),
    Execute {
        name: String,
        arguments: Vec<Expr>,
    },
    /// DEALLOCATE name, or all.
    Deallocate(Option<String>),
    Declare(Box<DeclareCursor>),
    Fetch(FetchCursor),
    /// CLOSE name, or all.
    Close(Option<String>),
    /// Nobody can LISTEN, so there is nothing to end.
    Unlisten,
}

impl Kind {
    /// A word for metrics, the journal and policy conditions.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Kind::Query => "select",
            Kind::Insert => "insert",
            Kind::Update => "update",
            Kind::Delete => "delete",
            Kind::Truncate => "truncate",
            Kind::Explain { .. } => "explain",
            Kind::CreateTable(_) => "create_table",
            Kind::CreateTableAs(_) => "create_table_as",
            Kind::CreateView(_) => "create_view",
            Kind::CreateSchema(_) => "create_schema",
            Kind::Drop(_) => "drop",
            Kind::Copy(CopyStatement { direction: CopyDirection::In { .. }, .. }) => "copy_in",
            Kind::Copy(_) => "copy_out",
            Kind::Begin { .. } => "begin",
            Kind::Commit => "commit",
            Kind::Rollback => "rollback",
            Kind::Set(_) => "set",
            Kind::Show(_) => "show",
            Kind::Reset(_) => "reset",
            Kind::DiscardAll => "discard",
            Kind::Prepare(_) => "prepare",
            Kind::Execute { .. } => "execute",
            Kind::Deallocate(_) => "deallocate",
            Kind::Declare(_) => "declare",
            Kind::Fetch(_) => "fetch",
            Kind::Close(_) => "close",
            Kind::Unlisten => "unlisten",
        }
    }

    #[must_use]
    pub fn is_transaction_control(&self) -> bool {
        matches!(self, Kind::Begin { .. } | Kind::Commit | Kind::Rollback)
    }

    /// Whether the statement changes rows or the catalog.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Kind::Insert
            | Kind::Update
            | Kind::Delete
            | Kind::Truncate
            | Kind::CreateTable(_)
            | Kind::CreateTableAs(_)
            | Kind::CreateView(_)
            | Kind::CreateSchema(_)
            | Kind::Drop(_) => true,
            Kind::Copy(copy) => matches!(copy.direction, CopyDirection::In { .. }),
            _ => false,
        }
    }
}

/// Highest `$n`, as the protocol counts parameters in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// One statement: the text as sent and the tree that is authorised and executed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Statement(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    text: Arc<str>,
    tree: Tree,
    kind: Kind,
    uses: Vec<ObjectUse>,
    fingerprint: Fingerprint,
    shape: Shape,
    catalog_query: bool,
}

impl Statement {
    pub(crate) fn new(text: Arc<str>, mut tree: Tree, tokens: &[TokenWithSpan]) -> Result<Statement> {
        restrictions::fetch_to_limit(&mut tree);
        restrictions::check(&tree)?;
        let mentions_catalog = mentions_catalog(tokens);
        Statement::build(text, tree, Fingerprint::of(tokens), mentions_catalog)
    }

    fn build(text: Arc<str>, tree: Tree, fingerprint: Fingerprint, mentions_catalog: bool) -> Result<Statement> {
        let inner = |tree: Tree| Statement::build(text.clone(), tree, fingerprint, mentions_catalog);
        let shape = Shape::of(&tree);
        if shape.parameters > PARAMETERS_MAX {
            return Err(Refusal::new(weir_model::Code::ProgramLimitExceeded, "too many parameters")
                .detail(format!("limit={PARAMETERS_MAX}"))
                .hint("parameters are $1 to $65535"));
        }
        let kind = kind(&tree, inner)?;
        let uses = uses(&tree, &kind)?;
        let catalog_query = mentions_catalog
            && matches!(kind, Kind::Query | Kind::Prepare(_) | Kind::Declare(_) | Kind::Explain { .. } | Kind::Copy(_));
        Ok(Statement(Arc::new(Parts { shape, text, tree, kind, uses, fingerprint, catalog_query })))
    }

    /// This statement's own slice of what was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.0.tree
    }

    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }

    /// Every object named, with what is done to it; CTEs excluded; sorted, without duplicates.
    #[must_use]
    pub fn uses(&self) -> &[ObjectUse] {
        &self.0.uses
    }

    /// Highest `$n` in the text.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.0.shape.parameters
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint
    }

    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Whether the text mentions pg_catalog, information_schema, a `pg_…` name or a `reg…` cast.
    #[must_use]
    pub fn is_catalog_query(&self) -> bool {
        self.0.catalog_query
    }
}

fn mentions_catalog(tokens: &[TokenWithSpan]) -> bool {
    tokens.iter().any(|token| match &token.token {
        sqlparser::tokenizer::Token::Word(word) => {
            let name = word.value.to_ascii_lowercase();
            name == "information_schema"
                || name.starts_with("pg_")
                || matches!(
                    name.as_str(),
                    "current_schemas"
                        | "format_type"
                        | "has_any_column_privilege"
                        | "has_column_privilege"
                        | "has_database_privilege"
                        | "has_schema_privilege"
                        | "has_table_privilege"
                        | "obj_description"
                        | "col_description"
                        | "shobj_description"
                        | "quote_ident"
                        | "to_regclass"
                        | "to_regtype"
                        | "to_regnamespace"
                        | "regclass"
                        | "regtype"
                        | "regproc"
                        | "regprocedure"
                        | "regnamespace"
                        | "regrole"
                        | "regoper"
                )
        }
        _ => false,
    })
}

fn kind(tree: &Tree, inner: impl Fn(Tree) -> Result<Statement>) -> Result<Kind> {
    Ok(match tree {
        Tree::Query(query) => match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                return Err(Refusal::unsupported("WITH before INSERT, UPDATE, DELETE or MERGE")
                    .hint("put the WITH into the statement's own query"));
            }
            _ => Kind::Query,
        },
        Tree::Insert(_) => Kind::Insert,
        Tree::Update(_) => Kind::Update,
        Tree::Delete(_) => Kind::Delete,
        Tree::Truncate(truncate) => {
            if truncate.partitions.is_some() || truncate.identity.is_some() || truncate.cascade.is_some() {
                return Err(Refusal::unsupported("TRUNCATE with options"));
            }
            if truncate.if_exists || truncate.on_cluster.is_some() {
                return Err(Refusal::unsupported("this form of TRUNCATE"));
            }
            Kind::Truncate
        }
        Tree::Explain {
            describe_alias: DescribeAlias::Explain, analyze, verbose, statement, format, options, ..
        } => {
            if *analyze || format.is_some() || options.is_some() {
                return Err(Refusal::unsupported("EXPLAIN with ANALYZE or options").hint("use plain EXPLAIN"));
            }
            Kind::Explain { statement: inner(statement.as_ref().clone())?, verbose: *verbose }
        }
        Tree::CreateTable(create) if create.query.is_some() => Kind::CreateTableAs(create_table_as(create)?),
        Tree::CreateTable(create) => Kind::CreateTable(table_definition(create)?),
        Tree::CreateView(create) => Kind::CreateView(create_view(create)?),
        Tree::CreateSchema {
            schema_name,
            if_not_exists,
            with: None,
            options: None,
            default_collate_spec: None,
            clone: None,
        } => Kind::CreateSchema(create_schema(schema_name, *if_not_exists)?),
        Tree::Drop { object_type, if_exists, names, cascade, purge: false, temporary: false, table: None, .. } => {
            Kind::Drop(drop_objects(object_type, names, *if_exists, *cascade)?)
        }
        Tree::Copy { source, to, target, options, legacy_options, .. } => {
            Kind::Copy(copy(source, *to, target, options, legacy_options)?)
        }
        other => session_kind(other, inner)?,
    })
}

fn session_kind(tree: &Tree, inner: impl Fn(Tree) -> Result<Statement>) -> Result<Kind> {
    Ok(match tree {
        Tree::StartTransaction { modes, statements, exception: None, modifier: None, .. } if statements.is_empty() => {
            Kind::Begin { read_only: transaction_modes(modes)? }
        }
        Tree::Commit { chain: false, modifier: None, .. } => Kind::Commit,
        Tree::Rollback { chain: false, savepoint: None } => Kind::Rollback,
        Tree::Rollback { savepoint: Some(_), .. } | Tree::Savepoint { .. } | Tree::ReleaseSavepoint { .. } => {
            return Err(Refusal::unsupported("SAVEPOINT").hint("roll the whole transaction back and retry"));
        }
        Tree::Set(statement) => Kind::Set(set(statement)?),
        Tree::ShowVariable { variable } => Kind::Show(show_name(variable)),
        Tree::Reset(reset) => match &reset.reset {
            Reset::ALL => Kind::Reset(None),
            Reset::ConfigurationParameter(name) => Kind::Reset(Some(setting_name(name))),
        },
        Tree::Discard { object_type: DiscardObject::ALL } => Kind::DiscardAll,
        Tree::Prepare { name, data_types, statement } => Kind::Prepare(Box::new(Prepare {
            name: fold(name),
            types: data_types.iter().map(value_type).collect::<Result<_>>()?,
            statement: preparable(inner(statement.as_ref().clone())?)?,
        })),
        Tree::Execute { name: Some(name), parameters, immediate: false, into, using, .. }
            if into.is_empty() && using.is_empty() =>
        {
            Kind::Execute { name: raw_name(name)?.name, arguments: parameters.clone() }
        }
        Tree::Deallocate { name, .. } => {
            let all = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all");
            Kind::Deallocate((!all).then(|| fold(name)))
        }
        Tree::Declare { stmts } => Kind::Declare(Box::new(declare(stmts, inner)?)),
        Tree::Fetch { name, direction, position, into } => {
            Kind::Fetch(fetch(name, direction, position, into.as_ref())?)
        }
        Tree::Close { cursor } => Kind::Close(match cursor {
            CloseCursor::All => None,
            CloseCursor::Specific { name } => Some(fold(name)),
        }),
        Tree::UNLISTEN { .. } => Kind::Unlisten,
        other => {
            let first: String =
                other.to_string().chars().take_while(|c| c.is_alphanumeric() || *c == ' ').take(40).collect();
            return Err(Refusal::unsupported(format!("statement `{}`", first.trim())).hint(
                "supported: SELECT, INSERT, UPDATE, DELETE, TRUNCATE, COPY, CREATE/DROP SCHEMA, TABLE and VIEW, \
                       BEGIN, COMMIT, ROLLBACK, SET, SHOW, EXPLAIN, PREPARE and cursors",
            ));
        }
    })
}

fn preparable(statement: Statement) -> Result<Statement> {
    match statement.kind() {
        Kind::Query | Kind::Insert | Kind::Update | Kind::Delete => Ok(statement),
        other => Err(Refusal::unsupported(format!("PREPARE of {}", other.label()))),
    }
}

fn show_name(words: &[sqlparser::ast::Ident]) -> String {
    let joined = words.iter().map(|word| word.value.to_ascii_lowercase()).collect::<Vec<_>>().join(" ");
    match joined.as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        _ => joined.replace(' ', "."),
    }
}

fn uses(tree: &Tree, kind: &Kind) -> Result<Vec<ObjectUse>> {
    let mut uses = Uses::default();
    match tree {
        Tree::Query(query) => uses.add_reads(query)?,
        Tree::Insert(insert) => insert_uses(insert, &mut uses)?,
        Tree::Update(update) => update_uses(update, &mut uses)?,
        Tree::Delete(delete) => delete_uses(delete, &mut uses)?,
        Tree::Truncate(truncate) => {
            for target in &truncate.table_names {
                uses.add(raw_name(&target.name)?, Action::Truncate);
            }
        }
        Tree::CreateTable(create) => {
            uses.add(raw_name(&create.name)?, Action::Create);
            if let Some(query) = &create.query {
                uses.add_reads(query)?;
            }
        }
        Tree::CreateView(create) => {
            uses.add(raw_name(&create.name)?, Action::Create);
            uses.add_reads(&create.query)?;
        }
        Tree::Copy { source: CopySource::Query(query), .. } => uses.add_reads(query)?,
        _ => {}
    }
    match kind {
        Kind::Copy(CopyStatement { direction: CopyDirection::In { table, .. }, .. }) => {
            uses.add(table.clone(), Action::Insert);
        }
        Kind::Copy(CopyStatement { direction: CopyDirection::OutTable { table, .. }, .. }) => {
            uses.add(table.clone(), Action::Select);
        }
        Kind::Drop(drop) if drop.kind != DropKind::Schema => {
            drop.names.iter().for_each(|name| uses.add(name.clone(), Action::Drop));
        }
        Kind::Explain { statement, .. } => return Ok(statement.uses().to_vec()),
        Kind::Prepare(prepare) => return Ok(prepare.statement.uses().to_vec()),
        Kind::Declare(declare) => return Ok(declare.statement.uses().to_vec()),
        _ => {}
    }
    Ok(uses.into_vec())
}

fn insert_uses(insert: &sqlparser::ast::Insert, uses: &mut Uses) -> Result<()> {
    let refused = [
        (insert.on.is_some() || insert.or.is_some() || insert.ignore || insert.replace_into, "INSERT … ON CONFLICT"),
        (insert.returning.is_some() || insert.output.is_some(), "RETURNING"),
        (insert.overwrite || insert.partitioned.is_some() || !insert.after_columns.is_empty(), "INSERT OVERWRITE"),
        (!insert.assignments.is_empty() || insert.insert_alias.is_some(), "INSERT … SET"),
        (insert.settings.is_some() || insert.format_clause.is_some(), "SETTINGS or FORMAT"),
        (insert.multi_table_insert_type.is_some() || !insert.multi_table_into_clauses.is_empty(), "multi-table INSERT"),
        (!insert.optimizer_hints.is_empty() || insert.priority.is_some(), "INSERT hints"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(present, _)| *present) {
        return Err(Refusal::unsupported(what));
    }
    let TableObject::TableName(name) = &insert.table else {
        return Err(Refusal::unsupported("INSERT INTO a function or query"));
    };
    uses.add(raw_name(name)?, Action::Insert);
    match &insert.source {
        Some(query) => uses.add_reads(query),
        None => Ok(()),
    }
}

fn update_uses(update: &sqlparser::ast::Update, uses: &mut Uses) -> Result<()> {
    let refused = [
        (update.from.is_some(), "UPDATE … FROM"),
        (update.returning.is_some() || update.output.is_some(), "RETURNING"),
        (update.limit.is_some() || !update.order_by.is_empty() || update.or.is_some(), "UPDATE … LIMIT"),
        (!update.optimizer_hints.is_empty(), "UPDATE hints"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(present, _)| *present) {
        return Err(Refusal::unsupported(what));
    }
    let target = target_table(&update.table)?;
    let reads = update.selection.is_some() || update.assignments.iter().any(|set| reads_columns(&set.value));
    if reads {
        uses.add(target.clone(), Action::Select);
    }
    uses.add(target, Action::Update);
    uses.add_reads(&update.selection)?;
    update.assignments.iter().try_for_each(|set| uses.add_reads(&set.value))
}

fn delete_uses(delete: &sqlparser::ast::Delete, uses: &mut Uses) -> Result<()> {
    let refused = [
        (delete.using.is_some() || !delete.tables.is_empty(), "DELETE … USING"),
        (delete.returning.is_some() || delete.output.is_some(), "RETURNING"),
        (delete.limit.is_some() || !delete.order_by.is_empty(), "DELETE … LIMIT"),
        (!delete.optimizer_hints.is_empty(), "DELETE hints"),
    ];
    if let Some((_, what)) = refused.into_iter().find(|(present, _)| *present) {
        return Err(Refusal::unsupported(what));
    }
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let [table] = tables.as_slice() else {
        return Err(Refusal::unsupported("DELETE from several tables"));
    };
    let target = target_table(table)?;
    if delete.selection.is_some() {
        uses.add(target.clone(), Action::Select);
    }
    uses.add(target, Action::Delete);
    uses.add_reads(&delete.selection)
}

fn target_table(table: &TableWithJoins) -> Result<crate::names::RawName> {
    match &table.relation {
        TableFactor::Table { name, args: None, .. } if table.joins.is_empty() => raw_name(name),
        _ => Err(Refusal::unsupported("a write to anything but one table")),
    }
}
