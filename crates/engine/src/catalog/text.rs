//! Text as PostgreSQL's catalog functions read and write it: quoted identifiers, literals, sizes, format strings.

use std::{collections::HashSet, sync::LazyLock};

use sqlparser::{dialect::PostgreSqlDialect, tokenizer::Tokenizer};

/// As `quote_ident`: bare where SQL would read it back the same.
pub(crate) fn quote_identifier(name: &str) -> String {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Keywords that PostgreSQL quotes when they are names, in order.
const RESERVED: &str = "\
all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case \
cast char character check coalesce collate collation column concurrently constraint create cross current_catalog \
current_date current_role current_schema current_time current_timestamp current_user dec decimal default \
deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full grant \
greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join \
lateral leading least left like limit localtime localtimestamp national natural nchar none normalize not notnull \
null nullif numeric offset on only or order out outer overlaps overlay placing position precision primary real \
references returning right row select session_user setof similar smallint some substring symmetric table \
tablesample then time timestamp to trailing treat trim true union unique user using values varchar variadic \
verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse \
xmlpi xmlroot xmlserialize xmltable";

static RESERVED_WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| RESERVED.split(' ').collect());

fn is_reserved(name: &str) -> bool {
    RESERVED_WORDS.contains(name)
}

/// `schema.name`, quoted where SQL needs it.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

pub(crate) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// The parts of a possibly qualified, possibly quoted name; None when it is not one.
pub(crate) fn parse_identifier(text: &str) -> Option<Vec<String>> {
    use sqlparser::tokenizer::Token;

    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().ok()?;
    let mut parts = Vec::new();
    let mut wants_name = true;
    for token in tokens {
        match token {
            Token::Whitespace(_) => {}
            Token::Word(word) if wants_name => {
                parts.push(weir_model::fold_identifier(&word.value, word.quote_style.is_some()));
                wants_name = false;
            }
            Token::Period if !wants_name => wants_name = true,
            _ => return None,
        }
    }
    (!wants_name).then_some(parts)
}

/// As `pg_size_pretty`: the unit grows while ten thousand of it are reached, halves round up.
pub(crate) fn size_pretty(bytes: i64) -> String {
    let mut size = i128::from(bytes);
    let units = [("bytes", 10_240_i128), ("kB", 20_479), ("MB", 20_479), ("GB", 20_479), ("TB", 20_479)];
    for (place, (unit, limit)) in units.into_iter().enumerate() {
        if size.abs() < limit {
            let shown = if place == 0 { size } else { half_rounded(size) };
            return format!("{shown} {unit}");
        }
        // One bit more than the unit is kept, for the rounding.
        size >>= if place == 0 { 9 } else { 10 };
    }
    format!("{} PB", half_rounded(size))
}

fn half_rounded(size: i128) -> i128 {
    (size + i128::from(size.signum() >= 0)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_quoted_where_needed() {
        let check = |name: &str, expected: &str| assert_eq!(quote_identifier(name), expected);
        check("orders", "orders");
        check("Odd Name", "\"Odd Name\"");
        check("we\"ird", "\"we\"\"ird\"");
        check("select", "\"select\"");
        check("user", "\"user\"");
        check("name", "name");
        check("a$b", "\"a$b\"");
    }

    #[test]
    fn names_split_as_sql_reads_them() {
        let check = |text: &str, expected: Option<&[&str]>| {
            let parts = parse_identifier(text);
            assert_eq!(
                parts.as_deref().map(|parts| parts.iter().map(String::as_str).collect::<Vec<_>>()),
                expected.map(<[&str]>::to_vec),
                "{text}"
            );
        };
        check("Sales.Orders", Some(&["sales", "orders"]));
        check("sales.\"Odd Name\"", Some(&["sales", "Odd Name"]));
        check("\"a\"\"b\"", Some(&["a\"b"]));
        check("a.", None);
        check("a b", None);
        check("", None);
    }

    #[test]
    fn sizes_read_well() {
        let check = |bytes: i64, expected: &str| assert_eq!(size_pretty(bytes), expected);
        check(0, "0 bytes");
        check(10_239, "10239 bytes");
        check(10_240, "10 kB");
        check(8192 * 1024, "8192 kB");
        check(10_485_247, "10239 kB");
        check(10_485_248, "10 MB");
        check(-20_000, "-20 kB");
        check(i64::MAX, "8192 PB");
    }

    #[test]
    fn literals_are_quoted() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }
}
