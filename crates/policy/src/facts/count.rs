//! How many of a fact's elements fit: computed here, as Cedar neither counts nor filters sets.

use std::{borrow::Cow, collections::HashSet};

use serde_json::Value;

use crate::bundle::CountRule;

/// A count, compiled. Paths are members' names, from the outside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Count {
    of: Vec<String>,
    conditions: Vec<(Vec<String>, Value)>,
    distinct: Option<Vec<String>>,
}

/// What is compared of elements that must differ.
type Seen<'a> = HashSet<Cow<'a, str>>;

impl Count {
    /// # Errors
    /// Names the path that is none.
    pub fn new(rule: &CountRule) -> Result<Count, String> {
        let of = if rule.of.is_empty() { Vec::new() } else { path(&rule.of)? };
        let conditions = rule.matching.iter().map(|(name, value)| match value {
            Value::String(_) | Value::Bool(_) => Ok((path(name)?, value.clone())),
            Value::Number(number) if number.is_i64() => Ok((path(name)?, value.clone())),
            _ => Err(format!("`{name}` is compared with text, an integer or a boolean")),
        });
        let conditions = conditions.collect::<Result<_, String>>()?;
        Ok(Count { of, conditions, distinct: rule.distinct.as_deref().map(path).transpose()? })
    }

    /// Over the elements of one value. What is absent or null has none.
    pub fn of_one(&self, value: &Value) -> Result<i64, String> {
        let mut seen = Seen::new();
        self.elements(value, &mut seen)
    }

    /// Over several facts: all their elements together, or the facts themselves.
    pub fn of_many<'a>(&self, values: impl Iterator<Item = &'a Value>) -> Result<i64, String> {
        let mut seen = Seen::new();
        let mut total: i64 = 0;
        for value in values {
            let more =
                if self.of.is_empty() { self.element(value, &mut seen)? } else { self.elements(value, &mut seen)? };
            total = total.saturating_add(more);
        }
        Ok(total)
    }

    fn elements<'a>(&self, value: &'a Value, seen: &mut Seen<'a>) -> Result<i64, String> {
        match at(value, &self.of) {
            None => Ok(0),
            Some(Value::Array(elements)) => elements
                .iter()
                .try_fold(0, |total: i64, element| Ok(total.saturating_add(self.element(element, seen)?))),
            Some(_) if self.of.is_empty() => Err("its value is no array".into()),
            Some(_) => Err(format!("its `{}` is no array", self.of.join("."))),
        }
    }

    /// 1 when it counts. An element that fits but cannot be told from others is an error: to leave it out would help
    /// whoever counts against it, to take it whoever counts on it.
    fn element<'a>(&self, element: &'a Value, seen: &mut Seen<'a>) -> Result<i64, String> {
        let fits = self.conditions.iter().all(|(path, expected)| at(element, path) == Some(expected));
        if element.is_null() || !fits {
            return Ok(0);
        }
        let Some(distinct) = &self.distinct else { return Ok(1) };
        let what: Cow<'a, str> = match at(element, distinct) {
            Some(Value::String(text)) => text.into(),
            Some(Value::Number(number)) => number.to_string().into(),
            _ => {
                return Err(format!("an element that counts has no `{}` that is text or a number", distinct.join(".")));
            }
        };
        Ok(i64::from(seen.insert(what)))
    }
}

fn path(text: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = text.split('.').map(str::to_owned).collect();
    if names.iter().any(String::is_empty) {
        return Err(format!("`{text}` is not a path: members' names joined by dots"));
    }
    Ok(names)
}

/// The value at a path; none where something on the way is absent, null or no object.
fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let found = path.iter().try_fold(value, |value, name| value.as_object()?.get(name))?;
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn count(of: &str, matching: &[(&str, Value)], distinct: Option<&str>) -> Count {
        let matching = matching.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Count::new(&CountRule { of: of.into(), matching, distinct: distinct.map(str::to_owned) }).unwrap()
    }

    #[test]
    fn elements_that_fit_are_counted_once() {
        let senior = count("approvers", &[("role", json!("senior"))], Some("user"));
        let check = |value: Value, expected: Result<i64, &str>| {
            assert_eq!(senior.of_one(&value), expected.map_err(str::to_owned), "{value}");
        };
        let a = json!({"user": "alice", "role": "senior"});
        let b = json!({"user": "bob", "role": "senior"});
        let junior = json!({"user": "carol", "role": "junior"});
        check(json!({"approvers": [a, b, junior]}), Ok(2));
        check(json!({"approvers": [a, a, a]}), Ok(1));
        check(json!({"approvers": []}), Ok(0));
        check(json!({"approvers": null}), Ok(0));
        check(json!({}), Ok(0));
        check(json!(null), Ok(0));
        check(json!("text"), Ok(0));
        check(json!({"approvers": [null, 1, "senior", ["senior"], {"user": "x"}]}), Ok(0));
        check(json!({"approvers": [{"user": 1, "role": "senior"}, {"user": "1", "role": "senior"}]}), Ok(1));
        check(json!({"approvers": {"0": a, "1": b}}), Err("its `approvers` is no array"));
        check(json!({"approvers": "alice, bob"}), Err("its `approvers` is no array"));
        let nameless = "an element that counts has no `user` that is text or a number";
        check(json!({"approvers": [a, {"role": "senior"}]}), Err(nameless));
        check(json!({"approvers": [{"role": "senior", "user": {"name": "x"}}]}), Err(nameless));
        check(json!({"approvers": [{"role": ["senior"], "user": "x"}]}), Ok(0));
    }

    #[test]
    fn paths_lead_into_objects() {
        let check =
            |count: &Count, value: Value, expected: i64| assert_eq!(count.of_one(&value), Ok(expected), "{value}");
        let nested = count("a.b", &[("c.d", json!(1)), ("e", json!(true))], None);
        check(&nested, json!({"a": {"b": [{"c": {"d": 1}, "e": true}, {"c": {"d": 1}, "e": "true"}]}}), 1);
        check(&nested, json!({"a": {"b": [{"c": {"d": 1.0}, "e": true}]}}), 0);
        check(&nested, json!({"a": [1]}), 0);
        check(&count("", &[], None), json!([1, "b", null, {}]), 3);
        assert!(count("", &[], None).of_one(&json!({"a": 1})).is_err());
    }

    #[test]
    fn several_facts_count_together() {
        let check = |count: &Count, values: &[Value], expected: i64| {
            assert_eq!(count.of_many(values.iter()), Ok(expected), "{values:?}");
        };
        let facts = [json!({"role": "senior", "by": ["a"]}), json!({"role": "senior", "by": ["a", "b"]}), json!(1)];
        check(&count("", &[], None), &facts, 3);
        check(&count("", &[("role", json!("senior"))], None), &facts, 2);
        check(&count("by", &[], None), &facts, 3);
        check(&count("", &[("role", json!("senior"))], Some("role")), &facts, 1);
        check(&count("by", &[], None), &[], 0);
    }

    proptest! {
        /// Whatever the order and however often an approval is repeated, the count is that of the distinct users.
        #[test]
        fn counts_are_of_a_set(approvals in proptest::collection::vec((0..6_u8, any::<bool>()), 0..20), turn in 0..20_usize) {
            let expected: BTreeSet<u8> = approvals.iter().filter(|(_, senior)| *senior).map(|(user, _)| *user).collect();
            let mut elements: Vec<Value> = approvals
                .iter()
                .map(|(user, senior)| json!({"user": format!("u{user}"), "role": if *senior { "senior" } else { "junior" }}))
                .collect();
            let middle = turn.min(elements.len());
            elements.rotate_left(middle);
            elements.extend_from_within(..middle);
            let senior = count("approvers", &[("role", json!("senior"))], Some("user"));
            let total = senior.of_one(&json!({ "approvers": elements })).unwrap();
            prop_assert_eq!(total, i64::try_from(expected.len()).unwrap());
        }
    }
}
