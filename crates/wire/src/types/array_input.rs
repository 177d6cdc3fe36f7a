//! Arrays as parameters: `{1,2}` and PostgreSQL's binary form.

use weir_model::{ArrayFault, Code, ColumnType, Refusal, Result, Value, read_array};

use crate::types::{batch::Format, fault::quote, oid, parameter, scalar_input::read_text, zone::Zone};

/// Reads an array. `declared` is the array's OID, as the client gave it in Parse or was told.
pub(crate) fn read(element: ColumnType, declared: u32, format: Format, input: &[u8], zone: &Zone) -> Result<Value> {
    let elements = match format {
        Format::Text => read_text_form(element, input, zone)?,
        Format::Binary => read_binary_form(element, oid::element_oid(declared), input, zone)?,
    };
    Ok(Value::Array { element, elements })
}

fn read_text_form(element: ColumnType, input: &[u8], zone: &Zone) -> Result<Vec<Value>> {
    let text = read_text(input).map_err(|fault| fault.refusal(ColumnType::Text, input))?;
    let elements = read_array(text).map_err(|fault| match fault {
        ArrayFault::Malformed => {
            let message = format!("malformed array literal: \"{}\"", quote(input));
            Refusal::new(Code::InvalidTextRepresentation, message)
        }
        ArrayFault::Dimensions => dimensions(),
    })?;
    let read = |text: Option<String>| match text {
        None => Ok(Value::Null(Some(element))),
        Some(text) => parameter::read_scalar(element, 0, Format::Text, text.as_bytes(), zone),
    };
    elements.into_iter().map(read).collect()
}

fn dimensions() -> Refusal {
    Refusal::unsupported("an array of several dimensions or with bounds of its own")
}

/// Fields of an array's binary form, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn int(&mut self) -> Option<i32> {
        let (taken, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*taken))
    }

    /// A length and that many bytes; -1 is NULL.
    fn element(&mut self) -> Option<Option<&'a [u8]>> {
        let Ok(length) = usize::try_from(self.int()?) else { return Some(None) };
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(taken))
    }
}

/// Number of dimensions, whether there are NULLs, OID of the elements; length and lower bound of each dimension; the
/// elements.
fn read_binary_form(element: ColumnType, declared: Option<u32>, input: &[u8], zone: &Zone) -> Result<Vec<Value>> {
    let malformed = || {
        let message = format!("incorrect binary data format for type {element}[]");
        Refusal::new(Code::InvalidBinaryRepresentation, message)
    };
    let mut fields = Fields(input);
    let mut next = || fields.int().ok_or_else(malformed);
    let (count, _nulls, kind) = (next()?, next()?, next()?.cast_unsigned());
    let expected = declared.unwrap_or_else(|| oid::scalar(element));
    // Character types are all kept as one.
    let same = kind == expected || oid::is_same(kind, expected);
    if !same {
        return Err(Refusal::new(
            Code::DatatypeMismatch,
            format!("binary data has array element type {kind} instead of expected {expected}"),
        ));
    }
    match count {
        0 => return if fields.0.is_empty() { Ok(Vec::new()) } else { Err(malformed()) },
        1 => {}
        2.. => return Err(dimensions()),
        _ => return Err(malformed()),
    }
    let length = fields.int().and_then(|length| usize::try_from(length).ok()).ok_or_else(malformed)?;
    let _lower_bound = fields.int().ok_or_else(malformed)?;
    // Every element has four bytes at least, so no length is believed that the message could not hold.
    if length > fields.0.len() / 4 {
        return Err(malformed());
    }
    let mut elements = Vec::with_capacity(length);
    for _ in 0..length {
        elements.push(match fields.element().ok_or_else(malformed)? {
            None => Value::Null(Some(element)),
            Some(bytes) => parameter::read_scalar(element, kind, Format::Binary, bytes, zone)?,
        });
    }
    if fields.0.is_empty() { Ok(elements) } else { Err(malformed()) }
}
