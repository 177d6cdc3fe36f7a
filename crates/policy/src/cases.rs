//! `tests.toml`: examples of what a policy should answer, run beside it.

use std::{collections::BTreeMap, fmt, net::IpAddr, path::Path, sync::Arc};

use serde::Deserialize;
use toml::Spanned;
use weir_model::{
    Action, AttributeValue, Attributes, ClientAddress, CredentialId, CredentialKind, Identity, ObjectName, Principal,
};

use crate::{
    compile::{Validity, compile},
    context::RequestContext,
    decision::Request,
    decision_cases::DecisionCase,
    diagnostic::{Diagnostic, Mistake, Place},
    directory,
    facts::ExampleFacts,
    manifest,
    policy::Policy,
    row_filter::{RowCommand, RowFilter},
    source::{Source, TESTS_TOML},
};

/// A Wednesday noon, for cases that name no time.
const NOON: &str = "2026-01-07T12:00:00Z";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Spanned<Case>>,
    #[serde(default)]
    decision: Vec<Spanned<DecisionCase>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny,
}

/// One example. Agents are those of `policy.toml`; `roles` and `attributes` are what the credential adds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    agent: Spanned<String>,
    action: Spanned<String>,
    table: Spanned<String>,
    expect: Expect,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Spanned<toml::Value>>,
    time: Option<Spanned<toml::value::Datetime>>,
    /// An IP address, or `local`.
    client: Option<Spanned<String>>,
    /// In place of the agent's own `purpose` attribute.
    purpose: Option<String>,
    statement: Option<String>,
    /// The facts there are, by key; all others are absent.
    #[serde(default)]
    facts: BTreeMap<Spanned<String>, toml::Value>,
    /// Keys whose values are in conflict.
    #[serde(default)]
    conflicted: Vec<Spanned<String>>,
    #[serde(default)]
    staleness_ms: u64,
    /// A rule that must be among those that decided.
    rule: Option<String>,
    /// Text that the row filter must contain; empty means that every row passes.
    filter_contains: Option<String>,
    /// Exactly the columns that leave masked.
    masked: Option<Vec<String>>,
}

/// The outcome of a directory's examples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub passed: usize,
    /// One for each example whose answer was another, at the example's place.
    pub failures: Vec<Diagnostic>,
}

impl Report {
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        write!(f, "{} passed, {} failed", self.passed, self.failures.len())
    }
}

/// Reads and compiles one org's directory and runs its examples. A directory without `tests.toml` has none.
///
/// # Errors
/// The mistakes in the policy or in the examples themselves.
pub fn test(directory: &Path) -> Result<Report, Vec<Diagnostic>> {
    run_cases(&directory::read(directory)?)
}

/// The same for a source in memory.
///
/// # Errors
/// The mistakes in the policy or in the examples themselves.
pub fn run_cases(source: &Source) -> Result<Report, Vec<Diagnostic>> {
    let path = source.path_of(TESTS_TOML);
    let body = compile(source, Validity { version: 1, issued_at: 0, not_after: i64::MAX })?;
    let policy = Policy::new(body).map_err(|error| {
        vec![Mistake::at(Place::START, error.to_string()).in_file(&source.path_of(crate::source::POLICY_TOML))]
    })?;
    let Some(text) = source.tests.as_deref() else { return Ok(Report::default()) };
    let file: File = manifest::parse_toml(text).map_err(|mistake| vec![mistake.in_file(&path)])?;
    let mut report = Report::default();
    let mut mistakes = Vec::new();
    let statements = file.case.iter().map(|case| {
        let runner = Runner { policy: &policy, text, case: case.get_ref() };
        (case.span().start, runner.run())
    });
    let decisions = file.decision.iter().map(|case| (case.span().start, case.get_ref().run(&policy, text)));
    for (start, outcome) in statements.chain(decisions) {
        match outcome {
            Ok(None) => report.passed += 1,
            Ok(Some(difference)) => {
                report.failures.push(Mistake::at(Place::of(text, start), difference).in_file(&path));
            }
            Err(mistake) => mistakes.push(mistake.in_file(&path)),
        }
    }
    if mistakes.is_empty() { Ok(report) } else { Err(mistakes) }
}

/// A case's time in Unix milliseconds; without one, [`NOON`].
pub(crate) fn time(text: &str, written: Option<&Spanned<toml::value::Datetime>>) -> Result<i64, Mistake> {
    let read = |time: &str| chrono::DateTime::parse_from_rfc3339(time).map(|time| time.timestamp_millis());
    match written {
        None => read(NOON).map_err(|error| Mistake::at(Place::START, error.to_string())),
        Some(time) => read(&time.get_ref().to_string()).map_err(|_| {
            let place = Place::of(text, time.span().start);
            Mistake::at(place, "a time has a date and a zone: 2026-01-07T12:00:00Z")
        }),
    }
}

struct Runner<'a> {
    policy: &'a Policy,
    text: &'a str,
    case: &'a Case,
}

impl Runner<'_> {
    fn mistake<T>(&self, at: &Spanned<T>, message: impl Into<String>) -> Mistake {
        Mistake::at(Place::of(self.text, at.span().start), message)
    }

    /// What differs from the example, if anything does.
    fn run(&self) -> Result<Option<String>, Mistake> {
        let principal = self.principal()?;
        let action = Action::parse(self.case.action.get_ref()).ok_or_else(|| {
            let known = Action::ALL.map(Action::as_str).join(", ");
            self.mistake(&self.case.action, format!("no such action: {known}"))
        })?;
        let object = ObjectName::try_from(self.case.table.get_ref().clone())
            .map_err(|invalid| self.mistake(&self.case.table, invalid.to_string()))?;
        let client = self.client()?;
        let facts = ExampleFacts::read(self.text, &self.case.facts, &self.case.conflicted, self.case.staleness_ms)?;
        let purpose = match (&self.case.purpose, principal.attributes.get("purpose")) {
            (Some(purpose), _) => Some(purpose.clone()),
            (None, Some(AttributeValue::Text(purpose))) => Some(purpose.clone()),
            _ => None,
        };
        let context = RequestContext {
            now_unix_ms: time(self.text, self.case.time.as_ref())?,
            client: &client,
            purpose: purpose.as_deref(),
            statement_kind: self.case.statement.as_deref().unwrap_or(action.as_str()),
            facts: Some(&facts),
        };
        let decision = self.policy.decide(&principal, &Request { action, object: &object, context: &context });
        if decision.allowed != matches!(self.case.expect, Expect::Allow) {
            return Ok(Some(format!("expected {:?}, but {}", self.case.expect, decision.reason)));
        }
        if let Some(rule) = &self.case.rule
            && !decision.rules.iter().any(|decided| *decided.id == **rule)
        {
            return Ok(Some(format!("rule `{rule}` did not decide: {}", decision.reason)));
        }
        Ok(self.filter_difference(&principal, &object, action).or_else(|| self.mask_difference(&principal, &object)))
    }

    fn principal(&self) -> Result<Principal, Mistake> {
        let mut attributes = Attributes::new();
        for (name, value) in &self.case.attributes {
            let read = manifest::attribute(value.get_ref()).ok_or_else(|| {
                self.mistake(value, "an attribute is a string, an integer, a boolean, or a list of strings")
            })?;
            attributes.insert(name.clone(), read);
        }
        let identity = Identity {
            org: self.policy.org().clone(),
            agent: Arc::from(self.case.agent.get_ref().as_str()),
            credential: CredentialId("policy-test".into()),
            kind: CredentialKind::Test,
            attributes,
            roles: self.case.roles.clone(),
            expires_at: None,
        };
        self.policy.principal(&identity).map_err(|refusal| self.mistake(&self.case.agent, refusal.message()))
    }

    fn client(&self) -> Result<ClientAddress, Mistake> {
        match &self.case.client {
            None => Ok(ClientAddress::Local),
            Some(client) if client.get_ref() == "local" => Ok(ClientAddress::Local),
            Some(client) => client
                .get_ref()
                .parse::<IpAddr>()
                .map(ClientAddress::Ip)
                .map_err(|_| self.mistake(client, "a client is an IP address or `local`")),
        }
    }

    fn filter_difference(&self, principal: &Principal, object: &ObjectName, action: Action) -> Option<String> {
        let expected = self.case.filter_contains.as_ref()?;
        let command = match action {
            Action::Select => RowCommand::Select,
            Action::Insert => RowCommand::Insert,
            Action::Update => RowCommand::Update,
            Action::Delete => RowCommand::Delete,
            Action::Truncate | Action::Create | Action::Drop => return Some(format!("{action} has no row filter")),
        };
        let shown = match self.policy.row_filter(principal, object, command) {
            Ok(RowFilter::Unrestricted) => String::new(),
            Ok(RowFilter::Nothing) => "false".to_owned(),
            Ok(RowFilter::Filtered(filtered)) => {
                let texts: Vec<String> =
                    filtered.using.iter().chain(&filtered.check).map(ToString::to_string).collect();
                texts.join(" with check ")
            }
            Err(refusal) => return Some(format!("the row filter is refused: {}", refusal.message())),
        };
        let fits = if expected.is_empty() { shown.is_empty() } else { shown.contains(expected) };
        (!fits).then(|| format!("the row filter is `{shown}`, which does not contain `{expected}`"))
    }

    fn mask_difference(&self, principal: &Principal, object: &ObjectName) -> Option<String> {
        let mut expected = self.case.masked.clone()?;
        expected.sort();
        let masked: Vec<String> = self.policy.masks(principal, object).iter().map(|mask| mask.column.clone()).collect();
        (masked != expected).then(|| format!("masked are {masked:?}, expected {expected:?}"))
    }
}
