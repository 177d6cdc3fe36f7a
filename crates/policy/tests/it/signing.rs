use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use weir_model::OrgName;
use weir_policy::{BundleBody, BundleError, BundleKey, Source, VerifyingKey, compile, sign, verify};

use crate::{VALIDITY, try_compile};

fn body() -> BundleBody {
    try_compile(
        "org = 'acme'\n[roles.reader]\n[agents.ann]\nroles = ['reader']\n",
        "permit (principal in Role::\"reader\", action == Action::\"select\", resource);",
        "CREATE POLICY own ON t TO reader USING (owner = current_user);",
    )
    .unwrap()
}

fn acme() -> OrgName {
    OrgName::new("acme").unwrap()
}

/// The outcome of verifying at second 1,500, inside the bundle's validity of 1,000 to 2,000.
fn check(jws: &str, key: &BundleKey) -> Result<u64, BundleError> {
    verify(jws, &key.verifying_key(), &acme(), 1_500, None).map(|policy| policy.version())
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[test]
fn a_signed_bundle_opens_and_answers() {
    let key = BundleKey::generate().unwrap();
    let jws = sign(&body(), &key).unwrap();
    let policy = verify(&jws, &key.verifying_key(), &acme(), 1_500, Some(7)).unwrap();
    assert_eq!((policy.version(), policy.not_after()), (7, 2_000));
    assert_eq!(*policy.body(), body());
}

/// What a policy without facts is signed as does not change, and what has some comes through.
#[test]
fn facts_and_decisions_are_signed_where_there_are_any() {
    let text = serde_json::to_string(&body()).unwrap();
    assert!(!text.contains("\"facts\"") && !text.contains("\"decisions\""), "{text}");
    let key = BundleKey::generate().unwrap();
    let policy = verify(&sign(&with_facts(), &key).unwrap(), &key.verifying_key(), &acme(), 1_500, None).unwrap();
    assert_eq!(*policy.body(), with_facts());
    assert_eq!(policy.decision_paths().collect::<Vec<_>>(), ["may.deploy"]);
}

fn with_facts() -> BundleBody {
    let names = "org = 'acme'\n[facts.deploy]\nkey = 'approvals.${request.id}'\ndefault = { a = [1, 2.5] }\nmax_staleness_ms = 5\n\
                 counts = { n = { of = 'a', where = { role = 'x', level = 3 }, distinct = 'user' } }";
    let decision = "permit (principal, action, resource) when { context.facts.deploy.n > 1 };";
    compile(&Source::from_text("acme", names, "", "").with_decision("may.deploy", decision), VALIDITY).unwrap()
}

#[test]
fn every_check_refuses_by_name() {
    let key = BundleKey::generate().unwrap();
    let jws = sign(&body(), &key).unwrap();
    let at = |org: &OrgName, now: i64, held: Option<u64>| {
        verify(&jws, &key.verifying_key(), org, now, held).map(|policy| policy.version())
    };
    let other = OrgName::new("globex").unwrap();
    assert_eq!(at(&acme(), 1_000, None), Ok(7));
    assert_eq!(at(&acme(), 940, None), Ok(7), "a minute of skew is borne");
    assert_eq!(at(&acme(), 939, None), Err(BundleError::FromTheFuture { seconds: 61 }));
    assert_eq!(at(&acme(), 1_999, None), Ok(7));
    assert_eq!(at(&acme(), 2_000, None), Err(BundleError::Expired { seconds: 0 }));
    assert_eq!(at(&acme(), 1_500, Some(6)), Ok(7));
    assert_eq!(at(&acme(), 1_500, Some(7)), Ok(7));
    assert_eq!(at(&acme(), 1_500, Some(8)), Err(BundleError::Rollback { held: 8, offered: 7 }));
    assert_eq!(at(&other, 1_500, None), Err(BundleError::Org { expected: other.clone(), found: acme() }));
}

#[test]
fn a_stranger_s_key_is_refused() {
    let (ours, theirs) = (BundleKey::generate().unwrap(), BundleKey::generate().unwrap());
    let jws = sign(&body(), &theirs).unwrap();
    let refused = BundleError::Key { expected: ours.fingerprint(), found: theirs.fingerprint() };
    assert_eq!(check(&jws, &ours), Err(refused));
    // Claiming our key id does not help.
    let rest = jws.split_once('.').unwrap().1;
    let claimed = part(&format!(r#"{{"alg":"EdDSA","typ":"weir-bundle+jws","kid":"{}"}}"#, ours.fingerprint()));
    assert_eq!(check(&format!("{claimed}.{rest}"), &ours), Err(BundleError::Signature));
}

#[test]
fn headers_that_ask_for_less_are_refused() {
    let key = BundleKey::generate().unwrap();
    let jws = sign(&body(), &key).unwrap();
    let rest = jws.split_once('.').unwrap().1;
    let kid = key.fingerprint();
    let with = |header: String| check(&format!("{}.{rest}", part(&header)), &key);
    for alg in ["none", "HS256", "RS256", "eddsa"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"weir-bundle+jws","kid":"{kid}"}}"#);
        assert_eq!(with(header), Err(BundleError::Algorithm(alg.into())));
    }
    let typ = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#);
    assert_eq!(with(typ), Err(BundleError::Type("JWT".into())));
    let critical = format!(r#"{{"alg":"EdDSA","typ":"weir-bundle+jws","kid":"{kid}","crit":["b64"]}}"#);
    assert!(matches!(with(critical), Err(BundleError::Malformed(_))));
    let payload = rest.split_once('.').unwrap().0;
    let none = part(r#"{"alg":"none","typ":"weir-bundle+jws","kid":""}"#);
    assert_eq!(check(&format!("{none}.{payload}."), &key), Err(BundleError::Algorithm("none".into())));
}

#[test]
fn changed_content_is_refused() {
    let key = BundleKey::generate().unwrap();
    let jws = sign(&body(), &key).unwrap();
    let (message, signature) = jws.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mut forged = body();
    forged.version = 99;
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&forged).unwrap());
    assert_eq!(check(&format!("{header}.{payload}.{signature}"), &key), Err(BundleError::Signature));
    // Each character that is flipped, anywhere, is noticed.
    for at in (0..jws.len()).step_by(7) {
        let mut bytes = jws.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(changed == jws || check(&changed, &key).is_err(), "{at}");
    }
}

#[test]
fn malformed_text_is_refused() {
    let key = BundleKey::generate().unwrap();
    for text in ["", ".", "..", "a.b", "a.b.c", "....", "é.é.é", &"x".repeat(1000)] {
        assert!(matches!(check(text, &key), Err(BundleError::Malformed(_))), "{text}");
    }
    let huge = "x".repeat(33 * 1024 * 1024);
    assert!(matches!(check(&huge, &key), Err(BundleError::TooLarge { .. })));
}

#[test]
fn a_signature_does_not_make_a_bad_rule_good() {
    let key = BundleKey::generate().unwrap();
    let signed = |change: &dyn Fn(&mut BundleBody)| {
        let mut body = body();
        change(&mut body);
        check(&sign(&body, &key).unwrap(), &key)
    };
    assert!(matches!(signed(&|body| body.schema = 2), Err(BundleError::Schema { found: 2 })));
    assert!(matches!(signed(&|body| body.access[0].text = "permit".into()), Err(BundleError::Rule(_))));
    let subquery = |body: &mut BundleBody| body.row_policies[0].using = Some("owner IN (SELECT 'x')".into());
    assert!(matches!(signed(&subquery), Err(BundleError::Rule(_))));
    assert!(matches!(
        signed(&|body| body.row_policies[0].using = Some("true) OR (true".into())),
        Err(BundleError::Rule(_))
    ));
    let facts = |change: &dyn Fn(&mut BundleBody)| {
        let mut body = with_facts();
        change(&mut body);
        assert!(matches!(check(&sign(&body, &key).unwrap(), &key), Err(BundleError::Rule(_))));
    };
    facts(&|body| body.facts.clear());
    facts(&|body| body.facts.get_mut("deploy").unwrap().key = "approvals.*.x".into());
    facts(&|body| body.facts.get_mut("deploy").unwrap().key = "approvals.${principal.team}".into());
    facts(&|body| body.facts.get_mut("deploy").unwrap().key = "approvals.${request.id}.*".into());
    facts(&|body| body.facts.get_mut("deploy").unwrap().default = Some(0.123456.into()));
    facts(&|body| body.facts.get_mut("deploy").unwrap().counts.get_mut("n").unwrap().of = ".".into());
    facts(&|body| body.decisions.get_mut("may.deploy").unwrap()[0].text = "permit".into());
}

#[test]
fn keys_go_to_text_and_back() {
    let key = BundleKey::generate().unwrap();
    let again = BundleKey::from_pem(&key.to_pem().unwrap()).unwrap();
    let public = VerifyingKey::from_pem(&key.verifying_key().to_pem().unwrap()).unwrap();
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert_eq!(public, key.verifying_key());
    assert_eq!(key.fingerprint().len(), 32);
    assert!(verify(&sign(&body(), &again).unwrap(), &public, &acme(), 1_500, None).is_ok());
    assert!(BundleKey::from_pem("nonsense").is_err());
    assert!(!format!("{key:?}").contains(key.to_pem().unwrap().lines().nth(1).unwrap()));
}
