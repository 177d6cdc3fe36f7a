//! Which facts a rule reads, and what of each; found when the rule is compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    diagnostic::did_you_mean,
    facts::{
        Count, FactIndex, Scope,
        declaration::{STATUS, VALUE},
        declared::Fact,
    },
    reads::{Reads, RuleReads},
};

/// The word of a fact's status that a rule must spell out to be asked while values are in conflict.
pub(crate) const CONFLICTED: &str = "conflicted";

/// What some rules read of one fact.
#[derive(Debug, Clone)]
pub(crate) struct FactNeed {
    pub fact: Arc<Fact>,
    pub status: bool,
    pub value: Option<Reads>,
    pub counts: BTreeSet<String>,
    /// Whether each of the rules says what to do when values are in conflict.
    pub minds_conflict: bool,
}

/// The facts that some rules read, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct FactNeeds(BTreeMap<Arc<str>, FactNeed>);

/// A mistake, and what to look for in the rule's text to find its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub needle: String,
    pub message: String,
    pub hint: Option<String>,
}

impl FactNeed {
    /// The counts that are read. One that is not declared could not have been compiled.
    pub fn counts(&self) -> impl Iterator<Item = (&String, &Count)> {
        self.counts.iter().filter_map(|name| self.fact.counts.get_key_value(name))
    }
}

impl FactNeeds {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_needs(self) -> Vec<Arc<FactNeed>> {
        self.0.into_values().map(Arc::new).collect()
    }

    pub fn reads(&self, fact: &str) -> bool {
        self.0.contains_key(fact)
    }

    pub fn union(&mut self, other: &FactNeeds) {
        for (name, more) in &other.0 {
            match self.0.get_mut(name) {
                None => drop(self.0.insert(Arc::clone(name), more.clone())),
                Some(need) => {
                    need.status |= more.status;
                    need.counts.extend(more.counts.iter().cloned());
                    need.minds_conflict &= more.minds_conflict;
                    match (&mut need.value, &more.value) {
                        (Some(value), Some(more)) => value.union(more),
                        (value @ None, Some(more)) => *value = Some(more.clone()),
                        (_, None) => {}
                    }
                }
            }
        }
    }
}

/// What a rule reads of the facts, when all of it is declared and can be known where the rule is asked.
///
/// To ask whether a fact, its status or its counts are there is a mistake: they always are, so the answer would say
/// nothing of the fact.
pub(crate) fn fact_needs(reads: &RuleReads, index: &FactIndex, asked_in: Scope) -> Result<FactNeeds, Vec<Finding>> {
    let mut finder = Finder { index, asked_in, minds_conflict: reads.spells(CONFLICTED), findings: Vec::new() };
    if reads.context.whole && !index.is_empty() {
        let hint = "read its members, such as `context.hour`".to_owned();
        finder.find("context", "`context` as a whole cannot be used where there are facts".into(), Some(hint));
    }
    let mut needs = FactNeeds::default();
    if let Some(facts) = reads.context.members.get("facts") {
        finder.facts(facts, &mut needs);
    }
    if finder.findings.is_empty() { Ok(needs) } else { Err(finder.findings) }
}

struct Finder<'a> {
    index: &'a FactIndex,
    asked_in: Scope,
    minds_conflict: bool,
    findings: Vec<Finding>,
}

impl Finder<'_> {
    fn find(&mut self, needle: &str, message: String, hint: Option<String>) {
        self.findings.push(Finding { needle: needle.to_owned(), message, hint });
    }

    fn facts(&mut self, facts: &Reads, needs: &mut FactNeeds) {
        if self.index.is_empty() {
            let hint = Some("declare them there: [facts.<name>]".to_owned());
            return self.find("facts", "policy.toml declares no facts".into(), hint);
        }
        if facts.whole || facts.asked {
            let hint = Some(format!("read one of them: {}", list(self.index.names(), "context.facts.")));
            self.find("facts", "`context.facts` is not used as a whole".into(), hint);
        }
        for (name, reads) in &facts.members {
            if let Some(need) = self.fact(name, reads) {
                needs.0.insert(Arc::clone(&need.fact.name), need);
            }
        }
    }

    fn fact(&mut self, name: &str, reads: &Reads) -> Option<FactNeed> {
        let needle = format!("context.facts.{name}");
        let Some(fact) = self.index.get(name) else {
            let hint = did_you_mean(name, self.index.names()).or_else(|| Some(format!("declare it: [facts.{name}]")));
            self.find(&needle, format!("fact `{name}` is not declared in policy.toml"), hint);
            return None;
        };
        let fact = Arc::clone(fact);
        self.scope(&fact, &needle);
        if reads.asked {
            let hint = Some(format!("ask `context.facts.{name}.status == \"present\"`"));
            self.find("has", format!("fact `{name}` is always there, also when it is absent"), hint);
        }
        let known = [STATUS, VALUE].into_iter().chain(fact.counts.keys().map(String::as_str));
        if reads.whole {
            let hint = Some(format!("read one of its members: {}", list(known.clone(), "")));
            self.find(&needle, format!("fact `{name}` is not used as a whole"), hint);
        }
        let mut need = FactNeed {
            fact: Arc::clone(&fact),
            status: false,
            value: None,
            counts: BTreeSet::new(),
            minds_conflict: self.minds_conflict && reads.members.contains_key(STATUS),
        };
        for (member, reads) in &reads.members {
            match member.as_str() {
                VALUE => need.value = Some(reads.clone()),
                STATUS => need.status = true,
                count if fact.counts.contains_key(count) => drop(need.counts.insert(count.to_owned())),
                other => {
                    let known = known.clone();
                    let hint =
                        did_you_mean(other, known.clone()).or_else(|| Some(format!("known: {}", list(known, ""))));
                    self.find(&format!("{needle}.{other}"), format!("fact `{name}` has no `{other}`"), hint);
                    continue;
                }
            }
            if reads.asked && member != VALUE {
                let hint = Some(format!("ask `context.facts.{name}.status == \"present\"`"));
                self.find("has", format!("`{member}` of fact `{name}` is always there"), hint);
            }
        }
        Some(need)
    }

    /// A key must be made of what is known where the rule is asked.
    fn scope(&mut self, fact: &Fact, needle: &str) {
        let missing = fact.key.variables().find(|variable| {
            let known = variable.scope();
            (self.asked_in.statements && !known.statements) || (self.asked_in.decisions && !known.decisions)
        });
        if let Some(variable) = missing {
            let (here, there) =
                if self.asked_in.statements { ("statements", "decisions") } else { ("decisions", "statements") };
            let message = format!("fact `{}` cannot be read in rules about {here}", fact.name);
            let hint = format!("its key has {}, which only {there} have", variable.written());
            self.find(needle, message, Some(hint));
        }
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>, before: &str) -> String {
    names.map(|name| format!("{before}{name}")).collect::<Vec<_>>().join(", ")
}
