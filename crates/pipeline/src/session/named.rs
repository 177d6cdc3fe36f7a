use std::collections::HashMap;

use weir_model::{Code, Refusal, Result, Value, ValueType};
use weir_sql::ast::{CastKind, Expr, UnaryOperator, Value as Literal, ValueWithSpan};

use crate::session::Prepared;

/// Most statements that a session may hold by PREPARE, and the bytes of their texts together.
const NAMES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 << 20;

/// Statements named by PREPARE.
#[derive(Debug, Default)]
pub(crate) struct NamedStatements {
    held: HashMap<String, (Prepared, usize)>,
    bytes: usize,
}

impl NamedStatements {
    /// Whether one more, of a text of so many bytes, may be held.
    pub(crate) fn check_free(&self, name: &str, bytes: usize) -> Result<()> {
        if self.held.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Refusal::new(Code::DuplicatePreparedStatement, message));
        }
        if self.held.len() >= NAMES_MAX || self.bytes.saturating_add(bytes) > BYTES_MAX {
            return Err(Refusal::new(Code::ProgramLimitExceeded, "too many prepared statements")
                .detail(format!("limit={NAMES_MAX}; bytes_limit={BYTES_MAX}"))
                .hint("DEALLOCATE those no longer used"));
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, name: String, prepared: Prepared, bytes: usize) {
        self.remove(Some(&name));
        self.bytes += bytes;
        self.held.insert(name, (prepared, bytes));
    }

    pub(crate) fn get(&self, name: &str) -> Result<Prepared> {
        self.held.get(name).map(|(prepared, _)| prepared.clone()).ok_or_else(|| unknown(name))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn remove(&mut self, name: Option<&str>) {
        match name {
            // A name that only the protocol knows is dropped by the connection.
            Some(name) => {
                if let Some((_, bytes)) = self.held.remove(name) {
                    self.bytes -= bytes;
                }
            }
            None => {
                self.held.clear();
                self.bytes = 0;
            }
        }
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::new(Code::InvalidStatementName, format!("prepared statement \"{name}\" does not exist"))
}

/// The values of EXECUTE's arguments, which are constants.
pub(crate) fn argument(expr: &Expr) -> Result<Value> {
    Ok(match expr {
        Expr::Nested(inner) => argument(inner)?,
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Literal::Null => Value::Null(None),
            Literal::Boolean(value) => Value::Boolean(*value),
            Literal::Number(digits, _) => number(digits)?,
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => Value::Text(text.clone()),
            Literal::DollarQuotedString(text) => Value::Text(text.value.clone()),
            other => return Err(not_constant(other)),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match argument(expr)? {
            Value::BigInt(value) => Value::BigInt(-value),
            Value::Double(value) => Value::Double(-value),
            Value::Text(digits) => Value::Text(format!("-{digits}")),
            _ => return Err(not_constant(expr)),
        },
        // The parameter's own type decides; a text is read as that type.
        Expr::Cast { kind: CastKind::DoubleColon | CastKind::Cast, expr, .. } => argument(expr)?,
        Expr::TypedString(typed) => match &typed.value.value {
            Literal::SingleQuotedString(text) => Value::Text(text.clone()),
            other => return Err(not_constant(other)),
        },
        other => return Err(not_constant(other)),
    })
}

fn number(digits: &str) -> Result<Value> {
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(Value::BigInt(value));
    }
    // Read as text by the parameter's type, so that no digit of a numeric is lost.
    Ok(Value::Text(digits.to_owned()))
}

fn not_constant(what: impl std::fmt::Display) -> Refusal {
    Refusal::unsupported(format!("`{what}` as an argument of EXECUTE")).hint("arguments are constants")
}

/// Whether the types that a client may leave open fit what a statement needs.
pub(crate) fn check_count(given: usize, parameters: &[ValueType]) -> Result<()> {
    if given == parameters.len() {
        return Ok(());
    }
    Err(Refusal::new(Code::SyntaxError, "wrong number of parameters for prepared statement")
        .detail(format!("expected {} parameters but got {given}", parameters.len())))
}
