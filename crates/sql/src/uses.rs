use std::{collections::BTreeSet, ops::ControlFlow, ptr};

use sqlparser::ast::{Expr, ObjectName, Query, TableFactor, Visit, Visitor};
use weir_model::{Action, Refusal, Result};

use crate::names::{RawName, fold, raw_name};

/// One object that a statement names, and what it does to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectUse {
    pub name: RawName,
    pub action: Action,
}

/// Collects uses; CTE names are recognised by PostgreSQL's scoping, so that `WITH t AS (SELECT * FROM t)` still uses
/// the table `t`.
#[derive(Default)]
pub(crate) struct Uses(BTreeSet<ObjectUse>);

impl Uses {
    pub(crate) fn add(&mut self, name: RawName, action: Action) {
        self.0.insert(ObjectUse { name, action });
    }

    /// Everything that `tree` reads.
    pub(crate) fn add_reads(&mut self, tree: &impl Visit) -> Result<()> {
        let mut walk = Walk { uses: &mut self.0, scopes: Vec::new(), functions: Vec::new() };
        match tree.visit(&mut walk) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(refusal) => Err(refusal),
        }
    }

    pub(crate) fn into_vec(self) -> Vec<ObjectUse> {
        self.0.into_iter().collect()
    }
}

/// Whether an expression reads any column.
pub(crate) fn reads_columns(expr: &Expr) -> bool {
    struct Columns(bool);
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0 |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_));
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns(false);
    let _: ControlFlow<()> = expr.visit(&mut columns);
    columns.0
}

/// The CTEs of one query that is being visited.
struct Scope {
    /// Name, and the address of the query it stands for: how a visit tells that it enters that query.
    ctes: Vec<(String, *const Query)>,
    /// How many of them the part being visited sees.
    visible: usize,
    recursive: bool,
}

struct Walk<'a> {
    uses: &'a mut BTreeSet<ObjectUse>,
    scopes: Vec<Scope>,
    /// Addresses of names in FROM that are calls (`generate_series(1, 3)`), not tables.
    functions: Vec<*const ObjectName>,
}

impl Visitor for Walk<'_> {
    type Break = Refusal;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Refusal> {
        if let TableFactor::Table { name, args: Some(_), .. } = factor {
            self.functions.push(ptr::from_ref(name));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        let ctes: Vec<(String, *const Query)> = query
            .with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|cte| (fold(&cte.alias.name), ptr::from_ref(cte.query.as_ref())))
            .collect();
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let visible = if recursive { ctes.len() } else { 0 };
        self.scopes.push(Scope { ctes, visible, recursive });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        self.scopes.pop();
        if let Some(outer) = self.scopes.last_mut().filter(|outer| !outer.recursive) {
            let done = outer.ctes.iter().position(|(_, address)| ptr::eq(*address, query));
            if let Some(index) = done {
                outer.visible = index + 1;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Refusal> {
        if self.functions.iter().any(|function| ptr::eq(*function, relation)) {
            return ControlFlow::Continue(());
        }
        let name = match raw_name(relation) {
            Ok(name) => name,
            Err(refusal) => return ControlFlow::Break(refusal),
        };
        let is_cte = name.schema.is_none()
            && self.scopes.iter().any(|scope| scope.ctes.iter().take(scope.visible).any(|(cte, _)| *cte == name.name));
        if !is_cte {
            self.uses.insert(ObjectUse { name, action: Action::Select });
        }
        ControlFlow::Continue(())
    }
}
