#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::collections::BTreeSet;

use super::*;
use crate::{
    key::{FactKey, Pattern},
    protocol::{Method, Plane, ProtocolError, Refusal},
};

const NOW: Millis = Millis(1_800_000_000_000);
const SERVICE: &str = "ipe_service_deployment-service_9f3c1b2a7d5e4f60";

fn service(name: &str) -> Holder {
    Holder::service(name).unwrap()
}

#[test]
fn a_token_says_whose_it_is() {
    let check = |token: &str, expected: Option<Holder>| assert_eq!(Holder::of_token(token), expected, "{token}");
    check(SERVICE, Some(service("deployment-service")));
    check("ipe_admin_abc", Some(Holder::Admin));
    check("ipe_app_web_x1", Some(Holder::app("web").unwrap()));
    check("ipe_service__abc", None);
    check("ipe_service_abc", None);
    check("ipe_service_a_b_c", None);
    check("ipe_admin_", None);
    check("ipe_admin_a_b", None);
    check("ipe_root_abc", None);
    check("IPE_admin_abc", None);
    check("weir_admin_abc", None);
    check("ipe_admin_a b", None);
    check("", None);
    check(&format!("ipe_admin_{}", "a".repeat(300)), None);
}

#[test]
fn tokens_are_good_while_their_file_has_them() {
    let old = service("deployment-service").issue(&[1; 16]);
    let new = service("deployment-service").issue(&[2; 16]);
    let mut tokens = Tokens::default();
    let file = format!("# rotated in May\n{}\n\n {}  \n", hashed_line(&old), new.expose());
    tokens.set(service("deployment-service"), &file).unwrap();
    for token in [&old, &new] {
        assert_eq!(tokens.verify(token, NOW), Some(service("deployment-service")));
    }
    let check_none = |token: &str| assert_eq!(tokens.verify(&Bearer::new(token), NOW), None, "{token}");
    check_none(SERVICE);
    check_none("ipe_service_identity-service_01010101010101010101010101010101");
    check_none("ipe_admin_01010101010101010101010101010101");
    check_none(&format!("{}0", old.expose()));
    check_none(&hashed_line(&old));
    check_none("");

    tokens.set(service("deployment-service"), new.expose()).unwrap();
    assert_eq!(tokens.verify(&old, NOW), None);
    assert!(tokens.verify(&new, NOW).is_some());
}

#[test]
fn tokens_end() {
    let token = Holder::Admin.issue(&[7; 16]);
    let mut tokens = Tokens::default();
    tokens.set(Holder::Admin, &format!("{} expires=1800000000", hashed_line(&token))).unwrap();
    assert_eq!(tokens.verify(&token, Millis(NOW.0 - 1)), Some(Holder::Admin));
    assert_eq!(tokens.verify(&token, NOW), None);
}

#[test]
fn a_file_is_right_or_refused() {
    let check = |file: &str, expected: InvalidTokenFile| {
        let mut tokens = Tokens::default();
        tokens.set(service("deployment-service"), SERVICE).unwrap();
        assert_eq!(tokens.set(service("deployment-service"), file), Err(expected), "{file}");
        assert!(tokens.verify(&Bearer::new(SERVICE), NOW).is_some(), "what was there stays");
    };
    check("", InvalidTokenFile::Empty);
    check("# nothing\n", InvalidTokenFile::Empty);
    check("secret", InvalidTokenFile::NoToken { line: 1 });
    check("\nsha256:abcd", InvalidTokenFile::NoToken { line: 2 });
    check("ipe_service_deployment-service_short", InvalidTokenFile::TooShort { line: 1 });
    let other = InvalidTokenFile::OtherHolder { line: 1, holder: service("deployment-service") };
    check("ipe_service_identity-service_9f3c1b2a7d5e4f60", other.clone());
    check("ipe_admin_9f3c1b2a7d5e4f60", other);
    check(&format!("{SERVICE} expires=tomorrow"), InvalidTokenFile::Expiry { line: 1 });
    check(&format!("{SERVICE} expires=1 expires=2"), InvalidTokenFile::Expiry { line: 1 });
    check(&format!("{SERVICE} 1800000000"), InvalidTokenFile::Expiry { line: 1 });
}

#[test]
fn secrets_are_not_shown() {
    let mut tokens = Tokens::default();
    tokens.set(service("deployment-service"), SERVICE).unwrap();
    let hash = hashed_line(&Bearer::new(SERVICE));
    let shown = format!("{tokens:?} {:?}", Bearer::new(SERVICE));
    assert!(!shown.contains("9f3c1b2a7d5e4f60") && !shown.contains(hash.trim_start_matches("sha256:")), "{shown}");
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn rule(pattern: &str, writers: &[&str], readers: &[&str]) -> NamespaceRule {
    NamespaceRule { pattern: Pattern::new(pattern).unwrap(), writers: names(writers), readers: names(readers) }
}

/// `deploy` writes approvals, `reader` reads them, `predicate` reads all.
fn grants() -> Grants {
    Grants {
        allowed_writers: Some(names(&["deploy", "identity"])),
        enforce_namespaces: true,
        rules: vec![
            rule("approvals.*", &["deploy", "unlisted"], &["reader"]),
            rule("relationships.*", &["identity"], &[]),
            rule("*", &[], &["predicate"]),
        ],
    }
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Cell {
    Yes,
    /// -32003, for the reason.
    No(Refusal),
    /// -32601.
    NoMethod,
}

fn cell(caller: &Caller, plane: Plane, method: Method, scope: Scope<'_>) -> Cell {
    match grants().may(caller, plane, method, scope) {
        Ok(()) => Cell::Yes,
        Err(ProtocolError::Unauthorized { reason, .. }) => Cell::No(reason),
        Err(ProtocolError::MethodNotFound { .. }) => Cell::NoMethod,
        Err(other) => panic!("{other}"),
    }
}

const WRITES: [Method; 6] =
    [Method::Put, Method::UpdateData, Method::Delete, Method::BatchPut, Method::Transaction, Method::Incr];
const READS: [Method; 3] = [Method::Get, Method::BatchGet, Method::Query];
const ASKS: [Method; 3] = [Method::Evaluate, Method::EvaluateBatch, Method::GetFeatureFlags];
const TREES: [Method; 2] = [Method::ListPolicies, Method::GetSubtree];
const GOVERNS: [Method; 10] = [
    Method::Sync,
    Method::List,
    Method::Stats,
    Method::Metadata,
    Method::Policies,
    Method::UpdatePolicy,
    Method::Peers,
    Method::Repair,
    Method::RemovePeer,
    Method::RotateKey,
];

/// Who is who: service with its own namespace, service that reads, admin, app.
fn callers() -> [Caller; 4] {
    let holders = [service("deploy"), service("predicate"), Holder::Admin, Holder::app("web").unwrap()];
    holders.map(Caller::Holder)
}

#[test]
fn every_method_on_every_plane_by_every_token() {
    use Cell::{No, NoMethod, Yes};
    let key = FactKey::new("approvals.deploy-123").unwrap();
    let kind = No(Refusal::TokenKind);
    let namespace = No(Refusal::Namespace);
    let mut seen = 0;
    let mut check = |methods: &[Method], plane: Plane, expected: [Cell; 4]| {
        for method in methods {
            seen += 1;
            let cells = callers().map(|caller| cell(&caller, plane, *method, Scope::Key(&key)));
            assert_eq!(cells, expected, "{method} {plane:?}");
        }
    };
    check(&WRITES, Plane::Data, [Yes, No(Refusal::Writer), kind, kind]);
    check(&WRITES, Plane::Evaluation, [NoMethod; 4]);
    check(&WRITES, Plane::Control, [NoMethod; 4]);
    check(&READS, Plane::Data, [namespace, Yes, Yes, kind]);
    check(&READS, Plane::Evaluation, [NoMethod; 4]);
    check(&READS, Plane::Control, [NoMethod; 4]);
    check(&[Method::Subscribe], Plane::Data, [namespace, Yes, Yes, kind]);
    check(&[Method::Subscribe], Plane::Evaluation, [kind, kind, kind, Yes]);
    check(&[Method::Subscribe], Plane::Control, [NoMethod; 4]);
    check(&[Method::Unsubscribe], Plane::Data, [Yes, Yes, Yes, kind]);
    check(&[Method::Unsubscribe], Plane::Evaluation, [kind, kind, kind, Yes]);
    check(&[Method::Unsubscribe], Plane::Control, [NoMethod; 4]);
    check(&ASKS, Plane::Data, [NoMethod; 4]);
    check(&ASKS, Plane::Evaluation, [kind, kind, kind, Yes]);
    check(&ASKS, Plane::Control, [NoMethod; 4]);
    check(&TREES, Plane::Data, [NoMethod; 4]);
    check(&TREES, Plane::Evaluation, [kind, kind, kind, Yes]);
    check(&TREES, Plane::Control, [kind, kind, Yes, kind]);
    check(&GOVERNS, Plane::Data, [NoMethod; 4]);
    check(&GOVERNS, Plane::Evaluation, [NoMethod; 4]);
    check(&GOVERNS, Plane::Control, [kind, kind, Yes, kind]);
    check(&[Method::Hello, Method::Ping], Plane::Data, [Yes, Yes, Yes, kind]);
    check(&[Method::Hello, Method::Ping], Plane::Evaluation, [kind, kind, kind, Yes]);
    check(&[Method::Hello, Method::Ping], Plane::Control, [kind, kind, Yes, kind]);
    assert_eq!(seen, 3 * Method::ALL.len());
}

#[test]
fn writes_stay_within_the_namespace() {
    let check = |name: &str, key: &str, expected: Cell| {
        let key = FactKey::new(key).unwrap();
        for method in WRITES {
            let caller = Caller::Holder(service(name));
            assert_eq!(cell(&caller, Plane::Data, method, Scope::Key(&key)), expected, "{name} {method} {key}");
        }
    };
    check("deploy", "approvals.a", Cell::Yes);
    check("deploy", "approvals.a.b.c", Cell::Yes);
    check("deploy", "approvals2.a", Cell::No(Refusal::Namespace));
    check("deploy", "approval.a", Cell::No(Refusal::Namespace));
    check("deploy", "approvals-x.a", Cell::No(Refusal::Namespace));
    check("deploy", "approvals/x.a", Cell::No(Refusal::Namespace));
    check("deploy", "Approvals.a", Cell::No(Refusal::Namespace));
    check("deploy", "x.approvals.a", Cell::No(Refusal::Namespace));
    check("deploy", "relationships.a", Cell::No(Refusal::Namespace));
    check("identity", "relationships.a", Cell::Yes);
    check("identity", "approvals.a", Cell::No(Refusal::Namespace));
    // A rule does not make an allowed writer, nor the other way round.
    check("unlisted", "approvals.a", Cell::No(Refusal::Writer));
    check("reader", "approvals.a", Cell::No(Refusal::Writer));
    check("Deploy", "approvals.a", Cell::No(Refusal::Writer));
    for trick in ["approvals.", "approvals", "approvals..a", "approvals.*", "approvals.a\n"] {
        assert!(FactKey::new(trick).is_err(), "{trick}");
    }
}

#[test]
fn reads_stay_within_what_was_granted() {
    let check = |name: &str, pattern: &str, expected: Cell| {
        let pattern = Pattern::new(pattern).unwrap();
        for method in [Method::Subscribe, Method::Query] {
            let caller = Caller::Holder(service(name));
            let found = cell(&caller, Plane::Data, method, Scope::Pattern(&pattern));
            assert_eq!(found, expected, "{name} {method} {pattern}");
        }
    };
    check("reader", "approvals.*", Cell::Yes);
    check("reader", "approvals.team.*", Cell::Yes);
    check("reader", "approvals.a", Cell::Yes);
    check("reader", "*", Cell::No(Refusal::Namespace));
    check("reader", "relationships.*", Cell::No(Refusal::Namespace));
    check("reader", "approvals2.*", Cell::No(Refusal::Namespace));
    check("predicate", "*", Cell::Yes);
    check("predicate", "relationships.*", Cell::Yes);
    check("deploy", "approvals.*", Cell::No(Refusal::Namespace));
    check("deploy", "*", Cell::No(Refusal::Namespace));
}

#[test]
fn a_refusal_names_the_namespace() {
    let check = |scope: Scope<'_>, expected: &str| {
        let caller = Caller::Holder(service("identity"));
        let error = grants().may(&caller, Plane::Data, Method::Get, scope).unwrap_err();
        assert_eq!(serde_json::to_string(&error).unwrap(), expected);
    };
    let no = |namespace: &str| {
        format!(
            r#"{{"code":-32003,"message":"Unauthorized","data":{{"reason":"namespace","namespace":"{namespace}"}}}}"#
        )
    };
    check(Scope::Key(&FactKey::new("approvals.a.b").unwrap()), &no("approvals"));
    check(Scope::Pattern(&Pattern::new("approvals.a.*").unwrap()), &no("approvals"));
    check(Scope::Pattern(&Pattern::Every), &no("*"));
}

#[test]
fn without_rules_services_may_nothing() {
    let key = FactKey::new("approvals.a").unwrap();
    let caller = Caller::Holder(service("deploy"));
    for method in [Method::Put, Method::Get] {
        assert!(Grants::default().may(&caller, Plane::Data, method, Scope::Key(&key)).is_err());
    }
    let open = Grants { enforce_namespaces: false, ..Grants::default() };
    assert!(open.may(&caller, Plane::Data, Method::Put, Scope::Key(&key)).is_ok());
    assert!(open.may(&caller, Plane::Data, Method::Get, Scope::Key(&key)).is_err());
    // Where no token is asked for, the plane is still the plane.
    assert!(Grants::default().may(&Caller::Anyone, Plane::Data, Method::Put, Scope::Key(&key)).is_ok());
    let put = Grants::default().may(&Caller::Anyone, Plane::Control, Method::Put, Scope::Key(&key));
    assert_eq!(put.unwrap_err().code(), -32601);
}
