//! PostgreSQL's casts as a function, for the rule that puts it in the place of DataFusion's.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::cast,
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
        Volatility, expr::ScalarFunction,
    },
};
use weir_model::{Code, ColumnType, Refusal, text::zone::Zone};

use crate::{
    cast::{Purpose, convert},
    error::external,
    types::parameter_field,
};

/// A call that casts; `zone` where the session's time zone matters.
pub(crate) fn cast_call(expr: Expr, target: ColumnType, zone: Option<Expr>) -> Expr {
    let signature = Signature::one_of(vec![TypeSignature::Any(1), TypeSignature::Any(2)], Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(PgCast { target, signature }));
    let arguments = std::iter::once(expr).chain(zone).collect();
    Expr::ScalarFunction(ScalarFunction::new_udf(function, arguments))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PgCast {
    target: ColumnType,
    signature: Signature,
}

/// The zone that an argument names, the same in every row.
///
/// # Errors
/// `invalid_parameter` for a name that is none.
pub(crate) fn zone_of(array: &ArrayRef) -> Result<Zone, Refusal> {
    let text = cast(array, &DataType::Utf8View).map_err(|_| unknown_zone(""))?;
    let text = text.as_string_view();
    if text.is_empty() || text.is_null(0) {
        return Ok(Zone::utc());
    }
    let name = text.value(0);
    if text.iter().any(|other| other != Some(name)) {
        return Err(Refusal::unsupported("a time zone that differs by row in this place"));
    }
    zone_named(name)
}

pub(crate) fn zone_named(name: &str) -> Result<Zone, Refusal> {
    Zone::named(name).ok_or_else(|| unknown_zone(name))
}

fn unknown_zone(name: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, format!("time zone \"{name}\" not recognized"))
        .hint("use a name of the IANA database, such as Europe/Berlin or UTC")
}

impl ScalarUDFImpl for PgCast {
    fn name(&self) -> &str {
        "weir_cast"
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String, DataFusionError> {
        let value = arguments.first().map(|value| value.schema_name().to_string());
        Ok(format!("weir_cast({} AS {})", value.unwrap_or_default(), self.target))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(weir_store::arrow_type(self.target))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let nullable = arguments.arg_fields.first().is_none_or(|field| field.is_nullable());
        let field = parameter_field(self.target).as_ref().clone();
        Ok(Arc::new(field.with_name("weir_cast").with_nullable(nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let zone = match arguments.args.get(1) {
            Some(zone) => zone_of(&zone.to_array(1)?).map_err(external)?,
            None => Zone::utc(),
        };
        let run = |array: &ArrayRef| convert(array, self.target, &zone, Purpose::Explicit).map_err(external);
        match arguments.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(run(array)?)),
            Some(ColumnarValue::Scalar(scalar)) => {
                let done = run(&scalar.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&done, 0)?))
            }
            None => Err(DataFusionError::Internal("a cast of nothing".into())),
        }
    }
}
