//! Plain functions that catalog queries lean on and DataFusion lacks: quoting, bounds of arrays, `format`, JSON objects.

use weir_model::{Code, Refusal};

use super::{Cell, Definition, Objects, argument, text};
use crate::catalog::{layout::Shape, text as spelled};

pub(super) const ALL: &[Definition] = &[
    Definition::strict(&["quote_ident"], Shape::Text, |_, arguments| {
        Ok(spelled::quote_identifier(text(arguments, 0)).into())
    }),
    Definition::strict(&["quote_literal"], Shape::Text, |_, arguments| {
        Ok(spelled::quote_literal(&shown(argument(arguments, 0))).into())
    }),
    Definition::lax(&["quote_nullable"], Shape::Text, |_, arguments| {
        Ok(match argument(arguments, 0) {
            Cell::Null => "NULL".into(),
            value => spelled::quote_literal(&shown(value)).into(),
        })
    }),
    Definition::strict(&["parse_ident"], Shape::Texts, |_, arguments| {
        let name = text(arguments, 0);
        let wrong =
            || Refusal::new(Code::InvalidParameter, std::format!("string is not a valid identifier: \"{name}\""));
        spelled::parse_identifier(name).map(Cell::Texts).ok_or_else(wrong)
    }),
    // Arrays here begin at 1 and have one dimension.
    Definition::strict(&["array_upper"], Shape::Int4, |_, arguments| {
        let first = argument(arguments, 1).int() == Some(1);
        Ok(length(argument(arguments, 0)).filter(|length| first && *length > 0).into())
    }),
    Definition::strict(&["array_lower"], Shape::Int4, |_, arguments| {
        let first = argument(arguments, 1).int() == Some(1);
        let filled = length(argument(arguments, 0)).is_some_and(|length| length > 0);
        Ok((first && filled).then_some(1).into())
    }),
    Definition::strict(&["__weir_like_pattern"], Shape::Text, |_, arguments| {
        Ok(like_pattern(text(arguments, 0), text(arguments, 1).chars().next()).into())
    }),
    // The empty `text[]`.
    Definition::lax(&["__weir_no_texts"], Shape::Texts, |_, _| Ok(Cell::Texts(Vec::new()))),
    Definition::strict(&["__weir_series"], Shape::Int8s, series),
    // `int2vector` and `oidvector` print as numbers between blanks.
    Definition::strict(&["__weir_vector_text"], Shape::Text, |_, arguments| {
        Ok(match argument(arguments, 0) {
            Cell::Ints(values) => values.iter().map(i64::to_string).collect::<Vec<_>>().join(" ").into(),
            other => other.text().into(),
        })
    }),
    Definition::lax(&["format"], Shape::Text, format),
    Definition::lax(&["json_build_object"], Shape::Text, json_object),
    Definition::lax(&["jsonb_build_object"], Shape::Text, json_object),
];

/// A LIKE pattern that escapes by `escape`, or by nothing, as one that escapes by the backslash.
fn like_pattern(pattern: &str, escape: Option<char>) -> String {
    let mut made = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            if let Some(next) = characters.next() {
                made.push('\\');
                made.push(next);
            }
        } else if character == '\\' {
            made.push_str("\\\\");
        } else {
            made.push(character);
        }
    }
    made
}

/// `generate_series` with bounds that a query computes, such as an array's: these are short.
fn series(_: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    const LENGTH_MAX: usize = 10_000;
    let (Some(first), Some(last)) = (argument(arguments, 0).int(), argument(arguments, 1).int()) else {
        return Ok(Cell::Null);
    };
    let values: Vec<i64> = (first..=last).take(LENGTH_MAX + 1).collect();
    if arguments.len() > 2 || values.len() > LENGTH_MAX {
        return Err(Refusal::unsupported("this generate_series() in a catalog query"));
    }
    Ok(values.into())
}

fn length(list: &Cell) -> Option<i64> {
    match list {
        Cell::Ints(values) => i64::try_from(values.len()).ok(),
        Cell::Texts(values) => i64::try_from(values.len()).ok(),
        _ => None,
    }
}

/// A value as PostgreSQL prints it.
fn shown(value: &Cell) -> String {
    match value {
        Cell::Null => String::new(),
        Cell::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
        Cell::Int(value) => value.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Ints(values) => std::format!("{{{}}}", values.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
        Cell::Texts(values) => std::format!("{{{}}}", values.join(",")),
    }
}

/// `%s`, `%I`, `%L` and `%%`, in the order of the arguments.
fn format(_: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let Some(pattern) = argument(arguments, 0).text() else { return Ok(Cell::Null) };
    let mut made = String::with_capacity(pattern.len());
    let mut values = arguments.iter().skip(1);
    let mut characters = pattern.chars();
    let too_few = || Refusal::new(Code::InvalidParameter, "too few arguments for format()");
    while let Some(character) = characters.next() {
        if character != '%' {
            made.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => made.push('%'),
            Some('s') => made.push_str(&shown(values.next().ok_or_else(too_few)?)),
            Some('I') => made.push_str(&spelled::quote_identifier(&shown(values.next().ok_or_else(too_few)?))),
            Some('L') => match values.next().ok_or_else(too_few)? {
                Cell::Null => made.push_str("NULL"),
                value => made.push_str(&spelled::quote_literal(&shown(value))),
            },
            _ => return Err(Refusal::unsupported("this conversion in format()").hint("use %s, %I, %L or %%")),
        }
    }
    Ok(made.into())
}

fn json_object(_: &Objects, arguments: &[Cell]) -> Result<Cell, Refusal> {
    let mut members = Vec::with_capacity(arguments.len() / 2);
    let mut rest = arguments.iter();
    while let Some(key) = rest.next() {
        let Some(value) = rest.next() else {
            return Err(Refusal::new(Code::InvalidParameter, "argument list must have even number of elements"));
        };
        if *key == Cell::Null {
            return Err(Refusal::new(Code::InvalidParameter, "null value not allowed for object key"));
        }
        members.push(std::format!("{} : {}", json_text(&shown(key)), json_value(value)));
    }
    Ok(std::format!("{{{}}}", members.join(", ")).into())
}

fn json_value(value: &Cell) -> String {
    match value {
        Cell::Null => "null".to_owned(),
        Cell::Bool(value) => value.to_string(),
        Cell::Int(value) => value.to_string(),
        Cell::Text(text) => json_text(text),
        Cell::Ints(values) => std::format!("[{}]", values.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
        Cell::Texts(values) => {
            std::format!("[{}]", values.iter().map(|value| json_text(value)).collect::<Vec<_>>().join(","))
        }
    }
}

fn json_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control < ' ' => quoted.push_str(&std::format!("\\u{:04x}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::like_pattern;

    #[test]
    fn patterns_keep_their_meaning() {
        let check = |pattern: &str, escape: Option<char>, expected: &str| {
            assert_eq!(like_pattern(pattern, escape), expected, "{pattern}");
        };
        check("pg/_%", Some('/'), "pg\\_%");
        check("a//b", Some('/'), "a\\/b");
        check("a\\_b", Some('/'), "a\\\\_b");
        check("a\\_b", Some('\\'), "a\\_b");
        check("a\\b%", None, "a\\\\b%");
    }
}
