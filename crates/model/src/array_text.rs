//! PostgreSQL's text form of arrays, of one dimension.

/// Why a text is no such array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayFault {
    Malformed,
    /// An array in an array, or bounds of its own before it.
    Dimensions,
}

/// What `array_in` skips around elements: ASCII's white space and no other.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The elements of `{a,"b c",NULL}`; None is NULL.
///
/// # Errors
/// [`ArrayFault`].
pub fn read_array(text: &str) -> Result<Vec<Option<String>>, ArrayFault> {
    let text = text.trim_matches(is_blank);
    if text.starts_with('[') {
        return Err(ArrayFault::Dimensions);
    }
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(ArrayFault::Malformed)?;
    let mut elements = Vec::new();
    if inner.trim_matches(is_blank).is_empty() {
        return Ok(elements);
    }
    let mut characters = inner.chars().peekable();
    loop {
        while characters.next_if(|c| is_blank(*c)).is_some() {}
        elements.push(element(&mut characters)?);
        match characters.next() {
            None => return Ok(elements),
            Some(',') => {}
            Some(_) => return Err(ArrayFault::Malformed),
        }
    }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn element(characters: &mut Characters<'_>) -> Result<Option<String>, ArrayFault> {
    if characters.next_if_eq(&'"').is_some() {
        return quoted(characters).map(Some);
    }
    let mut element = String::new();
    // Up to where blanks do not count: an escaped one does.
    let mut kept = 0;
    let mut escaped = false;
    loop {
        match characters.peek() {
            None | Some(',') => break,
            Some('{') if element.is_empty() => return Err(ArrayFault::Dimensions),
            Some('{' | '}' | '"') => return Err(ArrayFault::Malformed),
            Some('\\') => {
                characters.next();
                element.push(characters.next().ok_or(ArrayFault::Malformed)?);
                (kept, escaped) = (element.len(), true);
            }
            Some(c) => {
                let blank = is_blank(*c);
                element.extend(characters.next());
                if !blank {
                    kept = element.len();
                }
            }
        }
    }
    element.truncate(kept);
    match element.as_str() {
        "" => Err(ArrayFault::Malformed),
        null if !escaped && null.eq_ignore_ascii_case("null") => Ok(None),
        _ => Ok(Some(element)),
    }
}

/// The rest of a quoted element, and the blanks behind it.
fn quoted(characters: &mut Characters<'_>) -> Result<String, ArrayFault> {
    let mut element = String::new();
    loop {
        match characters.next().ok_or(ArrayFault::Malformed)? {
            '"' => break,
            '\\' => element.push(characters.next().ok_or(ArrayFault::Malformed)?),
            other => element.push(other),
        }
    }
    while characters.next_if(|c| is_blank(*c)).is_some() {}
    Ok(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_postgresql_reads_them() {
        let check = |literal: &str, expected: Result<&[Option<&str>], ArrayFault>| {
            let found = read_array(literal);
            let found = found.as_ref().map(|elements| elements.iter().map(Option::as_deref).collect::<Vec<_>>());
            assert_eq!(found.as_deref().map_err(|fault| **fault), expected, "{literal}");
        };
        check("{}", Ok(&[]));
        check(" { } ", Ok(&[]));
        check("{1, 2,3}", Ok(&[Some("1"), Some("2"), Some("3")]));
        check("{a b , \"c,\\\"d\" , NULL,\"NULL\"}", Ok(&[Some("a b"), Some("c,\"d"), None, Some("NULL")]));
        check("{\"\",\\ ,nul\\l}", Ok(&[Some(""), Some(" "), Some("null")]));
        // Blanks are ASCII's alone.
        check("{\u{a0},\u{a0}x\u{2003}}", Ok(&[Some("\u{a0}"), Some("\u{a0}x\u{2003}")]));
        for bad in ["", "1,2", "{1,2", "{1,,2}", "{\"a}", "{\"a\"b}", "{,}", "{1}}", "{a{b}", "{\\"] {
            check(bad, Err(ArrayFault::Malformed));
        }
        check("{{1},{2}}", Err(ArrayFault::Dimensions));
        check("[2:3]={1,2}", Err(ArrayFault::Dimensions));
    }
}
