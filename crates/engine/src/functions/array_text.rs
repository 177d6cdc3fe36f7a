//! Array literals: `{a,"b c",NULL}` as a list of text.

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
use weir_model::{Code, Refusal};

use crate::error::external;

/// Called by rewritten statements only; also refused in a client's, whose array literals are rewritten.
pub(crate) const TEXT_ARRAY: &str = "weir_text_array";

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextArray {
    signature: Signature,
}

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let signature = Signature::exact(vec![DataType::Utf8View], Volatility::Immutable);
    vec![Arc::new(ScalarUDF::new_from_impl(TextArray { signature }))]
}

impl ScalarUDFImpl for TextArray {
    fn name(&self) -> &str {
        TEXT_ARRAY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Utf8View, true))))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some(array) = arrays.first() else { return Err(DataFusionError::Internal("an array without text".into())) };
        let text = cast(array, &DataType::Utf8View)?;
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        for value in text.as_string_view() {
            match value {
                None => lists.append(false),
                Some(literal) => {
                    let elements = parse(literal).ok_or_else(|| external(malformed(literal)))?;
                    elements.iter().for_each(|element| lists.values().append_option(element.as_deref()));
                    lists.append(true);
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish()) as ArrayRef))
    }
}

pub(super) fn malformed(literal: &str) -> Refusal {
    let shown: String = literal.chars().take(64).collect();
    Refusal::new(Code::InvalidTextRepresentation, format!("malformed array literal: \"{shown}\""))
        .hint("write '{value,value}'; only arrays of one dimension are supported")
}

/// The elements of a one-dimensional literal; None where it is none.
pub(super) fn parse(literal: &str) -> Option<Vec<Option<String>>> {
    let inner = literal.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if inner.trim().is_empty() {
        return Some(elements);
    }
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(|c| c.is_whitespace()).is_some() {}
        let mut element = String::new();
        let quoted = characters.next_if_eq(&'"').is_some();
        loop {
            match characters.peek() {
                None if quoted => return None,
                None => break,
                Some('"') if quoted => {
                    characters.next();
                    while characters.next_if(|c| c.is_whitespace()).is_some() {}
                    break;
                }
                Some(',') if !quoted => break,
                Some('{' | '}' | '"') if !quoted => return None,
                Some('\\') => {
                    characters.next();
                    element.push(characters.next()?);
                }
                Some(_) => element.extend(characters.next()),
            }
        }
        let trimmed = if quoted { element } else { element.trim_end().to_owned() };
        let null = !quoted && trimmed.eq_ignore_ascii_case("null");
        if !quoted && trimmed.is_empty() {
            return None;
        }
        elements.push((!null).then_some(trimmed));
        match characters.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_postgresql_reads_them() {
        let check = |literal: &str, expected: Option<&[Option<&str>]>| {
            let found = parse(literal);
            let found: Option<Vec<Option<&str>>> =
                found.as_ref().map(|elements| elements.iter().map(|element| element.as_deref()).collect());
            assert_eq!(found.as_deref(), expected, "{literal}");
        };
        check("{}", Some(&[]));
        check("{1, 2,3}", Some(&[Some("1"), Some("2"), Some("3")]));
        check("{a b,\"c,\\\"d\", NULL,\"NULL\"}", Some(&[Some("a b"), Some("c,\"d"), None, Some("NULL")]));
        for bad in ["", "1,2", "{1,2", "{{1},{2}}", "{1,,2}", "{\"a}", "{\"a\"b}"] {
            check(bad, None);
        }
    }
}
