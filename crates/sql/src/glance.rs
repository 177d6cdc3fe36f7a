//! A glance at the bytes of a text, before anything is made of it: how many tokens at most, how deep brackets nest.
//!
//! Nothing is allocated, and the first bracket too many ends it: what costs a client one byte each may not cost more
//! than a glance here.

use weir_model::Result;

use crate::limits::{NESTING_MAX, TOKENS_MAX, too_complex, too_long};

/// # Errors
/// `program_limit_exceeded` for too many tokens, `statement_too_complex` for brackets too deep.
pub(crate) fn check(text: &str) -> Result<()> {
    count(text).map(drop)
}

/// An upper bound of the tokens.
fn count(text: &str) -> Result<usize> {
    let (mut rest, mut tokens, mut depth) = (text, 0_usize, 1_usize);
    while let Some(first) = rest.bytes().next() {
        tokens += 1;
        if tokens > TOKENS_MAX {
            return Err(too_long());
        }
        rest = match first {
            b'\'' => quoted(after(rest, 1), '\''),
            b'"' => quoted(after(rest, 1), '"'),
            b'e' | b'E' if rest.as_bytes().get(1) == Some(&b'\'') => escaped(after(rest, 2)),
            b'$' => dollar(rest),
            b'-' if rest.starts_with("--") => rest.split_once('\n').map_or("", |(_, next)| next),
            b'/' if rest.starts_with("/*") => comment(after(rest, 2)),
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(too_complex("nesting", NESTING_MAX));
                }
                after(rest, 1)
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1).max(1);
                after(rest, 1)
            }
            // The next statement's brackets are its own.
            b';' => {
                depth = 1;
                after(rest, 1)
            }
            b'0'..=b'9' => run(rest, |byte| byte.is_ascii_digit()),
            byte if in_word(byte) => run(rest, in_word),
            _ => after(rest, 1),
        };
    }
    Ok(tokens)
}

fn in_word(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'$' | 128..)
}

/// Behind so many bytes, which end at a character.
fn after(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or("")
}

/// Behind the bytes that belong together; words end at ASCII characters only, so at whole ones.
fn run(text: &str, belongs: impl Fn(u8) -> bool) -> &str {
    text.bytes().position(|byte| !belongs(byte)).map_or("", |end| after(text, end))
}

/// Behind the closing quote; a doubled one begins a quoted text anew, which comes to the same.
fn quoted(text: &str, quote: char) -> &str {
    text.split_once(quote).map_or("", |(_, next)| next)
}

/// Behind an `E'…'`, in which a backslash takes the next character with it.
fn escaped(mut text: &str) -> &str {
    while let Some(at) = text.find(['\\', '\'']) {
        let found = text.as_bytes().get(at);
        text = after(text, at + 1);
        if found == Some(&b'\'') {
            return text;
        }
        let taken = text.chars().next().map_or(0, char::len_utf8);
        text = after(text, taken);
    }
    ""
}

/// Behind `$1`, or behind `$tag$…$tag$`.
fn dollar(text: &str) -> &str {
    let inner = after(text, 1);
    let tag = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    if inner.as_bytes().get(tag) != Some(&b'$') {
        return after(inner, tag);
    }
    let delimiter = text.get(..tag + 2).unwrap_or("$$");
    after(inner, tag + 1).split_once(delimiter).map_or("", |(_, next)| next)
}

/// Behind a comment, in which comments nest.
fn comment(mut text: &str) -> &str {
    let mut depth = 1_usize;
    while let Some(at) = text.find(['*', '/']) {
        let here = after(text, at);
        if here.starts_with("*/") {
            depth -= 1;
            text = after(here, 2);
            if depth == 0 {
                return text;
            }
        } else if here.starts_with("/*") {
            depth += 1;
            text = after(here, 2);
        } else {
            text = after(here, 1);
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use weir_model::Code;

    use super::*;

    #[test]
    fn only_brackets_that_are_brackets_count() {
        let deep = "(".repeat(100);
        for text in [
            format!("SELECT '{deep}'"),
            format!("SELECT 'it''s {deep}' || '''{deep}'"),
            format!("SELECT E'\\'{deep}' || e'\\\\' || '{deep}'"),
            format!("SELECT \"{deep}\" FROM \"t\"\"{deep}\""),
            format!("SELECT $${deep}$$, $ä${deep}$$ $a$ {deep}$ä$, $1"),
            format!("SELECT 1 -- {deep}\n + 2 /* /* {deep} */ {deep} */ * 3"),
            format!("SELECT 1; {}", "SELECT (1;".repeat(100)),
            "SELECT 1 WHERE ".to_owned() + &"(1) ".repeat(1000),
            format!("SELECT {}1{}", "(".repeat(63), ")".repeat(63)),
            "SELECT naïve$x$ FROM t$1".to_owned(),
        ] {
            assert!(check(&text).is_ok(), "{text}");
        }
        for text in [
            format!("SELECT {deep}"),
            format!("SELECT 'a' || {deep}"),
            format!("SELECT 'a\\' || {deep} || ''"),
            format!("SELECT \"a\" || {deep}"),
            format!("SELECT $$a$$ || $x$b$x$ || {deep}"),
            format!("SELECT -- a\n{deep}"),
            format!("SELECT /* a /* b */ */ {deep}"),
            format!("SELECT {}", "([{".repeat(30)),
        ] {
            assert_eq!(check(&text).unwrap_err().code(), Code::StatementTooComplex, "{text}");
        }
    }

    #[test]
    fn the_count_is_never_below_the_tokenizer_s() {
        use sqlparser::{dialect::PostgreSqlDialect, tokenizer::Tokenizer};

        let parts = [
            "a ", "1", "1a", " ", "\n", "\t\t", "'x'", "e'\\''", "é", "\u{a0}", "$1", "$$x$$", ",", "->>", "--c\n",
            "/**/",
        ];
        for left in parts {
            for right in parts {
                let text = format!("{left}{right}{left}");
                if let Ok(made) = Tokenizer::new(&PostgreSqlDialect {}, &text).tokenize() {
                    let counted = count(&text).unwrap();
                    assert!(made.len() <= counted, "{text:?}: {} tokens, {counted} counted", made.len());
                }
            }
        }
        assert_eq!(check(&" ".repeat(TOKENS_MAX + 1)).unwrap_err().code(), Code::ProgramLimitExceeded);
    }
}
