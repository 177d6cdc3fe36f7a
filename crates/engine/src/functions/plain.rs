//! A function that is a name, what it takes, what it gives, and how.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use arrow::{
    array::ArrayRef,
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, FieldRef},
};
use datafusion::{
    common::{DataFusionError, ScalarValue},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
        Volatility,
    },
};
use weir_model::{ColumnType, Refusal};

use crate::{error::external, types::parameter_field};

pub(crate) type Returns = fn(&ReturnFieldArgs<'_>) -> Result<ColumnType, DataFusionError>;
pub(crate) type Run = fn(&[ArrayRef]) -> Result<ArrayRef, Refusal>;

/// INVARIANT: no two have the same name.
pub(crate) struct Plain {
    name: &'static str,
    signature: Signature,
    returns: Returns,
    run: Run,
    /// Takes the session's time zone as one more argument where an argument is a `timestamptz`.
    pub zoned: bool,
}

impl Plain {
    pub(crate) fn new(name: &'static str, signature: Signature, returns: Returns, run: Run) -> Plain {
        Plain { name, signature, returns, run, zoned: false }
    }

    pub(crate) fn zoned(self) -> Plain {
        Plain { zoned: true, ..self }
    }

    pub(crate) fn function(self) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::new_from_impl(self))
    }
}

/// Any types, as many as one of the counts says.
pub(crate) fn any(counts: &[usize]) -> Signature {
    match counts {
        [count] => Signature::any(*count, Volatility::Immutable),
        counts => Signature::one_of(counts.iter().map(|n| TypeSignature::Any(*n)).collect(), Volatility::Immutable),
    }
}

pub(crate) fn exact(types: &[DataType]) -> Signature {
    Signature::exact(types.to_vec(), Volatility::Immutable)
}

/// What an argument is, by place.
pub(crate) fn argument<'a>(arguments: &'a ReturnFieldArgs<'_>, place: usize) -> Result<&'a DataType, DataFusionError> {
    let field = arguments.arg_fields.get(place).map(|field| field.data_type());
    field.ok_or_else(|| DataFusionError::Internal("a function lacks an argument".into()))
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Plain {
    fn eq(&self, other: &Plain) -> bool {
        self.name == other.name
    }
}

impl Eq for Plain {}

impl Hash for Plain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Plain {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType, DataFusionError> {
        Err(DataFusionError::Internal(format!("{} is typed by its arguments' fields", self.name)))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef, DataFusionError> {
        let field = parameter_field((self.returns)(&arguments)?);
        Ok(Arc::new(field.as_ref().clone().with_name(self.name)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let constant = arguments.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let mut result = (self.run)(&arrays).map_err(external)?;
        let wanted = arguments.return_field.data_type();
        if result.data_type() != wanted {
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            result = cast_with_options(&result, wanted, &strict)?;
        }
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
