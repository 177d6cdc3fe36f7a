//! Patterns with another escape character than the backslash, and SQL's regular expressions, as what the engine reads.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewBuilder},
    datatypes::DataType,
};
use datafusion::logical_expr::ScalarUDF;
use weir_model::{Code, ColumnType, Refusal};

use super::plain::{Plain, exact};

/// PostgreSQL's own name for it.
pub(crate) const LIKE_ESCAPE: &str = "like_escape";
/// A pattern of SIMILAR TO as a POSIX regular expression.
pub(crate) const SIMILAR_ESCAPE: &str = "similar_to_escape";

pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let texts = [DataType::Utf8View, DataType::Utf8View];
    let text = |_: &datafusion::logical_expr::ReturnFieldArgs<'_>| Ok(ColumnType::Text);
    vec![
        Plain::new(LIKE_ESCAPE, exact(&texts), text, |a| each(a, like_pattern)).function(),
        Plain::new(SIMILAR_ESCAPE, exact(&texts), text, |a| each(a, similar_pattern)).function(),
    ]
}

fn each(arguments: &[ArrayRef], one: fn(&str, Option<char>) -> Result<String, Refusal>) -> Result<ArrayRef, Refusal> {
    let [patterns, escapes] = arguments else { return Err(Refusal::new(Code::Internal, "an argument is missing")) };
    let (patterns, escapes) = (patterns.as_string_view(), escapes.as_string_view());
    let mut out = StringViewBuilder::with_capacity(patterns.len());
    for row in 0..patterns.len() {
        if patterns.is_null(row) || escapes.is_null(row) {
            out.append_null();
            continue;
        }
        let mut characters = escapes.value(row).chars();
        let escape = characters.next();
        if characters.next().is_some() {
            return Err(Refusal::new(Code::InvalidEscape, "invalid escape string")
                .hint("escape string must be empty or one character"));
        }
        out.append_value(one(patterns.value(row), escape)?);
    }
    Ok(Arc::new(out.finish()))
}

fn ends_in_escape() -> Refusal {
    Refusal::new(Code::InvalidEscape, "LIKE pattern must not end with escape character")
}

fn like_pattern(pattern: &str, escape: Option<char>) -> Result<String, Refusal> {
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            out.push('\\');
            out.push(characters.next().ok_or_else(ends_in_escape)?);
        } else {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    Ok(out)
}

fn similar_pattern(pattern: &str, escape: Option<char>) -> Result<String, Refusal> {
    let mut out = String::from("^(?s:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(c) = characters.next() {
        if Some(c) == escape {
            let literal = characters.next().ok_or_else(ends_in_escape)?;
            if literal == '"' {
                return Err(Refusal::unsupported("separators in a SIMILAR TO pattern"));
            }
            out.push('\\');
            out.push(literal);
            continue;
        }
        match c {
            _ if in_brackets => {
                in_brackets = c != ']';
                if c == '\\' {
                    out.push('\\');
                }
                out.push(c);
            }
            '[' => {
                in_brackets = true;
                out.push(c);
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push_str(")$");
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn escapes_become_backslashes() {
        let check = |pattern: &str, escape: Option<char>, expected: &str| {
            assert_eq!(like_pattern(pattern, escape).unwrap(), expected, "{pattern}");
        };
        check("50!%", Some('!'), "50\\%");
        check("a\\b%", Some('!'), "a\\\\b%");
        check("a!!b", Some('!'), "a\\!b");
        check("a\\_", None, "a\\\\_");
        assert!(like_pattern("a!", Some('!')).is_err());
    }

    #[test]
    fn sql_patterns_become_regular_expressions() {
        let check = |pattern: &str, expected: &str| {
            assert_eq!(similar_pattern(pattern, Some('\\')).unwrap(), expected, "{pattern}");
        };
        check("a%", "^(?s:a.*)$");
        check("(a|b)_.", "^(?s:(?:a|b).\\.)$");
        check("[a-c%]", "^(?s:[a-c%])$");
        check("\\%", "^(?s:\\%)$");
    }
}
