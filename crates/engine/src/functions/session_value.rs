//! Values that belong to a session or to the moment of execution: `now()`, `current_user`, `current_setting(…)`.
//!
//! In a plan they are placeholders (`$__now`), so that a template holds none of them and still treats them as
//! constants; each execution fills them in with its parameters.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::Placeholder,
    },
    optimizer::AnalyzerRule,
};
use weir_model::{Code, ColumnType, Refusal};
use weir_store::arrow_type;

use super::cast::cast_call;
use crate::{error::external, rewrite, semantics::ZoneOf, types::parameter_field};

/// What a session value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SessionValue {
    Now,
    Today,
    LocalNow,
    LocalTime,
    User,
    Database,
    Schema,
    Version,
    BackendPid,
    /// `current_setting('name'[, missing_ok])`.
    Setting,
    /// `set_config('name', 'value', is_local)`: the value, if the parameter has it already.
    SetConfig,
    /// The session's time zone.
    Zone,
    /// A text that names an instant once its time zone is known.
    Instant,
}

const NAMES: [(&str, SessionValue); 21] = [
    ("now", SessionValue::Now),
    ("current_timestamp", SessionValue::Now),
    ("transaction_timestamp", SessionValue::Now),
    ("statement_timestamp", SessionValue::Now),
    ("clock_timestamp", SessionValue::Now),
    ("current_date", SessionValue::Today),
    ("today", SessionValue::Today),
    ("localtimestamp", SessionValue::LocalNow),
    ("localtime", SessionValue::LocalTime),
    ("current_time", SessionValue::LocalTime),
    ("current_user", SessionValue::User),
    ("session_user", SessionValue::User),
    ("user", SessionValue::User),
    ("current_role", SessionValue::User),
    ("current_database", SessionValue::Database),
    ("current_catalog", SessionValue::Database),
    ("current_schema", SessionValue::Schema),
    ("version", SessionValue::Version),
    ("pg_backend_pid", SessionValue::BackendPid),
    ("current_setting", SessionValue::Setting),
    ("set_config", SessionValue::SetConfig),
];

impl SessionValue {
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            SessionValue::Now | SessionValue::Instant => ColumnType::Timestamptz,
            SessionValue::Today => ColumnType::Date,
            SessionValue::LocalNow => ColumnType::Timestamp,
            SessionValue::LocalTime => ColumnType::Time,
            SessionValue::BackendPid => ColumnType::Integer,
            _ => ColumnType::Text,
        }
    }

    fn id(self) -> &'static str {
        match self {
            SessionValue::Now => "$__now",
            SessionValue::Today => "$__today",
            SessionValue::LocalNow => "$__local_now",
            SessionValue::LocalTime => "$__local_time",
            SessionValue::User => "$__user",
            SessionValue::Database => "$__database",
            SessionValue::Schema => "$__schema",
            SessionValue::Version => "$__version",
            SessionValue::BackendPid => "$__backend_pid",
            SessionValue::Setting => SETTING,
            SessionValue::SetConfig => SET_CONFIG,
            SessionValue::Zone => ZONE,
            SessionValue::Instant => INSTANT,
        }
    }

    /// The session value that a placeholder's id names, and what follows it: a setting's name, an instant's text.
    pub(crate) fn of_placeholder(id: &str) -> Option<(SessionValue, &str)> {
        if id == ZONE {
            return Some((SessionValue::Zone, ""));
        }
        if let Some(text) = id.strip_prefix(INSTANT) {
            return Some((SessionValue::Instant, text));
        }
        if let Some(name) = id.strip_prefix(SETTING) {
            return Some((SessionValue::Setting, name));
        }
        if let Some(name) = id.strip_prefix(SET_CONFIG) {
            return Some((SessionValue::SetConfig, name));
        }
        NAMES.iter().map(|(_, value)| *value).find(|value| value.id() == id).map(|value| (value, ""))
    }
}

/// Followed by `?` when a missing setting is NULL, and the setting's name.
const SETTING: &str = "$__setting:";
/// Followed by the setting's name, a line's end and the value.
const SET_CONFIG: &str = "$__set_config:";
const ZONE: &str = "$__zone";
const INSTANT: &str = "$__instant:";

fn placeholder(id: String, column_type: ColumnType) -> Expr {
    Expr::Placeholder(Placeholder::new_with_field(id, Some(parameter_field(column_type))))
}

/// The session's time zone.
pub(crate) fn zone() -> Expr {
    placeholder(ZONE.to_owned(), ColumnType::Text)
}

/// The instant that a text without a zone names in the session's.
pub(crate) fn instant(text: &str) -> Expr {
    placeholder(format!("{INSTANT}{text}"), ColumnType::Timestamptz)
}

/// The function a session value is called by until [`BindSessionValues`] replaces it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    name: &'static str,
    value: SessionValue,
    signature: Signature,
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(arrow_type(self.value.column_type()))
    }

    /// Never reached by a plan that passed [`BindSessionValues`].
    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        Err(external(Refusal::unsupported(format!("{}() in this place", self.name))))
    }
}

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    NAMES
        .iter()
        .map(|(name, value)| {
            let signature = match value {
                SessionValue::Setting | SessionValue::SetConfig => Signature::variadic_any(Volatility::Volatile),
                _ => Signature::nullary(Volatility::Volatile),
            };
            Arc::new(ScalarUDF::new_from_impl(Call { name, value: *value, signature }))
        })
        .collect()
}

/// PostgreSQL lets these be called with the catalog's schema before them.
pub(crate) fn add_aliases(scalar: &mut HashMap<String, Arc<ScalarUDF>>) {
    for (name, _) in NAMES {
        if let Some(function) = scalar.get(name).cloned() {
            scalar.insert(format!("pg_catalog.{name}"), function);
        }
    }
}

/// Replaces the calls by placeholders, before types are coerced.
#[derive(Debug)]
pub(crate) struct BindSessionValues;

impl AnalyzerRule for BindSessionValues {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan, DataFusionError> {
        let done = plan.transform_up_with_subqueries(|node| {
            let zone = ZoneOf::node(&node);
            let changed = rewrite::expressions(node, |expr| expr.transform_up(|part| bind(part, zone)))?;
            if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "bind_session_values"
    }
}

/// A policy's day is UTC's, whatever the session says.
pub(crate) fn bind(expr: Expr, zone: ZoneOf) -> Result<Transformed<Expr>, DataFusionError> {
    let Expr::ScalarFunction(call) = &expr else { return Ok(Transformed::no(expr)) };
    let Some(Call { value, .. }) = call.func.inner().downcast_ref::<Call>() else { return Ok(Transformed::no(expr)) };
    let local = matches!(value, SessionValue::Today | SessionValue::LocalNow | SessionValue::LocalTime);
    if local && zone == ZoneOf::Policy {
        let now = placeholder(SessionValue::Now.id().to_owned(), ColumnType::Timestamptz);
        return Ok(Transformed::yes(cast_call(now, value.column_type(), Some(zone.expr()))));
    }
    let id = match value {
        SessionValue::Setting => setting_id(&call.args)?,
        SessionValue::SetConfig => set_config_id(&call.args)?,
        value => value.id().to_owned(),
    };
    Ok(Transformed::yes(placeholder(id, value.column_type())))
}

fn name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)), _) => {
            Some(name.to_ascii_lowercase())
        }
        _ => None,
    }
}

fn set_config_id(arguments: &[Expr]) -> Result<String, DataFusionError> {
    let parts = match arguments {
        [setting, value, _is_local] => name(setting).zip(name(value)),
        _ => None,
    };
    match parts {
        Some((setting, value)) => Ok(format!("{SET_CONFIG}{setting}\n{value}")),
        None => Err(external(Refusal::unsupported("set_config of anything but literals").hint("use SET"))),
    }
}

fn setting_id(arguments: &[Expr]) -> Result<String, DataFusionError> {
    let parts = match arguments {
        [setting] => name(setting).map(|name| (name, false)),
        [setting, Expr::Literal(ScalarValue::Boolean(Some(missing_ok)), _)] => {
            name(setting).map(|name| (name, *missing_ok))
        }
        _ => None,
    };
    match parts {
        Some((name, missing_ok)) => Ok(format!("{SETTING}{}{name}", if missing_ok { "?" } else { "" })),
        None => Err(external(
            Refusal::new(Code::Unsupported, "current_setting of anything but a literal name is not supported")
                .hint("write current_setting('name') or current_setting('name', true)"),
        )),
    }
}
