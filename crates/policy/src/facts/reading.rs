//! Facts read for one decision, and what rules see of them.

use std::sync::Arc;

use cedar_policy::RestrictedExpression;
use serde_json::Value;

use crate::{
    facts::{
        Budget, FactReading, FactSource, FactValue, FactVersion,
        declaration::{STATUS, VALUE},
        needs::{CONFLICTED, FactNeed},
        project,
    },
    reads::Reads,
};

/// Most facts below one key that a decision looks at.
const KEYS_MAX: usize = 1_000;
/// Decisions on more facts than this are made anew each time instead of remembered.
const REMEMBERED_MAX: usize = 32;

/// A fact that a decision needs, its key made.
#[derive(Debug)]
pub(crate) struct Asked {
    pub need: Arc<FactNeed>,
    pub key: Arc<str>,
}

/// Why a decision's facts cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadError {
    Unavailable(String),
    Stale { fact: Arc<str>, staleness_ms: u64, max_ms: u64 },
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReadError::Unavailable(why) => f.write_str(why),
            ReadError::Stale { fact, staleness_ms, max_ms } => {
                write!(
                    f,
                    "what is known of fact `{fact}` may be {staleness_ms} ms old, and only {max_ms} ms are allowed"
                )
            }
        }
    }
}

/// For each fact asked for, in their order, its key and reading; for many facts, all of them by key.
#[derive(Debug, Default)]
pub(crate) struct Readings(Vec<Found>);

type Found = Vec<(Arc<str>, FactReading)>;

impl Readings {
    /// Reads all of them now. A key that two facts share is read once, so that both see the same.
    pub fn take(
        asked: &[Asked],
        source: Option<&dyn FactSource>,
        staleness_ms_max: Option<u64>,
    ) -> Result<Readings, ReadError> {
        if asked.is_empty() {
            return Ok(Readings::default());
        }
        let Some(source) = source else {
            return Err(ReadError::Unavailable("the rules read facts, and there are none here".into()));
        };
        check_staleness(asked, source, staleness_ms_max)?;
        let mut found: Vec<Found> = Vec::with_capacity(asked.len());
        for one in asked {
            let earlier = asked.iter().zip(&found).find(|(earlier, _)| earlier.key == one.key);
            let reading = match earlier {
                Some((_, earlier)) => earlier.clone(),
                None => read(one, source)?,
            };
            found.push(reading);
        }
        Ok(Readings(found))
    }

    /// Whether rules could not tell these from the others, of the same facts.
    pub fn are_same(&self, other: &Readings) -> bool {
        self.0 == other.0
    }

    pub fn are_rememberable(&self) -> bool {
        self.0.iter().map(Vec::len).sum::<usize>() <= REMEMBERED_MAX
    }

    /// That it takes to keep them, about.
    pub fn bytes(&self) -> usize {
        self.0.iter().flatten().map(|(key, reading)| key.len() + reading.bytes() + 128).sum()
    }

    pub fn versions(&self) -> Arc<[FactVersion]> {
        let all = self.0.iter().flatten();
        let mut versions: Vec<FactVersion> =
            all.map(|(key, reading)| FactVersion { key: Arc::clone(key), version: reading.version }).collect();
        versions.sort_by(|left, right| left.key.cmp(&right.key));
        versions.dedup();
        versions.into()
    }

    /// `context.facts`: of each fact what is read of it.
    ///
    /// # Errors
    /// A fact that is malformed where it is read, or whose values are in conflict without its readers' minding.
    pub fn to_cedar(&self, asked: &[Asked]) -> Result<RestrictedExpression, String> {
        let mut budget = Budget::new();
        let mut facts = Vec::with_capacity(asked.len());
        for (asked, found) in asked.iter().zip(&self.0) {
            let name = &asked.need.fact.name;
            let members = members(&asked.need, found, &mut budget)
                .map_err(|error| format!("fact `{name}` ({}): {error}", asked.key))?;
            facts.push((name.as_ref().to_owned(), record(members)?));
        }
        record(facts)
    }
}

fn check_staleness(asked: &[Asked], source: &dyn FactSource, staleness_ms_max: Option<u64>) -> Result<(), ReadError> {
    let limits = asked.iter().filter_map(|one| {
        let limits = one.need.fact.staleness_ms_max.into_iter().chain(staleness_ms_max);
        limits.min().map(|max_ms| (&one.need.fact.name, max_ms))
    });
    let Some((fact, max_ms)) = limits.min_by_key(|(_, max_ms)| *max_ms) else { return Ok(()) };
    let staleness_ms = source.staleness_ms();
    if staleness_ms > max_ms {
        return Err(ReadError::Stale { fact: Arc::clone(fact), staleness_ms, max_ms });
    }
    Ok(())
}

fn read(asked: &Asked, source: &dyn FactSource) -> Result<Found, ReadError> {
    let fact = &asked.need.fact;
    let unavailable = |why: String| ReadError::Unavailable(format!("fact `{}` ({}): {why}", fact.name, asked.key));
    if !fact.key.is_many() {
        let reading = source.fact(&asked.key).map_err(|error| unavailable(error.to_string()))?;
        return Ok(vec![(Arc::clone(&asked.key), reading)]);
    }
    let found = source.matching(&asked.key, KEYS_MAX).map_err(|error| unavailable(error.to_string()))?;
    if found.len() > KEYS_MAX {
        return Err(unavailable(format!("there are more than {KEYS_MAX} facts below it")));
    }
    let mut found: Found = found.into_iter().map(|(key, reading)| (key.into(), reading)).collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found)
}

fn members(need: &FactNeed, found: &Found, budget: &mut Budget) -> Result<Vec<(String, RestrictedExpression)>, String> {
    let conflicted = found.iter().any(|(_, reading)| reading.conflicted);
    if conflicted && !need.minds_conflict {
        let why = "it has values that were written without knowledge of each other, and a rule that reads it does not ask \
                   for the status \"conflicted\"";
        return Err(why.into());
    }
    let present = found.iter().filter_map(|(_, reading)| reading.value.as_ref());
    let mut members = Vec::with_capacity(2 + need.counts.len());
    if need.status {
        let status = match (conflicted, present.clone().next().is_none()) {
            (true, _) => CONFLICTED,
            (false, true) => "absent",
            (false, false) => "present",
        };
        members.push((STATUS.to_owned(), RestrictedExpression::new_string(status.to_owned())));
    }
    // In conflict there is no one value, and no count of it: a rule that reads on is in error.
    if conflicted {
        return Ok(members);
    }
    if need.value.is_none() && need.counts.is_empty() {
        return Ok(members);
    }
    let present = present.map(FactValue::json).collect::<Result<Vec<&Value>, String>>()?;
    if need.fact.key.is_many() {
        many(need, &present, budget, &mut members)?;
    } else {
        one(need, present.first().copied().or(need.fact.default.as_deref()), budget, &mut members)?;
    }
    Ok(members)
}

fn one(
    need: &FactNeed,
    value: Option<&Value>,
    budget: &mut Budget,
    members: &mut Vec<(String, RestrictedExpression)>,
) -> Result<(), String> {
    if let (Some(reads), Some(value)) = (&need.value, value) {
        let value = project(value, reads, budget).map_err(|error| format!("its value {error}"))?;
        members.extend(value.map(|value| (VALUE.to_owned(), value)));
    }
    for (name, count) in need.counts() {
        let total = value.map_or(Ok(0), |value| count.of_one(value))?;
        members.push((name.clone(), RestrictedExpression::new_long(total)));
    }
    Ok(())
}

/// The value of many facts is the set of their values.
fn many(
    need: &FactNeed,
    values: &[&Value],
    budget: &mut Budget,
    members: &mut Vec<(String, RestrictedExpression)>,
) -> Result<(), String> {
    if need.value.is_some() {
        let whole = Reads { whole: true, ..Reads::default() };
        let mut elements = Vec::with_capacity(values.len());
        for value in values {
            elements.extend(project(value, &whole, budget).map_err(|error| format!("a value {error}"))?);
        }
        members.push((VALUE.to_owned(), RestrictedExpression::new_set(elements)));
    }
    for (name, count) in need.counts() {
        let total = count.of_many(values.iter().copied())?;
        members.push((name.clone(), RestrictedExpression::new_long(total)));
    }
    Ok(())
}

fn record(members: Vec<(String, RestrictedExpression)>) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
}
