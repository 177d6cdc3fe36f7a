//! The key of a fact, with places for what a decision is about: `approvals.${principal}.${resource.name}`.
//!
//! INVARIANT: what is put in stays in its part of the key. It is one or more of the characters that a key's part has,
//! never a dot or `*`; parts hold one variable at most, so that two different fillings never make one key.

use std::borrow::Cow;

use crate::diagnostic::did_you_mean;

/// As keys of facts are: longest key, and the characters of a part.
const KEY_BYTES_MAX: usize = 512;
const SIGNS: &str = "_-=/:@+";
const RESERVED: &str = "_internal";

/// What a decision can put into a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    Principal,
    PrincipalAttribute(String),
    Action,
    Resource,
    ResourceMember(String),
    RequestMember(String),
}

/// Where a key can be made: in rules about statements, in those that applications ask for, or in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    pub statements: bool,
    pub decisions: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyTemplate {
    parts: Vec<Part>,
    /// Whether it stands for all keys below.
    many: bool,
}

/// A mistake in a template, with a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateMistake(pub String, pub Option<String>);

impl KeyTemplate {
    pub fn parse(text: &str) -> Result<KeyTemplate, TemplateMistake> {
        let (stem, many) = text.strip_suffix(".*").map_or((text, false), |stem| (stem, true));
        let mut parts = read_parts(stem)?;
        if many {
            match parts.last_mut() {
                Some(Part::Text(text)) => text.push_str(".*"),
                _ => parts.push(Part::Text(".*".into())),
            }
        }
        let template = KeyTemplate { parts, many };
        template.check_namespace(stem)?;
        Ok(template)
    }

    pub fn is_many(&self) -> bool {
        self.many
    }

    fn check_namespace(&self, stem: &str) -> Result<(), TemplateMistake> {
        let first = match self.parts.first() {
            Some(Part::Text(text)) => text.as_str(),
            _ => "",
        };
        let Some((namespace, _)) = first.split_once('.') else {
            let message = format!("`{stem}` has no namespace: a key begins with plain text and a dot");
            return Err(TemplateMistake(message, Some("such as `approvals.${principal}`".into())));
        };
        if namespace == RESERVED {
            return Err(TemplateMistake(format!("keys that begin with `{RESERVED}` are Weir's own"), None));
        }
        Ok(())
    }

    pub fn scope(&self) -> Scope {
        self.variables().map(Variable::scope).fold(Scope { statements: true, decisions: true }, |all, one| Scope {
            statements: all.statements && one.statements,
            decisions: all.decisions && one.decisions,
        })
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// The key, or the pattern, for one decision; an error says which variable has no value that fits.
    pub fn resolve<'a>(&self, value: impl Fn(&Variable) -> Result<Cow<'a, str>, String>) -> Result<String, String> {
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Variable(variable) => {
                    let value = value(variable)?;
                    if value.is_empty() || !value.chars().all(is_plain) {
                        let shown: String = value.chars().take(40).collect();
                        let name = variable.written();
                        return Err(format!(
                            "`{name}` is {shown:?}, which cannot stand in a key: letters, digits and {SIGNS} can"
                        ));
                    }
                    key.push_str(&value);
                }
            }
            if key.len() > KEY_BYTES_MAX {
                return Err(format!("the key would be longer than {KEY_BYTES_MAX} bytes"));
            }
        }
        Ok(key)
    }
}

impl Variable {
    pub fn scope(&self) -> Scope {
        let (statements, decisions) = match self {
            Variable::Principal | Variable::Action => (true, true),
            Variable::PrincipalAttribute(_) => (true, false),
            Variable::ResourceMember(name) => (name == "schema" || name == "name", true),
            Variable::Resource | Variable::RequestMember(_) => (false, true),
        };
        Scope { statements, decisions }
    }

    /// As a template has it.
    pub fn written(&self) -> String {
        match self {
            Variable::Principal => "${principal}".into(),
            Variable::PrincipalAttribute(name) => format!("${{principal.{name}}}"),
            Variable::Action => "${action}".into(),
            Variable::Resource => "${resource}".into(),
            Variable::ResourceMember(name) => format!("${{resource.{name}}}"),
            Variable::RequestMember(name) => format!("${{request.{name}}}"),
        }
    }

    fn parse(text: &str) -> Result<Variable, TemplateMistake> {
        let (subject, member) = text.split_once('.').map_or((text, None), |(subject, member)| (subject, Some(member)));
        let plain = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        match (subject, member) {
            ("principal", None) => return Ok(Variable::Principal),
            ("action", None) => return Ok(Variable::Action),
            ("resource", None) => return Ok(Variable::Resource),
            ("principal", Some(name)) if plain(name) => return Ok(Variable::PrincipalAttribute(name.into())),
            ("resource", Some(name)) if plain(name) => return Ok(Variable::ResourceMember(name.into())),
            ("request", Some(name)) if plain(name) => return Ok(Variable::RequestMember(name.into())),
            _ => {}
        }
        let subjects = ["principal", "action", "resource", "request"];
        let hint = did_you_mean(subject, subjects).filter(|_| !subjects.contains(&subject));
        let known = "known: ${principal}, ${principal.<attribute>}, ${action}, ${resource}, ${resource.<member>}, \
                     ${request.<member>}";
        Err(TemplateMistake(format!("there is no `${{{text}}}`"), hint.or_else(|| Some(known.into()))))
    }
}

/// Texts and variables as they follow each other; no two texts do.
fn read_parts(stem: &str) -> Result<Vec<Part>, TemplateMistake> {
    let mut parts = Vec::new();
    let (mut text, mut rest) = (String::new(), stem);
    // Of the token that is read: whether something is in it, and a variable.
    let (mut filled, mut variable) = (false, false);
    while let Some(character) = rest.chars().next() {
        if let Some(opened) = rest.strip_prefix("${") {
            let (name, after) =
                opened.split_once('}').ok_or_else(|| TemplateMistake("`${` without `}`".into(), None))?;
            if variable {
                let message = "two variables in one part of a key: different values could make the same key".into();
                return Err(TemplateMistake(message, Some("put a dot between them".into())));
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Variable(Variable::parse(name)?));
            (filled, variable, rest) = (true, true, after);
            continue;
        }
        match character {
            '.' if filled => (filled, variable) = (false, false),
            '.' => return Err(empty_token()),
            _ if is_plain(character) => filled = true,
            _ => return Err(wrong_character(character)),
        }
        text.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    if !filled {
        return Err(empty_token());
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn empty_token() -> TemplateMistake {
    TemplateMistake("a key has no empty part: not at its ends, not between its dots".into(), None)
}

fn wrong_character(character: char) -> TemplateMistake {
    let message = format!("a key has letters, digits and {SIGNS} between its dots; this has {character:?}");
    let hint = match character {
        '*' => Some("`keys = \"approvals.${principal}.*\"` has it once, at the end, after a dot".to_owned()),
        '$' | '{' | '}' => Some("a variable is written `${principal}`".to_owned()),
        _ => None,
    };
    TemplateMistake(message, hint)
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || SIGNS.contains(character)
}

/// Whether a text is parts of a key joined by dots.
pub(crate) fn check_tokens(text: &str) -> bool {
    text.len() <= KEY_BYTES_MAX && text.split('.').all(|token| !token.is_empty() && token.chars().all(is_plain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mistake(text: &str) -> String {
        KeyTemplate::parse(text).map(|template| format!("{template:?}")).unwrap_err().0
    }

    #[test]
    fn templates_that_make_no_key_are_mistakes() {
        let check = |text: &str, expected: &str| {
            let found = mistake(text);
            assert!(found.starts_with(expected), "{text}: {found}");
        };
        check("", "a key has no empty part");
        check("approvals", "`approvals` has no namespace");
        check("approvals.", "a key has no empty part");
        check(".x", "a key has no empty part");
        check("a..b", "a key has no empty part");
        check("${principal}.x", "`${principal}.x` has no namespace");
        check("a${principal}.x", "`a${principal}.x` has no namespace");
        check("_internal.x", "keys that begin with `_internal`");
        check("a.*.b", "a key has letters, digits and _-=/:@+ between its dots; this has '*'");
        check("a.b*", "a key has letters, digits");
        check("a.$principal", "a key has letters, digits and _-=/:@+ between its dots; this has '$'");
        check("a.{principal}", "a key has letters, digits");
        check("a.${principal", "`${` without `}`");
        check("a.${}", "there is no `${}`");
        check("a.${principle}", "there is no `${principle}`");
        check("a.${request}", "there is no `${request}`");
        check("a.${request.a.b}", "there is no `${request.a.b}`");
        check("a.${request.}", "there is no `${request.}`");
        check("a.${principal}${action}", "two variables in one part");
        check("a.${principal}-${action}", "two variables in one part");
        check("a.b c", "a key has letters, digits");
        check("a.é", "a key has letters, digits");
    }

    #[test]
    fn a_key_is_made_where_all_its_variables_are_known() {
        let check = |text: &str, statements: bool, decisions: bool| {
            assert_eq!(KeyTemplate::parse(text).unwrap().scope(), Scope { statements, decisions }, "{text}");
        };
        check("a.b", true, true);
        check("a.${principal}.${action}", true, true);
        check("a.${resource.schema}.${resource.name}", true, true);
        check("a.${principal.team}", true, false);
        check("a.${resource}", false, true);
        check("a.${resource.owner}", false, true);
        check("a.user-${request.user_id}.*", false, true);
        check("a.${principal.team}.${request.id}", false, false);
    }

    #[test]
    fn only_a_part_of_a_key_can_be_put_in() {
        let template = KeyTemplate::parse("a.x-${request.id}-y.*").unwrap();
        let check = |value: &str, expected: Option<&str>| {
            let made = template.resolve(|_| Ok(value.to_owned().into()));
            assert_eq!(made.as_deref().ok(), expected, "{value:?}: {made:?}");
        };
        check("b", Some("a.x-b-y.*"));
        check("A_-=/:@+9", Some("a.x-A_-=/:@+9-y.*"));
        for value in
            ["", ".", "b.c", "*", "b*", " ", "b c", "é", "${principal}", "b\n", "b\0", "\u{202e}b", "..", "%2e"]
        {
            check(value, None);
        }
        check(&"x".repeat(600), None);
        let error = template.resolve(|_| Ok("b.c".into())).unwrap_err();
        assert!(error.starts_with("`${request.id}` is \"b.c\", which cannot stand in a key"), "{error}");
        let missing: Result<String, String> = template.resolve(|_| Err("gone".into()));
        assert_eq!(missing, Err("gone".into()));
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[a-z0-9_=/:@+-]{1,8}", "[a-z.*${}-]{0,8}"]
    }

    proptest! {
        /// Whatever is put in, the key has the parts of its template, with the template's text where it was.
        #[test]
        fn no_value_leaves_its_part(first in text(), second in text()) {
            let template = KeyTemplate::parse("space.a-${principal}.mid.${request.id}-z").unwrap();
            let values = |variable: &Variable| match variable {
                Variable::Principal => Ok(Cow::Borrowed(first.as_str())),
                _ => Ok(Cow::Borrowed(second.as_str())),
            };
            let Ok(key) = template.resolve(values) else { return Ok(()) };
            prop_assert!(check_tokens(&key));
            let parts: Vec<&str> = key.split('.').collect();
            let expected = ["space".to_owned(), format!("a-{first}"), "mid".to_owned(), format!("{second}-z")];
            prop_assert_eq!(parts, expected);
        }

        /// Two fillings make one key only when they are the same.
        #[test]
        fn different_values_make_different_keys(a in ("[a-c-]{1,4}", "[a-c-]{1,4}"), b in ("[a-c-]{1,4}", "[a-c-]{1,4}")) {
            let template = KeyTemplate::parse("n.-${principal}.${action}-").unwrap();
            let key = |values: &(String, String)| {
                template.resolve(|variable| match variable {
                    Variable::Principal => Ok(values.0.clone().into()),
                    _ => Ok(values.1.clone().into()),
                })
            };
            prop_assert_eq!(key(&a).unwrap() == key(&b).unwrap(), a == b);
        }

        #[test]
        fn any_text_is_a_template_or_a_mistake(text in text()) {
            if let Ok(template) = KeyTemplate::parse(&text) {
                let key = template.resolve(|_| Ok("v".into())).unwrap();
                prop_assert!(check_tokens(key.strip_suffix(".*").unwrap_or(&key)));
            }
        }
    }
}
