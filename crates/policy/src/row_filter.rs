//! Which rows of an object a principal sees, changes and writes: PostgreSQL's row security.
//!
//! Per command, the policies FOR that command and FOR ALL whose roles the principal holds, or PUBLIC:
//! permissive ones are joined by OR, restrictive ones by AND; without a permissive one no row passes. USING says which
//! existing rows are seen or changed; WITH CHECK which new rows may be written, and where a policy has none, its USING
//! stands in.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;
use sqlparser::ast::{BinaryOperator, Expr};
use weir_model::{ObjectName, Principal, Refusal};

use crate::{
    bundle::{BundleBody, RowPolicyCommand},
    filter_expr::FilterExpr,
    misfit::Named,
    rule_id::RuleId,
    session_value::{SessionNeeds, boolean_of, substitute},
};

/// What a statement does to rows, as row policies tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowCommand {
    Select,
    Insert,
    Update,
    Delete,
}

impl RowCommand {
    pub(crate) const COUNT: usize = 4;
}

/// The rows of one object that one principal may touch with one command.
///
/// PostgreSQL asks for more than one of these at times, and the engine must too: UPDATE and DELETE that read a column
/// (in WHERE, SET or RETURNING) also need [`RowCommand::Select`]'s `using` on the old rows, and INSERT or UPDATE with
/// RETURNING need it on the new ones.
#[derive(Debug, Clone, PartialEq)]
pub enum RowFilter {
    /// Row security is off, or a policy lets every row pass.
    Unrestricted,
    /// No row is seen or changed, and none may be written.
    Nothing,
    Filtered(Arc<Filtered>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Filtered {
    /// Rows for which this is true are seen or changed; none means every row. Always none for INSERT.
    pub using: Option<Expr>,
    /// New rows for which this is not true are refused; none means no check. Always none for SELECT and DELETE.
    pub check: Option<Expr>,
    /// The policies that went in, by name.
    pub policies: Vec<RuleId>,
    /// Every column that `using` or `check` mentions, folded.
    pub columns: BTreeSet<String>,
}

/// What the plans of two principals must have in common to be shared: roles, and the values of the attributes that
/// any row filter of the policy reads. Use it with the bundle's version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyClass(Arc<Class>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Class {
    roles: Vec<String>,
    attributes: Vec<(String, Option<String>)>,
    user: Option<Arc<str>>,
}

#[derive(Debug)]
struct Policy {
    id: RuleId,
    permissive: bool,
    command: RowPolicyCommand,
    roles: Vec<String>,
    using: Option<FilterExpr>,
    check: Option<FilterExpr>,
}

/// Row policies by object; an object without an entry has no row security.
#[derive(Debug)]
pub(crate) struct RowIndex {
    tables: HashMap<ObjectName, Vec<Policy>>,
    needs: SessionNeeds,
}

impl RowIndex {
    pub fn new(body: &BundleBody) -> Result<RowIndex, String> {
        let mut tables: HashMap<ObjectName, Vec<Policy>> = HashMap::new();
        let mut needs = SessionNeeds::default();
        for table in &body.row_security {
            tables.entry(table.clone()).or_default();
        }
        for policy in &body.row_policies {
            let mut parse = |text: &Option<String>| match text {
                None => Ok(None),
                Some(text) => {
                    let parsed = FilterExpr::parse(text, &policy.table)
                        .map_err(|error| format!("{}: policy `{}`: {error}", policy.origin, policy.name))?;
                    needs.extend(&parsed.needs);
                    Ok::<_, String>(Some(parsed))
                }
            };
            let (using, check) = (parse(&policy.using)?, parse(&policy.check)?);
            tables.entry(policy.table.clone()).or_default().push(Policy {
                id: RuleId { id: Arc::clone(&policy.name), origin: policy.origin.clone() },
                permissive: policy.permissive,
                command: policy.command,
                roles: policy.roles.clone(),
                using,
                check,
            });
        }
        for policies in tables.values_mut() {
            policies.sort_by(|left, right| left.id.id.cmp(&right.id.id));
        }
        Ok(RowIndex { tables, needs })
    }

    /// The tables and columns that policies name, in the order of the file.
    pub fn named(&self) -> impl Iterator<Item = Named<'_>> {
        let mut named: Vec<Named<'_>> = Vec::new();
        for (table, policies) in &self.tables {
            named.extend(policies.iter().map(|policy| {
                let expressions = policy.using.iter().chain(&policy.check);
                let columns = expressions.flat_map(|expr| expr.columns.iter().map(String::as_str)).collect();
                Named { table, columns, rule: format!("policy `{}`", policy.id.id), origin: &policy.id.origin }
            }));
        }
        named.sort_by_key(|named| named.origin.line);
        named.into_iter()
    }

    pub fn class(&self, principal: &Principal) -> PolicyClass {
        let value = |name: &String| (name.clone(), principal.attributes.get(name).map(class_value));
        PolicyClass(Arc::new(Class {
            roles: principal.roles.clone(),
            attributes: self.needs.attributes.iter().map(value).collect(),
            user: self.needs.user.then(|| Arc::clone(&principal.agent)),
        }))
    }

    /// Whether row security is on for an object.
    pub fn is_secured(&self, object: &ObjectName) -> bool {
        self.tables.contains_key(object)
    }

    /// The policies that apply, by name.
    pub fn applying(&self, principal: &Principal, object: &ObjectName, command: RowCommand) -> Vec<RuleId> {
        self.policies(principal, object, command).map(|policy| policy.id.clone()).collect()
    }

    fn policies<'a>(
        &'a self,
        principal: &'a Principal,
        object: &ObjectName,
        command: RowCommand,
    ) -> impl Iterator<Item = &'a Policy> {
        let policies = self.tables.get(object).map(Vec::as_slice).unwrap_or_default();
        policies.iter().filter(move |policy| policy.applies(principal, command))
    }

    pub fn filter(
        &self,
        principal: &Principal,
        object: &ObjectName,
        command: RowCommand,
    ) -> Result<RowFilter, Refusal> {
        if !self.is_secured(object) {
            return Ok(RowFilter::Unrestricted);
        }
        let mut columns = BTreeSet::new();
        let mut using = Combination::default();
        let mut check = Combination::default();
        let mut policies = Vec::new();
        for policy in self.policies(principal, object, command) {
            policies.push(policy.id.clone());
            if let (true, Some(expr)) = (command.sees_rows(), &policy.using) {
                using.add(policy.permissive, substitute(&expr.expr, principal)?);
                columns.extend(expr.columns.iter().cloned());
            }
            if let (true, Some(expr)) = (command.writes_rows(), policy.check.as_ref().or(policy.using.as_ref())) {
                check.add(policy.permissive, substitute(&expr.expr, principal)?);
                columns.extend(expr.columns.iter().cloned());
            }
        }
        let nothing = (command.sees_rows() && using.permissive.is_empty())
            || (command.writes_rows() && check.permissive.is_empty());
        if nothing {
            return Ok(RowFilter::Nothing);
        }
        let (using, check) = (using.combined(), check.combined());
        if using.is_none() && check.is_none() {
            return Ok(RowFilter::Unrestricted);
        }
        Ok(RowFilter::Filtered(Arc::new(Filtered { using, check, policies, columns })))
    }
}

impl Policy {
    fn applies(&self, principal: &Principal, command: RowCommand) -> bool {
        let commands = matches!(
            (self.command, command),
            (RowPolicyCommand::All, _)
                | (RowPolicyCommand::Select, RowCommand::Select)
                | (RowPolicyCommand::Insert, RowCommand::Insert)
                | (RowPolicyCommand::Update, RowCommand::Update)
                | (RowPolicyCommand::Delete, RowCommand::Delete)
        );
        commands && (self.roles.is_empty() || self.roles.iter().any(|role| principal.has_role(role)))
    }
}

impl RowCommand {
    fn sees_rows(self) -> bool {
        self != RowCommand::Insert
    }

    fn writes_rows(self) -> bool {
        matches!(self, RowCommand::Insert | RowCommand::Update)
    }
}

/// Expressions on the way to (permissive OR …) AND restrictive AND ….
#[derive(Debug, Default)]
struct Combination {
    permissive: Vec<Expr>,
    restrictive: Vec<Expr>,
}

impl Combination {
    fn add(&mut self, permissive: bool, expr: Expr) {
        if permissive { self.permissive.push(expr) } else { self.restrictive.push(expr) }
    }

    /// None when every row passes. `x OR TRUE` is TRUE and `x AND TRUE` is `x`, for an unknown `x` too.
    fn combined(self) -> Option<Expr> {
        let always = |expr: &Expr| boolean_of(expr) == Some(true);
        let mut parts: Vec<Expr> = self.restrictive.into_iter().filter(|expr| !always(expr)).collect();
        if !self.permissive.iter().any(always) {
            parts.extend(joined(self.permissive, &BinaryOperator::Or));
        }
        joined(parts, &BinaryOperator::And)
    }
}

/// Joins by one operator, as a tree of logarithmic depth: a thousand policies must not be a thousand levels.
fn joined(mut exprs: Vec<Expr>, op: &BinaryOperator) -> Option<Expr> {
    if exprs.len() <= 1 {
        return exprs.pop();
    }
    let right = joined(exprs.split_off(exprs.len() / 2), op)?;
    let left = joined(exprs, op)?;
    let nested = |expr: Expr| match expr {
        expr @ (Expr::Nested(_) | Expr::Value(_)) => Box::new(expr),
        expr => Box::new(Expr::Nested(Box::new(expr))),
    };
    Some(Expr::BinaryOp { left: nested(left), op: op.clone(), right: nested(right) })
}

/// An attribute as it enters a class: its kind too, since a list and a text of one spelling substitute differently.
fn class_value(value: &weir_model::AttributeValue) -> String {
    format!("{value:?}")
}
