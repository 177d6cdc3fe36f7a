//! What a rule reads of the records it is given, found in the rule itself.

use std::collections::BTreeMap;

use serde_json::Value;

/// Some members of a record, or all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reads {
    /// Its value is used as it is, whatever it is.
    pub whole: bool,
    /// `has` asks whether it is there.
    pub asked: bool,
    pub members: BTreeMap<String, Reads>,
}

/// What a rule's conditions read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RuleReads {
    pub context: Reads,
    pub resource: Reads,
    /// Texts that it spells out.
    texts: Vec<String>,
}

impl RuleReads {
    /// # Errors
    /// When Cedar cannot show the rule in its JSON form.
    pub fn of(policy: &cedar_policy::Policy) -> Result<RuleReads, String> {
        let json = policy.to_json().map_err(|error| error.to_string())?;
        let mut reads = RuleReads::default();
        // Scopes read no members.
        for condition in json.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            reads.collect(condition.get("body").unwrap_or(&Value::Null));
        }
        Ok(reads)
    }

    pub fn spells(&self, text: &str) -> bool {
        self.texts.iter().any(|spelt| spelt == text)
    }

    /// Walks an expression in Cedar's JSON form, where an object's one field is the operator.
    fn collect(&mut self, json: &Value) {
        match json {
            Value::Object(fields) => fields.iter().for_each(|(operator, operand)| self.operator(operator, operand)),
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            _ => {}
        }
    }

    fn operator(&mut self, operator: &str, operand: &Value) {
        match operator {
            "Value" => self.literal(operand),
            // Its fields are names, not operators.
            "Record" => operand.as_object().into_iter().flatten().for_each(|(_, member)| self.collect(member)),
            "Var" => {
                if let Some(root) = operand.as_str().and_then(|variable| self.variable(variable)) {
                    root.whole = true;
                }
            }
            "." => match path(operand) {
                Some((variable, names)) => self.read(variable, &names),
                None => self.collect(operand),
            },
            "has" => match path_below(operand) {
                Some((variable, names)) => {
                    let asked = attributes(operand);
                    for more in 1..=asked.len() {
                        let all: Vec<&str> = names.iter().chain(asked.iter().take(more)).copied().collect();
                        if let Some(node) = self.node(variable, &all) {
                            node.asked = true;
                        }
                    }
                }
                None => self.collect(operand),
            },
            _ => self.collect(operand),
        }
    }

    fn literal(&mut self, json: &Value) {
        match json {
            Value::String(text) => self.texts.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| self.literal(item)),
            Value::Object(fields) => fields.iter().for_each(|(_, member)| self.literal(member)),
            _ => {}
        }
    }

    fn read(&mut self, variable: &str, names: &[&str]) {
        if let Some(node) = self.node(variable, names) {
            node.whole = true;
        }
    }

    fn node(&mut self, variable: &str, names: &[&str]) -> Option<&mut Reads> {
        let root = self.variable(variable)?;
        Some(names.iter().fold(root, |node, name| node.members.entry((*name).to_owned()).or_default()))
    }

    fn variable(&mut self, variable: &str) -> Option<&mut Reads> {
        match variable {
            "context" => Some(&mut self.context),
            "resource" => Some(&mut self.resource),
            _ => None,
        }
    }
}

/// `context.a.b` as the variable and the names, when the expression is nothing else.
fn path(access: &Value) -> Option<(&str, Vec<&str>)> {
    let (variable, mut names) = path_below(access)?;
    names.push(access.get("attr")?.as_str()?);
    Some((variable, names))
}

/// The same for what stands left of an access's last name.
fn path_below(access: &Value) -> Option<(&str, Vec<&str>)> {
    let left = access.get("left")?;
    if let Some(variable) = left.get("Var") {
        return Some((variable.as_str()?, Vec::new()));
    }
    path(left.get(".")?)
}

/// The name, or names, that `has` asks for.
fn attributes(has: &Value) -> Vec<&str> {
    match has.get("attr") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Reads {
    pub fn is_empty(&self) -> bool {
        *self == Reads::default()
    }

    pub fn union(&mut self, other: &Reads) {
        self.whole |= other.whole;
        self.asked |= other.asked;
        for (name, reads) in &other.members {
            self.members.entry(name.clone()).or_default().union(reads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `path` for a value that is used, `path?` for one that is asked for.
    fn show(reads: &Reads, name: &str, lines: &mut Vec<String>) {
        if reads.whole {
            lines.push(name.to_owned());
        }
        if reads.asked {
            lines.push(format!("{name}?"));
        }
        for (member, reads) in &reads.members {
            show(reads, &format!("{name}.{member}"), lines);
        }
    }

    #[test]
    fn members_that_a_rule_reads_are_found() {
        let check = |condition: &str, expected: &str| {
            let text = format!("permit (principal, action, resource) {condition};");
            let reads = RuleReads::of(&cedar_policy::Policy::parse(None, text).unwrap()).unwrap();
            let mut lines = Vec::new();
            show(&reads.context, "context", &mut lines);
            show(&reads.resource, "resource", &mut lines);
            assert_eq!(lines.join(" "), expected, "{condition}");
        };
        check("", "");
        check("when { principal has a && principal.a.b == 1 }", "");
        check("when { context.a.b == 1 || context.a.c }", "context.a.b context.a.c");
        check("when { context[\"a\"][\"b c\"] }", "context.a.b c");
        check("when { context has a && context.a has b }", "context.a? context.a.b?");
        check("when { context has a.b.c }", "context.a? context.a.b? context.a.b.c?");
        check("unless { context.a.contains(resource.b) }", "context.a resource.b");
        check("when { resource in principal.team }", "resource");
        check("when { context == {a: 1} }", "context");
        check("when { {a: context.x}.a.b == 1 }", "context.x");
        check("when { (if true then context else context).a }", "context");
        check("when { (if true then context else context) has a }", "context");
        check("when { {\"Var\": \"context\", \".\": 1, \"has\": context.a} has x }", "context.a");
        check("when { decimal(context.a).lessThan(context.b) }", "context.a context.b");
        check("when { [context.a, context.b.c].containsAny([1]) }", "context.a context.b.c");
        check("when { context.a like \"x*\" && context.b is Table }", "context.a context.b");
        check("when { \"context.a\" == \"Var\" }", "");
    }
}
