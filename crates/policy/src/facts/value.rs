//! JSON as Cedar's values, no more of it than rules read.
//!
//! JSON's null is nothing there. Cedar has no floats: one whose shortest form has at most four decimals is a `decimal`.
//! What else it cannot hold, where a rule reads it, is an error, since a rule that asks `has` would pass over it.

use cedar_policy::RestrictedExpression;
use serde_json::{Map, Number, Value};

use crate::reads::Reads;

/// Deepest nesting, and most values, that are made for one decision.
const DEPTH_MAX: u32 = 64;
const VALUES_MAX: u32 = 65_536;

/// What is left of the values that may be made for one decision.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    pub fn new() -> Budget {
        Budget(VALUES_MAX)
    }

    fn take(&mut self, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX}"));
        }
        self.0 = self.0.checked_sub(1).ok_or_else(|| format!("has more than {VALUES_MAX} values"))?;
        Ok(())
    }
}

/// The part of a value that is read; none for null. Errors complete "`name` …".
pub(crate) fn project(
    json: &Value,
    reads: &Reads,
    budget: &mut Budget,
) -> Result<Option<RestrictedExpression>, String> {
    project_at(json, reads, 0, budget)
}

fn project_at(
    json: &Value,
    reads: &Reads,
    depth: u32,
    budget: &mut Budget,
) -> Result<Option<RestrictedExpression>, String> {
    match json {
        // What is no object is made whole, so that reading a member of it is the rule's error.
        Value::Object(members) if !reads.whole && !reads.members.is_empty() => {
            budget.take(depth)?;
            let mut pairs = Vec::with_capacity(reads.members.len());
            for (name, reads) in &reads.members {
                let Some(value) = members.get(name) else { continue };
                let value = project_at(value, reads, depth + 1, budget).map_err(|error| inside(name, &error))?;
                pairs.extend(value.map(|value| (name.clone(), value)));
            }
            record(pairs).map(Some)
        }
        _ => whole(json, depth, budget),
    }
}

fn whole(json: &Value, depth: u32, budget: &mut Budget) -> Result<Option<RestrictedExpression>, String> {
    budget.take(depth)?;
    Ok(Some(match json {
        Value::Null => return Ok(None),
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::String(text) => RestrictedExpression::new_string(text.clone()),
        Value::Number(value) => number(value)?,
        Value::Array(items) => {
            let mut elements = Vec::with_capacity(items.len());
            for item in items {
                elements.extend(whole(item, depth + 1, budget)?);
            }
            RestrictedExpression::new_set(elements)
        }
        Value::Object(members) => return object(members, depth, budget).map(Some),
    }))
}

fn object(members: &Map<String, Value>, depth: u32, budget: &mut Budget) -> Result<RestrictedExpression, String> {
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        let value = whole(value, depth + 1, budget).map_err(|error| inside(name, &error))?;
        pairs.extend(value.map(|value| (name.clone(), value)));
    }
    record(pairs)
}

fn record(pairs: Vec<(String, RestrictedExpression)>) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
}

fn number(value: &Number) -> Result<RestrictedExpression, String> {
    if let Some(integer) = value.as_i64() {
        return Ok(RestrictedExpression::new_long(integer));
    }
    let text = value.to_string();
    let decimals = text.split_once('.').filter(|(whole, decimals)| {
        (1..=4).contains(&decimals.len())
            && decimals.bytes().all(|byte| byte.is_ascii_digit())
            // Cedar's decimals are i64 in ten-thousandths; fewer digits surely fit.
            && whole.trim_start_matches('-').len() <= 14
    });
    match decimals {
        Some(_) => Ok(RestrictedExpression::new_decimal(text)),
        None => Err(format!("is {value}, a number that rules cannot hold: integers of 64 bits and four decimals can")),
    }
}

fn inside(name: &str, error: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    format!("in {shown:?} {error}")
}

#[cfg(test)]
mod tests {
    use cedar_policy::{Context, EvalResult};
    use serde_json::json;

    use super::*;

    fn everything() -> Reads {
        Reads { whole: true, ..Reads::default() }
    }

    fn shown(json: &Value, reads: &Reads) -> Result<Option<String>, String> {
        let made = project(json, reads, &mut Budget::new())?;
        Ok(made.map(|made| {
            let context = Context::from_pairs([("it".to_owned(), made)]).unwrap();
            let value: EvalResult = context.get("it").unwrap();
            value.to_string()
        }))
    }

    #[test]
    fn json_becomes_cedar_s_values() {
        let check = |json: Value, expected: Option<&str>| {
            assert_eq!(shown(&json, &everything()), Ok(expected.map(str::to_owned)), "{json}");
        };
        check(json!(null), None);
        check(json!(true), Some("true"));
        check(json!("a\"b"), Some(r#""a\"b""#));
        check(json!(i64::MIN), Some("-9223372036854775808"));
        check(json!(1.5), Some(r#"decimal("1.5")"#));
        check(json!(-0.0001), Some(r#"decimal("-0.0001")"#));
        check(json!([]), Some("[]"));
        check(json!([1, 1, null]), Some("[1]"));
        check(json!({"a": null, "b": {"c": 1}}), Some(r#"{"b": {"c": 1}}"#));
    }

    #[test]
    fn what_cedar_cannot_hold_is_an_error_that_names_the_place() {
        let check = |json: Value, expected: &str| {
            let error = shown(&json, &everything()).unwrap_err();
            assert!(error.starts_with(expected), "{json}: {error}");
        };
        check(json!(u64::MAX), "is 18446744073709551615, a number");
        check(json!(0.00001), "is 0.00001, a number");
        check(json!(1e-9), "is 1e-9, a number");
        check(json!(1e300), "is 1e+300, a number");
        check(json!(1e15), "is 1000000000000000.0, a number");
        check(json!({"a": [{"b": 1.23456}]}), "in \"a\" in \"b\" is 1.23456, a number");
        let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
        check(deep, "is nested deeper than 64");
        check(json!(vec![0; 70_000]), "has more than 65536 values");
    }

    #[test]
    fn only_what_is_read_is_made() {
        let mut reads = Reads::default();
        for path in [&["a"][..], &["b", "c"]] {
            let leaf = path.iter().fold(&mut reads, |reads, name| reads.members.entry((*name).into()).or_default());
            leaf.whole = true;
        }
        let check = |json: Value, expected: Option<&str>| {
            assert_eq!(shown(&json, &reads), Ok(expected.map(str::to_owned)), "{json}");
        };
        check(json!({"a": 1, "b": {"c": [2], "d": 0.12345}, "e": u64::MAX}), Some(r#"{"a": 1, "b": {"c": [2]}}"#));
        check(json!({"b": null}), Some("{}"));
        check(json!({"b": "no object"}), Some(r#"{"b": "no object"}"#));
        check(json!(7), Some("7"));
        check(json!(null), None);
        assert!(shown(&json!({"b": {"c": 0.12345}}), &reads).is_err());
    }
}
