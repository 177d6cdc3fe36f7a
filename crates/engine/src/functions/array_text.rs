//! Text to arrays: `{a,"b c",NULL}` as a list of text, whose elements a cast then reads.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, ListBuilder, StringViewBuilder},
    compute::cast,
    datatypes::{DataType, Field},
};
use datafusion::{
    common::DataFusionError,
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};
use weir_model::{ArrayFault, Code, Refusal, read_array};

use crate::{error::external, types::is_text};

/// Called by rewritten statements only. What is an array already stays as it is.
pub(crate) const TO_ARRAY: &str = "weir_to_array";

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToArray {
    signature: Signature,
}

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![Arc::new(ScalarUDF::new_from_impl(ToArray { signature: Signature::any(1, Volatility::Immutable) }))]
}

impl ScalarUDFImpl for ToArray {
    fn name(&self) -> &str {
        TO_ARRAY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        match arguments.first() {
            Some(text) if is_text(text) => {
                Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))))
            }
            Some(array) if array.is_nested() || array.is_null() => Ok(array.clone()),
            other => {
                let from = other.map_or_else(String::new, ToString::to_string);
                Err(external(Refusal::new(Code::DatatypeMismatch, format!("cannot cast type {from} to an array"))))
            }
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = arguments.number_rows;
        let Some(value) = arguments.args.into_iter().next() else {
            return Err(DataFusionError::Internal("an array without text".into()));
        };
        if !is_text(&value.data_type()) {
            return Ok(value);
        }
        let text = cast(&value.to_array(rows)?, &DataType::Utf8View)?;
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for value in text.as_string_view() {
            match value {
                None => lists.append(false),
                Some(literal) => {
                    let elements = read_array(literal).map_err(|fault| external(refusal(fault, literal)))?;
                    elements.iter().for_each(|element| lists.values().append_option(element.as_deref()));
                    lists.append(true);
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish()) as ArrayRef))
    }
}

pub(crate) fn refusal(fault: ArrayFault, literal: &str) -> Refusal {
    let shown: String = literal.chars().take(64).collect();
    match fault {
        ArrayFault::Malformed => {
            Refusal::new(Code::InvalidTextRepresentation, format!("malformed array literal: \"{shown}\""))
                .hint("write '{value,value}'")
        }
        ArrayFault::Dimensions => Refusal::unsupported("a text of an array of several dimensions or with bounds")
            .hint("write '{value,value}'"),
    }
}
