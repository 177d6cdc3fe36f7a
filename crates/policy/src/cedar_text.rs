//! Files of Cedar rules: split, parsed one by one, and read for what of the context they use.

use std::collections::BTreeSet;

use cedar_policy::ffi::DetailedError;

use crate::{
    bundle::{AccessRule, Origin},
    context::{ContextNeeds, nearest},
    diagnostic::{Mistake, Place},
    facts::{FactIndex, FactNeeds, Finding, Scope, fact_needs},
    reads::{Reads, RuleReads},
};

/// A mistake at a byte offset of a rule's text.
#[derive(Debug)]
pub(crate) struct RuleMistake {
    pub offset: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Splits a file into rules and checks each with `compile`, which gets the rule and its number.
pub(crate) fn read(
    text: &str,
    file: &str,
    compile: impl Fn(&AccessRule, usize) -> Result<cedar_policy::Policy, Vec<RuleMistake>>,
) -> Result<Vec<AccessRule>, Vec<Mistake>> {
    let mut rules = Vec::new();
    let mut mistakes = Vec::new();
    let mut ids = BTreeSet::new();
    for (start, rule_text) in split(text) {
        let line = Place::of(text, start).line;
        let origin = Origin { file: file.into(), line };
        let mut rule = AccessRule { id: format!("rule-{line}").into(), origin, text: rule_text.to_owned() };
        match compile(&rule, rules.len()) {
            Ok(policy) => {
                if let Some(id) = policy.annotation("id").filter(|id| !id.is_empty()) {
                    rule.id = id.into();
                }
                if !ids.insert(rule.id.clone()) {
                    let message = format!("two rules have the id `{}`", rule.id);
                    mistakes.push(Mistake::at(Place::of(text, start), message));
                }
                rules.push(rule);
            }
            Err(found) => mistakes.extend(found.into_iter().map(|mistake| {
                let place = Place::of(text, start.saturating_add(mistake.offset));
                Mistake::at(place, mistake.message).hint_opt(mistake.hint)
            })),
        }
    }
    if mistakes.is_empty() { Ok(rules) } else { Err(mistakes) }
}

/// Each rule's byte offset and text, up to and with its `;`. Comments and strings are seen as Cedar sees them; what
/// follows the last `;` is a rule too if it is not blank, and Cedar then says what is wrong with it.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut rules = Vec::new();
    let mut start = None;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '/' if matches!(characters.peek(), Some((_, '/'))) => {
                while characters.next_if(|(_, character)| *character != '\n').is_some() {}
            }
            '"' => {
                start.get_or_insert(at);
                while let Some((_, character)) = characters.next() {
                    match character {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ';' => {
                let from = start.take().unwrap_or(at);
                rules.extend(text.get(from..=at).map(|rule| (from, rule)));
            }
            _ if character.is_whitespace() => {}
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    rules.extend(start.and_then(|from| text.get(from..).map(|rule| (from, rule))));
    rules
}

/// A rule whose id in Cedar is its number.
pub(crate) fn parse(text: &str, number: usize) -> Result<cedar_policy::Policy, Vec<RuleMistake>> {
    let id = cedar_policy::PolicyId::new(number.to_string());
    cedar_policy::Policy::parse(Some(id), text).map_err(|errors| from_cedar(DetailedError::from(&errors)))
}

fn from_cedar(error: DetailedError) -> Vec<RuleMistake> {
    let offset = error.source_locations.first().map_or(0, |label| label.loc.start);
    let label = error.source_locations.first().and_then(|label| label.label.clone());
    let mut mistakes = vec![RuleMistake { offset, message: error.message, hint: error.help.or(label) }];
    mistakes.extend(error.related.into_iter().flat_map(from_cedar));
    mistakes
}

/// What a rule reads besides the entities it is about.
#[derive(Debug, Default)]
pub(crate) struct ContextReads {
    pub needs: ContextNeeds,
    pub facts: FactNeeds,
    pub request: Reads,
    pub resource: Reads,
    /// Whether it may ask what is in the context without failing where nothing is.
    pub guarded: bool,
    /// Whether it uses the context other than by its members.
    pub whole: bool,
}

impl ContextReads {
    /// What the rule reads, when all of it exists where the rule is asked.
    pub fn of(
        policy: &cedar_policy::Policy,
        text: &str,
        known: &[&str],
        index: &FactIndex,
        asked_in: Scope,
    ) -> Result<ContextReads, Vec<RuleMistake>> {
        if !policy.has_non_scope_constraint() {
            return Ok(ContextReads::default());
        }
        // A member that is not written with dots before it is looked for by its name.
        let offset = |needle: &str| text.find(needle).or_else(|| text.find(needle.rsplit('.').next()?)).unwrap_or(0);
        let mistake =
            |needle: &str, message: String, hint: Option<String>| RuleMistake { offset: offset(needle), message, hint };
        let reads = RuleReads::of(policy)
            .map_err(|error| vec![mistake("", format!("the rule cannot be read back: {error}"), None)])?;
        let context = &reads.context;
        let mut mistakes: Vec<RuleMistake> = context
            .members
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let read = format!("context.{name}");
                let needle = if text.contains(&read) { read } else { format!("has {name}") };
                mistake(&needle, format!("the context has no `{name}`"), nearest(name, known))
            })
            .collect();
        let facts = fact_needs(&reads, index, asked_in).unwrap_or_else(|findings| {
            mistakes
                .extend(findings.into_iter().map(|Finding { needle, message, hint }| mistake(&needle, message, hint)));
            FactNeeds::default()
        });
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(ContextReads {
            needs: ContextNeeds::of(context),
            facts,
            guarded: context.whole || context.members.values().any(|member| member.asked),
            whole: context.whole,
            request: context.members.get("request").cloned().unwrap_or_default(),
            resource: reads.resource,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_split_as_cedar_reads_them() {
        let text = "// a; comment\npermit(principal, action, resource);\n@id(\"a;\\\"b\") // x\nforbid(\nprincipal,action,resource);  oops";
        let rules = split(text);
        let starts: Vec<u32> = rules.iter().map(|(start, _)| Place::of(text, *start).line).collect();
        assert_eq!(starts, [2, 3, 5]);
        assert_eq!(rules.last().map(|(_, rule)| *rule), Some("oops"));
        assert!(split("  // nothing\n").is_empty());
    }
}
