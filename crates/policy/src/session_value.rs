//! `current_setting('agent.…')` and `current_user` in row filters: what a session's principal puts in their place.

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::Span;
use weir_model::{AttributeValue, Code, Principal, Refusal};

/// Session settings that row filters may read live below this prefix; they come from the credential and the bundle
/// alone, so no `SET` reaches them.
const PREFIX: &str = "agent.";

/// A place in a filter that a principal's value takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SessionValue<'a> {
    User,
    /// `current_setting('agent.<name>')`; `optional` with PostgreSQL's second argument `true`: NULL when missing.
    Attribute {
        name: &'a str,
        optional: bool,
    },
    /// `current_setting` of anything else.
    Foreign,
}

/// What the filters of a policy read of a principal, besides its roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionNeeds {
    pub attributes: BTreeSet<String>,
    pub user: bool,
}

impl SessionNeeds {
    pub fn extend(&mut self, other: &SessionNeeds) {
        self.attributes.extend(other.attributes.iter().cloned());
        self.user |= other.user;
    }
}

/// The function's name when it is one unqualified word.
pub(crate) fn function_name(function: &Function) -> Option<String> {
    match function.name.0.as_slice() {
        [part] => part.as_ident().map(|ident| weir_model::fold_identifier(&ident.value, ident.quote_style.is_some())),
        _ => None,
    }
}

/// Plain positional arguments; none when the call has any other clause.
pub(crate) fn plain_arguments(function: &Function) -> Option<Vec<&Expr>> {
    let plain = function.filter.is_none()
        && function.over.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty()
        && !function.uses_odbc_syntax
        && matches!(function.parameters, FunctionArguments::None);
    match &function.args {
        FunctionArguments::None if plain => Some(Vec::new()),
        FunctionArguments::List(list) if plain && list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            let expression = |argument| match argument {
                &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref expr)) => Some(expr),
                _ => None,
            };
            list.args.iter().map(expression).collect()
        }
        _ => None,
    }
}

/// The session value that an expression stands for, if it does.
pub(crate) fn session_value(expr: &Expr) -> Option<SessionValue<'_>> {
    let Expr::Function(function) = expr else { return None };
    let name = function_name(function)?;
    if matches!(name.as_str(), "current_user" | "session_user" | "user" | "current_role") {
        return plain_arguments(function)?.is_empty().then_some(SessionValue::User);
    }
    if name != "current_setting" {
        return None;
    }
    let found = match plain_arguments(function)?.as_slice() {
        [setting] => text_of(setting).map(|text| (text, false)),
        [setting, missing_ok] => match (text_of(setting), boolean_of(missing_ok)) {
            (Some(text), Some(optional)) => Some((text, optional)),
            _ => None,
        },
        _ => None,
    };
    let attribute = found.and_then(|(text, optional)| Some((text.strip_prefix(PREFIX)?, optional)));
    Some(match attribute {
        Some((name, optional)) if !name.is_empty() => SessionValue::Attribute { name, optional },
        _ => SessionValue::Foreign,
    })
}

/// The attribute behind `string_to_array(current_setting('agent.<name>'), ',')`, the right side of `= ANY (…)`.
pub(crate) fn listed_attribute(mut expr: &Expr) -> Option<&str> {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    let Expr::Function(function) = expr else { return None };
    if function_name(function)? != "string_to_array" {
        return None;
    }
    match plain_arguments(function)?.as_slice() {
        [setting, separator] if text_of(separator) == Some(",") => match session_value(setting)? {
            SessionValue::Attribute { name, optional: false } => Some(name),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some(text),
        _ => None,
    }
}

pub(crate) fn boolean_of(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Nested(inner) => boolean_of(inner),
        Expr::Value(ValueWithSpan { value: Value::Boolean(value), .. }) => Some(*value),
        _ => None,
    }
}

pub(crate) fn literal(value: Value) -> Expr {
    Expr::Value(ValueWithSpan { value, span: Span::empty() })
}

/// Puts the principal's values into a filter, as literals in the tree: they are never SQL text again.
///
/// # Errors
/// `permission_denied` when an attribute that the filter needs is missing.
pub(crate) fn substitute(expr: &Expr, principal: &Principal) -> Result<Expr, Refusal> {
    let mut expr = expr.clone();
    match VisitMut::visit(&mut expr, &mut Substitution { principal }) {
        ControlFlow::Continue(()) => Ok(expr),
        ControlFlow::Break(refusal) => Err(refusal),
    }
}

struct Substitution<'a> {
    principal: &'a Principal,
}

impl Substitution<'_> {
    fn attribute(&self, name: &str) -> Result<&AttributeValue, Refusal> {
        self.principal.attributes.get(name).ok_or_else(|| {
            Refusal::new(Code::PermissionDenied, format!("agent `{}` has no attribute `{name}`", self.principal.agent))
                .detail(format!("attribute={name}"))
                .hint(format!(
                    "a row filter reads `current_setting('agent.{name}')`: set it in policy.toml or the credential"
                ))
        })
    }

    fn replacement(&self, expr: &Expr) -> Result<Option<Expr>, Refusal> {
        if let Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } = expr
            && let Some(name) = listed_attribute(right)
        {
            let items: Vec<String> = match self.attribute(name)? {
                AttributeValue::List(items) => items.clone(),
                other => other.to_string().split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect(),
            };
            if items.is_empty() {
                return Ok(Some(literal(Value::Boolean(false))));
            }
            let list = items.into_iter().map(|item| literal(Value::SingleQuotedString(item))).collect();
            return Ok(Some(Expr::InList { expr: left.clone(), list, negated: false }));
        }
        Ok(match session_value(expr) {
            None | Some(SessionValue::Foreign) => None,
            Some(SessionValue::User) => Some(literal(Value::SingleQuotedString(self.principal.agent.as_ref().into()))),
            Some(SessionValue::Attribute { name, optional }) => match self.attribute(name) {
                Ok(value) => Some(literal(Value::SingleQuotedString(value.to_string()))),
                Err(_) if optional => Some(null_text()),
                Err(refusal) => return Err(refusal),
            },
        })
    }
}

fn null_text() -> Expr {
    let (kind, expr, data_type) = (CastKind::Cast, Box::new(literal(Value::Null)), DataType::Text);
    Expr::Cast { kind, expr, data_type, array: false, format: None }
}

impl VisitorMut for Substitution<'_> {
    type Break = Refusal;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refusal> {
        match self.replacement(expr) {
            Ok(Some(replacement)) => *expr = replacement,
            Ok(None) => {}
            Err(refusal) => return ControlFlow::Break(refusal),
        }
        ControlFlow::Continue(())
    }
}
