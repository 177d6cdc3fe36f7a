//! Statements about the session itself: settings, prepared statements, cursors.

use sqlparser::ast::{
    Declare, DeclareType, Expr, FetchDirection, FetchPosition, Ident, ObjectName as TreeName, Set, SetSessionParamKind,
    TransactionAccessMode, TransactionIsolationLevel, TransactionMode, UnaryOperator, Value, ValueWithSpan,
};
use weir_model::{Code, Refusal, Result, ValueType};

use crate::{names::fold, statement::Statement};

/// SET name TO value, in one form for all its spellings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement {
    /// Lower case.
    pub name: String,
    /// None is DEFAULT.
    pub value: Option<String>,
    /// SET LOCAL: until the transaction ends.
    pub local: bool,
}

/// PREPARE name (types) AS statement.
#[derive(Debug, Clone)]
pub struct Prepare {
    pub name: String,
    pub types: Vec<ValueType>,
    pub statement: Statement,
}

/// DECLARE name CURSOR FOR query.
#[derive(Debug, Clone)]
pub struct DeclareCursor {
    pub name: String,
    pub hold: bool,
    pub statement: Statement,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchCount {
    Rows(u64),
    All,
}

/// FETCH, forward only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchCursor {
    pub name: String,
    pub count: FetchCount,
}

pub(crate) fn set(set: &Set) -> Result<SetStatement> {
    match set {
        Set::SingleAssignment { scope, hivevar: false, variable, values } => Ok(SetStatement {
            name: setting_name(variable),
            value: setting_value(values)?,
            local: scope.as_ref().is_some_and(|scope| scope.to_string().trim().eq_ignore_ascii_case("LOCAL")),
        }),
        Set::SetTimeZone { local, value } => Ok(SetStatement {
            name: "timezone".into(),
            value: setting_value(std::slice::from_ref(value))?,
            local: *local,
        }),
        Set::SetNames { charset_name, .. } => {
            Ok(SetStatement { name: "client_encoding".into(), value: Some(charset_name.value.clone()), local: false })
        }
        Set::SetNamesDefault {} => Ok(SetStatement { name: "client_encoding".into(), value: None, local: false }),
        Set::SetTransaction { modes, snapshot: None, session } => {
            let Some(read_only) = transaction_modes(modes)? else {
                // An isolation level that snapshots meet already.
                let name = if *session { "default_transaction_isolation" } else { "transaction_isolation" };
                return Ok(SetStatement { name: name.into(), value: None, local: false });
            };
            Ok(SetStatement {
                name: if *session { "default_transaction_read_only" } else { "transaction_read_only" }.into(),
                value: Some(if read_only { "on" } else { "off" }.into()),
                local: !*session,
            })
        }
        Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {
            Err(Refusal::new(Code::PermissionDenied, "a session's identity comes from its credential alone")
                .hint("connect with the other agent's key"))
        }
        Set::SetSessionParam(SetSessionParamKind::Generic(param)) => Ok(SetStatement {
            name: param.names.join(".").to_ascii_lowercase(),
            value: Some(param.value.clone()),
            local: false,
        }),
        other => Err(Refusal::unsupported(format!("`{other}`"))),
    }
}

pub(crate) fn setting_name(name: &TreeName) -> String {
    name.0.iter().map(|part| part.to_string().replace('"', "")).collect::<Vec<_>>().join(".").to_ascii_lowercase()
}

fn setting_value(values: &[Expr]) -> Result<Option<String>> {
    let texts = values.iter().map(one_value).collect::<Result<Vec<_>>>()?;
    match texts.as_slice() {
        [only] if only.eq_ignore_ascii_case("default") => Ok(None),
        _ => Ok(Some(texts.join(", "))),
    }
}

fn one_value(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Identifier(ident) => Ok(fold(ident)),
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::Number(digits, _) => Ok(digits.clone()),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Ok(text.clone()),
            Value::Boolean(on) => Ok(if *on { "on" } else { "off" }.into()),
            other => Err(Refusal::new(Code::SyntaxError, format!("`{other}` is not a setting's value"))),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(format!("-{}", one_value(expr)?)),
        other => Err(Refusal::new(Code::SyntaxError, format!("`{other}` is not a setting's value"))),
    }
}

/// Whether the modes say READ ONLY, if they say either. Every isolation level up to REPEATABLE READ is met by reading one version.
pub(crate) fn transaction_modes(modes: &[TransactionMode]) -> Result<Option<bool>> {
    let mut read_only = None;
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                read_only = Some(*access == TransactionAccessMode::ReadOnly);
            }
            TransactionMode::IsolationLevel(TransactionIsolationLevel::Serializable) => {
                return Err(Refusal::unsupported("isolation level SERIALIZABLE")
                    .hint("transactions have snapshot isolation: ask for REPEATABLE READ or less"));
            }
            TransactionMode::IsolationLevel(_) => {}
        }
    }
    Ok(read_only)
}

pub(crate) fn declare(
    declares: &[Declare],
    inner: impl FnOnce(sqlparser::ast::Statement) -> Result<Statement>,
) -> Result<DeclareCursor> {
    let [declare] = declares else {
        return Err(Refusal::unsupported("more than one DECLARE at once"));
    };
    let (Some(DeclareType::Cursor), Some(query), [name]) =
        (&declare.declare_type, &declare.for_query, declare.names.as_slice())
    else {
        return Err(Refusal::unsupported("DECLARE of anything but a cursor"));
    };
    if declare.scroll == Some(true) {
        return Err(Refusal::unsupported("SCROLL cursors").hint("cursors go forward only"));
    }
    if declare.binary == Some(true) {
        return Err(Refusal::unsupported("BINARY cursors").hint("ask for binary results in the extended protocol"));
    }
    Ok(DeclareCursor {
        name: fold(name),
        hold: declare.hold == Some(true),
        statement: inner(sqlparser::ast::Statement::Query(query.clone()))?,
    })
}

pub(crate) fn fetch(
    name: &Ident,
    direction: &FetchDirection,
    _position: &FetchPosition,
    into: Option<&TreeName>,
) -> Result<FetchCursor> {
    if into.is_some() {
        return Err(Refusal::unsupported("FETCH … INTO"));
    }
    let rows = |limit: &ValueWithSpan| match &limit.value {
        Value::Number(digits, _) => {
            digits.parse().map(FetchCount::Rows).map_err(|_| Refusal::new(Code::InvalidParameter, "bad row count"))
        }
        other => Err(Refusal::new(Code::SyntaxError, format!("`{other}` is not a row count"))),
    };
    let count = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => FetchCount::Rows(1),
        FetchDirection::Count { limit } | FetchDirection::Forward { limit: Some(limit) } => rows(limit)?,
        FetchDirection::All | FetchDirection::ForwardAll => FetchCount::All,
        other => {
            return Err(Refusal::unsupported(format!("FETCH {other}")).hint("cursors go forward only"));
        }
    };
    Ok(FetchCursor { name: fold(name), count })
}
