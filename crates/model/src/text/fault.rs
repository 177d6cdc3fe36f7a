use crate::{Code, ColumnType, Refusal};

/// How much of a client's own input an error repeats, in characters.
const QUOTED_MAX: usize = 100;

/// Why an input text or bytes is not a value of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    OutOfRange,
    /// A calendar field that does not exist, such as month 13.
    NoSuchDate,
    /// A numeric that does not fit its precision after rounding.
    FieldOverflow,
    TooLong,
    NotUtf8,
    /// Bytes of a binary value with the wrong length or content.
    Binary,
    Unsupported(&'static str),
}

impl Fault {
    /// PostgreSQL's message for it. `input` is what the client itself sent.
    pub fn refusal(self, column_type: ColumnType, input: &[u8]) -> Refusal {
        let name = match column_type {
            ColumnType::Numeric { .. } => "numeric".to_owned(),
            other => other.to_string(),
        };
        let shown = quote(input);
        let temporal = matches!(
            column_type,
            ColumnType::Date
                | ColumnType::Time
                | ColumnType::Timestamp
                | ColumnType::Timestamptz
                | ColumnType::Interval
        );
        match self {
            Fault::Syntax if temporal => {
                Refusal::new(Code::InvalidDatetime, format!("invalid input syntax for type {name}: \"{shown}\""))
            }
            Fault::Syntax => Refusal::new(
                Code::InvalidTextRepresentation,
                format!("invalid input syntax for type {name}: \"{shown}\""),
            ),
            Fault::OutOfRange if column_type == ColumnType::Interval => {
                Refusal::new(Code::IntervalOverflow, format!("interval field value out of range: \"{shown}\""))
            }
            Fault::OutOfRange if temporal => {
                Refusal::new(Code::DatetimeOverflow, format!("{name} out of range: \"{shown}\""))
            }
            Fault::OutOfRange => {
                Refusal::new(Code::NumericOutOfRange, format!("value \"{shown}\" is out of range for type {name}"))
            }
            Fault::NoSuchDate => {
                Refusal::new(Code::DatetimeOverflow, format!("date/time field value out of range: \"{shown}\""))
            }
            Fault::FieldOverflow => {
                let refusal = Refusal::new(Code::NumericOutOfRange, "numeric field overflow");
                match column_type {
                    ColumnType::Numeric { precision, scale } => refusal.detail(format!(
                        "a field with precision {precision}, scale {scale} must round to an absolute value \
                         less than 10^{}",
                        i16::from(precision) - i16::from(scale)
                    )),
                    _ => refusal,
                }
            }
            Fault::TooLong => Refusal::new(Code::StringTooLong, format!("value too long for type {name}")),
            Fault::NotUtf8 => not_utf8(input),
            Fault::Binary => {
                Refusal::new(Code::InvalidBinaryRepresentation, format!("incorrect binary data format for type {name}"))
            }
            Fault::Unsupported(what) => Refusal::unsupported(what),
        }
    }
}

/// `invalid byte sequence for encoding "UTF8"`, with the first offending bytes.
pub fn not_utf8(input: &[u8]) -> Refusal {
    let at = match std::str::from_utf8(input) {
        Err(error) => error.valid_up_to(),
        Ok(text) => text.find('\0').unwrap_or(0),
    };
    let bytes: Vec<String> = input.iter().skip(at).take(4).map(|byte| format!("0x{byte:02x}")).collect();
    Refusal::new(Code::InvalidByteSequence, format!("invalid byte sequence for encoding \"UTF8\": {}", bytes.join(" ")))
}

/// A client's own input for an error message: at most 100 characters, no control characters.
pub fn quote(input: &[u8]) -> String {
    // Four bytes a character at most, and one character to know whether anything was cut.
    let head = input.get(..(QUOTED_MAX + 1) * 4).unwrap_or(input);
    let text = String::from_utf8_lossy(head);
    let mut shown: String =
        text.chars().take(QUOTED_MAX).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text.chars().count() > QUOTED_MAX {
        shown.push_str("...");
    }
    shown
}
