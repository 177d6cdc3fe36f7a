use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::{Map, Value, json};

/// What a client is told went wrong: a JSON-RPC error object. Codes from -32099 to -32000 are RFC-002's and this
/// plane's own, the others JSON-RPC's.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProtocolError {
    /// -32700
    #[error("not valid JSON or MessagePack: {0}")]
    Parse(String),
    /// -32600
    #[error("not a request: {0}")]
    InvalidRequest(String),
    /// -32601: no method of this plane, or one that is switched off.
    #[error("no method `{method}` here{}", .hint.map(|hint| format!(": {hint}")).unwrap_or_default())]
    MethodNotFound { method: String, hint: Option<&'static str> },
    /// -32602. `field` is the path of the parameter, such as `entries[3].ttl`.
    #[error("`{field}`: {detail}")]
    InvalidParams { field: String, detail: String },
    /// -32000
    #[error("no policy `{path}`")]
    PolicyNotFound { path: String },
    /// -32001
    #[error("policy `{path}` does not compile: {detail}")]
    CompileFailed { path: String, detail: String },
    /// -32002
    #[error("no decision: {0}")]
    EvaluationFailed(String),
    /// -32003
    #[error("not allowed: {reason}{}", .namespace.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default())]
    Unauthorized { reason: Refusal, namespace: Option<String> },
    /// -32004
    #[error("no fact `{key}`")]
    KeyNotFound { key: String },
    /// -32005. `version` is what the key has, 0 when it has no value.
    #[error("`{key}` is at version {version}, not {expected}")]
    VersionConflict { key: String, expected: u64, version: u64 },
    /// -32006
    #[error("{what} is at most {max}")]
    TooLarge { what: Part, max: usize },
    /// -32007
    #[error("too many requests: retry in {retry_after_ms} ms")]
    RateLimited { retry_after_ms: u64 },
    /// -32008
    #[error("not done within {after_ms} ms")]
    Timeout { after_ms: u64 },
    /// -32009
    #[error("overloaded: retry in {retry_after_ms} ms")]
    Overloaded { retry_after_ms: u64 },
    /// -32010
    #[error("storage: {0}")]
    Storage(String),
    /// -32603
    #[error("internal error")]
    Internal,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no token, or nobody has it.
    Token,
    /// Tokens of this kind do not serve here: the kind decides the plane.
    TokenKind,
    /// The service is not among the allowed writers.
    Writer,
    /// The key or pattern is not within what the caller was granted.
    Namespace,
    /// The client's process is not of a user that the operator lets in.
    User,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::Token => "the token is missing or not valid",
            Refusal::TokenKind => "tokens of this kind do not serve here",
            Refusal::Writer => "this service is not an allowed writer",
            Refusal::Namespace => "namespace",
            Refusal::User => "processes of this user are not let in",
        })
    }
}

/// What has a greatest size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Bytes.
    Frame,
    /// Bytes of its JSON text without spaces.
    Value,
    /// Entries, keys, operations or evaluations of one request.
    Batch,
    /// Requests in one JSON array.
    Requests,
    /// Bytes of all that a request asks for.
    Answer,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Frame => "the number of bytes of a message",
            Part::Value => "the number of bytes of a value",
            Part::Batch => "the number of entries of a request",
            Part::Requests => "the number of requests in an array",
            Part::Answer => "the number of bytes of an answer",
        })
    }
}

impl ProtocolError {
    pub(crate) fn field(field: impl Into<String>, detail: impl Into<String>) -> ProtocolError {
        ProtocolError::InvalidParams { field: field.into(), detail: detail.into() }
    }

    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            ProtocolError::Parse(_) => -32700,
            ProtocolError::InvalidRequest(_) => -32600,
            ProtocolError::MethodNotFound { .. } => -32601,
            ProtocolError::InvalidParams { .. } => -32602,
            ProtocolError::Internal => -32603,
            ProtocolError::PolicyNotFound { .. } => -32000,
            ProtocolError::CompileFailed { .. } => -32001,
            ProtocolError::EvaluationFailed(_) => -32002,
            ProtocolError::Unauthorized { .. } => -32003,
            ProtocolError::KeyNotFound { .. } => -32004,
            ProtocolError::VersionConflict { .. } => -32005,
            ProtocolError::TooLarge { .. } => -32006,
            ProtocolError::RateLimited { .. } => -32007,
            ProtocolError::Timeout { .. } => -32008,
            ProtocolError::Overloaded { .. } => -32009,
            ProtocolError::Storage(_) => -32010,
        }
    }

    /// The code in words; what was wrong in particular is in [`data`](ProtocolError::data).
    #[must_use]
    pub fn message(&self) -> &'static str {
        match self {
            ProtocolError::Parse(_) => "Parse error",
            ProtocolError::InvalidRequest(_) => "Invalid request",
            ProtocolError::MethodNotFound { .. } => "Method not found",
            ProtocolError::InvalidParams { .. } => "Invalid params",
            ProtocolError::Internal => "Internal error",
            ProtocolError::PolicyNotFound { .. } => "Policy not found",
            ProtocolError::CompileFailed { .. } => "Policy compilation failed",
            ProtocolError::EvaluationFailed(_) => "Evaluation error",
            ProtocolError::Unauthorized { .. } => "Unauthorized",
            ProtocolError::KeyNotFound { .. } => "Key not found",
            ProtocolError::VersionConflict { .. } => "Version conflict",
            ProtocolError::TooLarge { .. } => "Payload too large",
            ProtocolError::RateLimited { .. } => "Rate limited",
            ProtocolError::Timeout { .. } => "Timeout",
            ProtocolError::Overloaded { .. } => "Overloaded",
            ProtocolError::Storage(_) => "Storage error",
        }
    }

    /// The error object's `data`.
    #[must_use]
    pub fn data(&self) -> Option<Value> {
        Some(match self {
            ProtocolError::Parse(detail)
            | ProtocolError::InvalidRequest(detail)
            | ProtocolError::EvaluationFailed(detail)
            | ProtocolError::Storage(detail) => json!({ "detail": detail }),
            ProtocolError::MethodNotFound { method, hint: Some(hint) } => json!({ "method": method, "detail": hint }),
            ProtocolError::MethodNotFound { method, hint: None } => json!({ "method": method }),
            ProtocolError::InvalidParams { field, detail } => json!({ "field": field, "detail": detail }),
            ProtocolError::PolicyNotFound { path } => json!({ "path": path }),
            ProtocolError::CompileFailed { path, detail } => json!({ "path": path, "detail": detail }),
            ProtocolError::Unauthorized { reason, namespace } => {
                let mut data = Map::new();
                data.insert("reason".to_owned(), json!(reason));
                if let Some(namespace) = namespace {
                    data.insert("namespace".to_owned(), json!(namespace));
                }
                Value::Object(data)
            }
            ProtocolError::KeyNotFound { key } => json!({ "key": key }),
            ProtocolError::VersionConflict { key, expected, version } => {
                json!({ "key": key, "expected": expected, "version": version })
            }
            ProtocolError::TooLarge { what, max } => json!({ "what": what, "max": max }),
            ProtocolError::RateLimited { retry_after_ms } | ProtocolError::Overloaded { retry_after_ms } => {
                json!({ "retry_after_ms": retry_after_ms })
            }
            ProtocolError::Timeout { after_ms } => json!({ "after_ms": after_ms }),
            ProtocolError::Internal => return None,
        })
    }

    /// For answers to requests that are one with their HTTP request, such as `GET /data/<key>`.
    #[must_use]
    pub fn http_status(&self) -> u16 {
        match self {
            ProtocolError::Parse(_) | ProtocolError::InvalidRequest(_) | ProtocolError::InvalidParams { .. } => 400,
            ProtocolError::MethodNotFound { .. } => 405,
            ProtocolError::Unauthorized { reason: Refusal::Token, .. } => 401,
            ProtocolError::Unauthorized { .. } => 403,
            ProtocolError::KeyNotFound { .. } | ProtocolError::PolicyNotFound { .. } => 404,
            ProtocolError::VersionConflict { .. } => 409,
            ProtocolError::TooLarge { .. } => 413,
            ProtocolError::CompileFailed { .. } | ProtocolError::EvaluationFailed(_) => 422,
            ProtocolError::RateLimited { .. } => 429,
            ProtocolError::Internal => 500,
            ProtocolError::Overloaded { .. } | ProtocolError::Storage(_) => 503,
            ProtocolError::Timeout { .. } => 504,
        }
    }

    /// When to try again, in milliseconds.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            ProtocolError::RateLimited { retry_after_ms } | ProtocolError::Overloaded { retry_after_ms } => {
                Some(*retry_after_ms)
            }
            _ => None,
        }
    }
}

impl Serialize for ProtocolError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = self.data();
        let mut object = serializer.serialize_struct("error", 2 + usize::from(data.is_some()))?;
        object.serialize_field("code", &self.code())?;
        object.serialize_field("message", self.message())?;
        if let Some(data) = data {
            object.serialize_field("data", &data)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_code_has_its_message_data_and_status() {
        let check = |error: ProtocolError, json: &str, status: u16| {
            assert_eq!(serde_json::to_string(&error).unwrap(), json);
            assert_eq!(error.http_status(), status, "{json}");
            assert!(!error.to_string().ends_with('.'), "{error}");
        };
        let text = |text: &str| text.to_owned();
        let json = r#"{"code":-32700,"message":"Parse error","data":{"detail":"x"}}"#;
        check(ProtocolError::Parse(text("x")), json, 400);
        let json = r#"{"code":-32600,"message":"Invalid request","data":{"detail":"x"}}"#;
        check(ProtocolError::InvalidRequest(text("x")), json, 400);
        let json = r#"{"code":-32601,"message":"Method not found","data":{"method":"x"}}"#;
        check(ProtocolError::MethodNotFound { method: text("x"), hint: None }, json, 405);
        let json = r#"{"code":-32602,"message":"Invalid params","data":{"field":"ttl","detail":"x"}}"#;
        check(ProtocolError::field("ttl", "x"), json, 400);
        check(ProtocolError::Internal, r#"{"code":-32603,"message":"Internal error"}"#, 500);
        let json = r#"{"code":-32000,"message":"Policy not found","data":{"path":"x"}}"#;
        check(ProtocolError::PolicyNotFound { path: text("x") }, json, 404);
        let json = r#"{"code":-32001,"message":"Policy compilation failed","data":{"path":"x","detail":"y"}}"#;
        check(ProtocolError::CompileFailed { path: text("x"), detail: text("y") }, json, 422);
        let json = r#"{"code":-32002,"message":"Evaluation error","data":{"detail":"x"}}"#;
        check(ProtocolError::EvaluationFailed(text("x")), json, 422);
        let json = r#"{"code":-32003,"message":"Unauthorized","data":{"reason":"writer","namespace":"approvals"}}"#;
        let namespace = Some(text("approvals"));
        check(ProtocolError::Unauthorized { reason: Refusal::Writer, namespace }, json, 403);
        let json = r#"{"code":-32003,"message":"Unauthorized","data":{"reason":"token"}}"#;
        check(ProtocolError::Unauthorized { reason: Refusal::Token, namespace: None }, json, 401);
        let json = r#"{"code":-32004,"message":"Key not found","data":{"key":"a.b"}}"#;
        check(ProtocolError::KeyNotFound { key: text("a.b") }, json, 404);
        let json = r#"{"code":-32005,"message":"Version conflict","data":{"key":"a.b","expected":0,"version":42}}"#;
        check(ProtocolError::VersionConflict { key: text("a.b"), expected: 0, version: 42 }, json, 409);
        let json = r#"{"code":-32006,"message":"Payload too large","data":{"what":"value","max":262144}}"#;
        check(ProtocolError::TooLarge { what: Part::Value, max: 262_144 }, json, 413);
        let json = r#"{"code":-32007,"message":"Rate limited","data":{"retry_after_ms":1500}}"#;
        check(ProtocolError::RateLimited { retry_after_ms: 1_500 }, json, 429);
        let json = r#"{"code":-32008,"message":"Timeout","data":{"after_ms":30000}}"#;
        check(ProtocolError::Timeout { after_ms: 30_000 }, json, 504);
        let json = r#"{"code":-32009,"message":"Overloaded","data":{"retry_after_ms":5}}"#;
        check(ProtocolError::Overloaded { retry_after_ms: 5 }, json, 503);
        let json = r#"{"code":-32010,"message":"Storage error","data":{"detail":"x"}}"#;
        check(ProtocolError::Storage(text("x")), json, 503);
    }
}
