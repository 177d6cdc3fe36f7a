#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]
//! What a policy directory means, from its text to the answers.

mod decisions;
mod demo;
mod diagnostics;
mod evaluations;
mod facts;
mod index_equals_cedar;
mod rows;
mod signing;
mod world;

use std::sync::Arc;

use weir_model::{Attributes, ClientAddress, CredentialId, CredentialKind, Identity, ObjectName, OrgName, Principal};
use weir_policy::{BundleBody, Diagnostic, Policy, RequestContext, Source, Validity, compile};

const VALIDITY: Validity = Validity { version: 7, issued_at: 1_000, not_after: 2_000 };
/// 2026-01-07, a Wednesday, 12:00 UTC.
const WEDNESDAY_NOON_MS: i64 = 1_767_787_200_000;

fn try_compile(policy: &str, access: &str, row_filters: &str) -> Result<BundleBody, Vec<Diagnostic>> {
    compile(&Source::from_text("acme", policy, access, row_filters), VALIDITY)
}

fn policy(policy: &str, access: &str, row_filters: &str) -> Policy {
    match try_compile(policy, access, row_filters) {
        Ok(body) => Policy::new(body).unwrap(),
        Err(diagnostics) => panic!("{}", diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn identity(agent: &str, roles: &[&str], attributes: Attributes) -> Identity {
    Identity {
        org: OrgName::new("acme").unwrap(),
        agent: Arc::from(agent),
        credential: CredentialId("k1".into()),
        kind: CredentialKind::Test,
        attributes,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        expires_at: None,
    }
}

fn principal(policy: &Policy, agent: &str) -> Principal {
    policy.principal(&identity(agent, &[], Attributes::new())).unwrap()
}

fn object(name: &str) -> ObjectName {
    ObjectName::try_from(name.to_owned()).unwrap()
}

fn noon() -> RequestContext<'static> {
    RequestContext {
        now_unix_ms: WEDNESDAY_NOON_MS,
        client: &ClientAddress::Local,
        purpose: None,
        statement_kind: "select",
        facts: None,
    }
}
