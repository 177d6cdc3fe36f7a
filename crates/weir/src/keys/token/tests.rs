#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey, pkcs8::EncodePrivateKey};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::clock::unix_now;

const SEED: [u8; 32] = [7; 32];

fn jwks(kid: &str) -> Value {
    let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&SEED).verifying_key().as_bytes());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig", "x": x}]})
}

struct House {
    folder: tempfile::TempDir,
    issuer: TokenIssuer,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let jwks_file = folder.path().join("jwks.json");
        std::fs::write(&jwks_file, jwks("k1").to_string()).unwrap();
        let settings = TokenSettings { jwks_file, issuer: "https://id.example".into(), audience: "weir".into() };
        House { issuer: TokenIssuer::open(settings).unwrap(), folder }
    }
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "https://id.example", "aud": "weir", "sub": "reporter", "exp": unix_now() + 600,
        "org": "acme", "roles": ["analyst"], "attributes": {"region": "EU", "level": 3}, "email": "x@example",
    });
    change(&mut claims);
    claims
}

fn signed(kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = kid.map(str::to_owned);
    let der = SigningKey::from_bytes(&SEED).to_pkcs8_der().unwrap();
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(der.as_bytes())).unwrap()
}

#[test]
fn a_token_proves_agent_org_roles_and_attributes() {
    let house = House::new();
    let identity = house.issuer.verify(&signed(Some("k1"), &claims(|_| ()))).unwrap();
    assert_eq!((identity.org.as_str(), identity.agent.as_ref()), ("acme", "reporter"));
    assert_eq!(identity.roles, ["analyst"]);
    assert_eq!(identity.attributes.get("region").unwrap().to_string(), "EU");
    assert_eq!(identity.kind, CredentialKind::Jwt);
    assert!(identity.expires_at.is_some());
    assert!(house.issuer.trusts(&identity.credential));
}

#[test]
fn the_weir_object_stands_for_the_claims_beside_it() {
    let token = signed(Some("k1"), &claims(|claims| claims["weir"] = json!({"org": "globex"})));
    let identity = House::new().issuer.verify(&token).unwrap();
    assert_eq!((identity.org.as_str(), identity.roles.len(), identity.attributes.len()), ("globex", 0, 0));
}

#[test]
fn tokens_that_are_not_wholly_right_are_refused() {
    let house = House::new();
    let refused = |what: &str, token: String| assert!(house.issuer.verify(&token).is_err(), "{what}");
    let changed = |what: &str, change: fn(&mut Value)| refused(what, signed(Some("k1"), &claims(change)));
    changed("expired", |claims| claims["exp"] = json!(unix_now() - 60));
    changed("no expiry", |claims| drop(claims.as_object_mut().unwrap().remove("exp")));
    changed("not yet", |claims| claims["nbf"] = json!(unix_now() + 600));
    changed("other issuer", |claims| claims["iss"] = json!("https://evil.example"));
    changed("no issuer", |claims| drop(claims.as_object_mut().unwrap().remove("iss")));
    changed("other audience", |claims| claims["aud"] = json!("other"));
    changed("no audience", |claims| drop(claims.as_object_mut().unwrap().remove("aud")));
    changed("no subject", |claims| drop(claims.as_object_mut().unwrap().remove("sub")));
    changed("no org", |claims| drop(claims.as_object_mut().unwrap().remove("org")));
    changed("bad org", |claims| claims["org"] = json!("../etc"));
    changed("loose weir object", |claims| claims["weir"] = json!({"org": "acme", "admin": true}));
    refused("unknown key", signed(Some("k2"), &claims(|_| ())));
    refused("no kid", signed(None, &claims(|_| ())));
    refused("too long", signed(Some("k1"), &claims(|claims| claims["pad"] = json!("x".repeat(9000)))));
    refused("noise", "a.b.c".into());
}

#[test]
fn the_header_does_not_choose_the_algorithm() {
    let house = House::new();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = part(&claims(|_| ()));
    let none = format!("{}.{body}.", part(&json!({"alg": "none", "kid": "k1"})));
    assert!(house.issuer.verify(&none).is_err());
    // The public key as an HMAC secret: the classic confusion.
    let public = SigningKey::from_bytes(&SEED).verifying_key();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("k1".into());
    let confused =
        jsonwebtoken::encode(&header, &claims(|_| ()), &EncodingKey::from_secret(public.as_bytes())).unwrap();
    assert!(house.issuer.verify(&confused).is_err());
    // A right signature under another algorithm's name.
    let head = part(&json!({"alg": "RS256", "kid": "k1"}));
    let signature = SigningKey::from_bytes(&SEED).sign(format!("{head}.{body}").as_bytes());
    let renamed = format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()));
    assert!(house.issuer.verify(&renamed).is_err());
}

#[test]
fn a_rotated_key_ends_what_it_opened() {
    let house = House::new();
    let identity = house.issuer.verify(&signed(Some("k1"), &claims(|_| ()))).unwrap();
    let path = house.folder.path().join("jwks.json");
    std::fs::write(&path, "{").unwrap();
    house.issuer.refresh();
    assert!(house.issuer.trusts(&identity.credential), "a broken file changes nothing");
    std::fs::write(&path, jwks("k1:2").to_string()).unwrap();
    house.issuer.refresh();
    assert!(!house.issuer.trusts(&identity.credential));
    let renewed = house.issuer.verify(&signed(Some("k1:2"), &claims(|_| ()))).unwrap();
    assert!(house.issuer.trusts(&renewed.credential));
    std::fs::remove_file(&path).unwrap();
    house.issuer.refresh();
    assert!(!house.issuer.trusts(&renewed.credential));
}

#[test]
fn a_jwks_file_without_a_usable_key_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let jwks_file = folder.path().join("jwks.json");
    let short = json!({"keys": [
        {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "b", "n": "c2hvcnQ", "e": "AQAB"},
    ]});
    std::fs::write(&jwks_file, short.to_string()).unwrap();
    let settings = TokenSettings { jwks_file, issuer: "i".into(), audience: "a".into() };
    assert!(matches!(TokenIssuer::open(settings), Err(JwksError::NoKey { .. })));
}
