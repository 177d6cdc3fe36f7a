//! Arrays written as text: `'{a,b}'::text[]`.

use sqlparser::ast::{Array, ArrayElemTypeDef, CastKind, DataType, Expr};

use super::tree;

/// The array that a literal of an array type says; None for what is no literal, or has dimensions.
pub(super) fn typed_array(inner: &Expr, data_type: &DataType) -> Option<Expr> {
    let DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) = data_type else { return None };
    array_from(tree::string_of(inner)?, element)
}

fn array_from(text: &str, element: &DataType) -> Option<Expr> {
    let body = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if body.contains('{') {
        return None;
    }
    let value = |item: Option<String>| {
        let item = item.map_or_else(tree::null, |item| tree::string(&item));
        Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(item),
            data_type: element.clone(),
            array: false,
            format: None,
        }
    };
    Some(Expr::Array(Array { elem: items(body).into_iter().map(value).collect(), named: true }))
}

/// The items of an array's text; None for NULL. Quoted ones keep commas and escapes.
fn items(body: &str) -> Vec<Option<String>> {
    let mut items = Vec::new();
    let (mut item, mut quoted, mut open) = (String::new(), false, false);
    let mut characters = body.chars();
    let mut finish = |item: &mut String, quoted: &mut bool| {
        let text = std::mem::take(item);
        let bare = text.trim();
        let null = !*quoted && bare.eq_ignore_ascii_case("null");
        items.push(if null { None } else { Some(if *quoted { text.clone() } else { bare.to_owned() }) });
        *quoted = false;
    };
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                open = !open;
                quoted = true;
            }
            '\\' => item.extend(characters.next()),
            ',' if !open => finish(&mut item, &mut quoted),
            ' ' if !open && (quoted || item.is_empty()) => {}
            other => item.push(other),
        }
    }
    if quoted || !item.is_empty() {
        finish(&mut item, &mut quoted);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn items_are_read_as_postgres_reads_them() {
        let check = |body: &str, expected: &[Option<&str>]| {
            let found = items(body);
            assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{body}");
        };
        check("", &[]);
        check("a,b", &[Some("a"), Some("b")]);
        check(" a , NULL,\"NULL\"", &[Some("a"), None, Some("NULL")]);
        check("\"a,b\",\"c\\\"d\"", &[Some("a,b"), Some("c\"d")]);
        check("\"\"", &[Some("")]);
    }
}
