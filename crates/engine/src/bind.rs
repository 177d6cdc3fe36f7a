//! Filling a template: parameters, and the values of the session and the moment.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, DataFusionError, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Cast, Expr, LogicalPlan, expr::Placeholder, expr_rewriter::NamePreserver, simplify::SimplifyContext,
    },
    optimizer::simplify_expressions::ExprSimplifier,
};
use weir_model::{
    Code, ColumnType, Refusal, Result, Value, ValueType,
    text::{calendar::split_microseconds, datetime_input::read_timestamptz, zone::Zone},
};

use crate::{
    cast::local_time,
    error::external,
    functions::{as_list, session_value::SessionValue},
    governance::SessionIdentity,
    physical::has_placeholder,
    settings::Settings,
    values::parameter,
};

/// What one execution puts in the place of placeholders.
#[derive(Debug)]
pub(crate) struct Bindings {
    parameters: Vec<ScalarValue>,
    /// Microseconds since 1970-01-01 UTC: one instant for the whole statement.
    now: i64,
    identity: Arc<SessionIdentity>,
    search_path: Arc<[String]>,
    settings: Arc<Settings>,
}

impl Bindings {
    /// # Errors
    /// `protocol_violation` for another number of values than parameters; what a value cannot be converted to.
    pub(crate) fn new(
        types: &[ValueType],
        values: &[Value],
        identity: &Arc<SessionIdentity>,
        search_path: &Arc<[String]>,
        settings: Arc<Settings>,
    ) -> Result<Bindings> {
        if types.len() != values.len() {
            return Err(Refusal::new(
                Code::ProtocolViolation,
                format!("the statement has {} parameters, {} values were given", types.len(), values.len()),
            ));
        }
        let parameters = types
            .iter()
            .zip(values)
            .enumerate()
            .map(|(index, (value_type, value))| parameter(value, *value_type, index + 1, settings.zone()))
            .collect::<Result<Vec<ScalarValue>>>()?;
        Ok(Bindings {
            parameters,
            now: chrono::Utc::now().timestamp_micros(),
            identity: Arc::clone(identity),
            search_path: Arc::clone(search_path),
            settings,
        })
    }

    /// The session's time zone.
    pub(crate) fn zone(&self) -> &Zone {
        self.settings.zone()
    }

    /// Microseconds on the session's clock.
    fn local_now(&self) -> i64 {
        local_time(self.now, self.zone()).unwrap_or(self.now)
    }

    /// The value of a placeholder by its id.
    pub(crate) fn value(&self, id: &str) -> Result<ScalarValue> {
        let number = id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        if let Some(value) = number.and_then(|number| self.parameters.get(number.checked_sub(1)?)) {
            return Ok(value.clone());
        }
        let Some((value, setting)) = SessionValue::of_placeholder(id) else {
            return Err(Refusal::new(Code::ProtocolViolation, format!("there is no parameter {id}")));
        };
        let text = |text: &str| ScalarValue::Utf8View(Some(text.to_owned()));
        Ok(match value {
            SessionValue::Now => ScalarValue::TimestampMicrosecond(Some(self.now), Some("+00:00".into())),
            SessionValue::Today => ScalarValue::Date32(Some(split_microseconds(self.local_now()).0)),
            SessionValue::LocalNow => ScalarValue::TimestampMicrosecond(Some(self.local_now()), None),
            SessionValue::LocalTime => ScalarValue::Time64Microsecond(Some(split_microseconds(self.local_now()).1)),
            SessionValue::Zone => text(self.zone().name()),
            SessionValue::Instant => {
                let instant = read_timestamptz(setting.as_bytes(), self.zone())
                    .map_err(|fault| fault.refusal(ColumnType::Timestamptz, setting.as_bytes()))?;
                ScalarValue::TimestampMicrosecond(Some(instant), Some("+00:00".into()))
            }
            SessionValue::User => text(&self.identity.user),
            SessionValue::Database => text(&self.identity.database),
            SessionValue::Schema => text(self.search_path.first().map_or("", String::as_str)),
            SessionValue::Version => text(VERSION),
            SessionValue::BackendPid => ScalarValue::Int32(Some(self.identity.backend_pid)),
            SessionValue::Setting => ScalarValue::Utf8View(self.setting(setting)?),
            SessionValue::SetConfig => {
                let (name, value) = setting.split_once('\n').unwrap_or((setting, ""));
                let current = self.setting(name)?.filter(|current| current.eq_ignore_ascii_case(value));
                let changes = || Refusal::unsupported("set_config").hint(format!("use SET {name} = …"));
                ScalarValue::Utf8View(Some(current.ok_or_else(changes)?))
            }
        })
    }

    fn setting(&self, name: &str) -> Result<Option<String>> {
        let (name, missing_ok) = match name.strip_prefix('?') {
            Some(name) => (name, true),
            None => (name, false),
        };
        match self.settings.get(name) {
            Some(value) => Ok(Some(value.to_owned())),
            None if missing_ok => Ok(None),
            None => {
                Err(Refusal::new(Code::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
            }
        }
    }
}

/// What `version()` says: clients read PostgreSQL's version from its second word.
const VERSION: &str = concat!("PostgreSQL 15.0 (Weir ", env!("CARGO_PKG_VERSION"), ")");

/// The template with every placeholder filled and what became constant folded.
pub(crate) fn bind(
    template: &LogicalPlan,
    bindings: &Bindings,
    options: &Arc<ConfigOptions>,
) -> Result<LogicalPlan, DataFusionError> {
    let folder = Folder::new(options);
    let done = template.clone().transform_down_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            if !has_placeholder(&expr) {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            let filled = folder.fold(fill(expr, bindings)?)?;
            Ok(Transformed::yes(name.restore(filled)))
        })
    })?;
    Ok(done.data)
}

/// An expression with every placeholder filled.
pub(crate) fn fill(expr: Expr, bindings: &Bindings) -> Result<Expr, DataFusionError> {
    let done = expr.transform_up(|part| match &part {
        Expr::Placeholder(Placeholder { id, field }) => {
            let value = bindings.value(id).map_err(external)?;
            let metadata = field.as_ref().map(|field| field.metadata().into());
            Ok(Transformed::yes(Expr::Literal(value, metadata)))
        }
        _ => Ok(Transformed::no(part)),
    })?;
    Ok(done.data)
}

/// Evaluates the parts of an expression that have become constant.
struct Folder {
    simplifier: ExprSimplifier,
}

impl Folder {
    fn new(options: &Arc<ConfigOptions>) -> Folder {
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(options))
            .with_schema(Arc::new(DFSchema::empty()))
            .build();
        Folder { simplifier: ExprSimplifier::new(context) }
    }

    fn fold(&self, expr: Expr) -> Result<Expr, DataFusionError> {
        let done = expr.transform_up(|part| {
            let foldable = match &part {
                Expr::Cast(Cast { expr, .. }) | Expr::Negative(expr) => matches!(expr.as_ref(), Expr::Literal(..)),
                Expr::BinaryExpr(binary) => {
                    matches!((binary.left.as_ref(), binary.right.as_ref()), (Expr::Literal(..), Expr::Literal(..)))
                }
                Expr::ScalarFunction(call) => {
                    !call.args.is_empty()
                        && call.func.signature().volatility == datafusion::logical_expr::Volatility::Immutable
                        && call.args.iter().all(|argument| matches!(argument, Expr::Literal(..)))
                }
                _ => false,
            };
            if foldable {
                return Ok(Transformed::yes(self.simplifier.simplify(part)?));
            }
            Ok(Transformed::yes(as_list(part)?))
        })?;
        Ok(done.data)
    }
}
