//! Tokens of a trusted issuer as passwords.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::server::{ADMIN_ACCESS, OPEN_POLICY, Server, connect, eventually, execute, one, refusal, try_connect};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let body = format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"})), part(claims));
    format!("{body}.{}", URL_SAFE_NO_PAD.encode(key().sign(body.as_bytes()).to_bytes()))
}

fn server() -> Server {
    let server = Server::new();
    server.write_policy(OPEN_POLICY, ADMIN_ACCESS, "");
    let jwks = server.data().join("jwks.json");
    let x = URL_SAFE_NO_PAD.encode(key().verifying_key().as_bytes());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": x}]});
    std::fs::write(&jwks, keys.to_string()).unwrap();
    server
        .setting("WEIR_JWT_JWKS_FILE", jwks.to_str().unwrap())
        .setting("WEIR_JWT_ISSUER", "https://id.example")
        .setting("WEIR_JWT_AUDIENCE", "weir")
        .start()
}

fn claims(seconds: u64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    json!({
        "iss": "https://id.example", "aud": "weir", "sub": "svc", "exp": now + seconds, "org": "acme",
        "roles": ["admin"],
    })
}

#[tokio::test]
async fn a_token_opens_its_org_until_it_expires() {
    let server = server();
    let client = connect(&server.url("acme", "svc", &token(&claims(3)))).await;
    assert_eq!(one(&client, "SELECT current_user").await, "svc");
    assert!(try_connect(&server.url("acme", "other", &token(&claims(60)))).await.is_err());
    assert!(try_connect(&server.url("globex", "svc", &token(&claims(60)))).await.is_err());
    eventually(Duration::from_secs(6), async || client.batch_execute("SELECT 1").await.is_err()).await;
    assert_eq!(refusal(&client, "SELECT 1").await.0, "28000");
}

#[tokio::test]
async fn a_token_of_another_issuer_opens_nothing() {
    let server = server();
    let mut foreign = claims(60);
    foreign["iss"] = json!("https://evil.example");
    assert!(try_connect(&server.url("acme", "svc", &token(&foreign))).await.is_err());
    let mut unsigned = token(&claims(60));
    unsigned.truncate(unsigned.rfind('.').unwrap() + 1);
    assert!(try_connect(&server.url("acme", "svc", &unsigned)).await.is_err());
}

#[tokio::test]
async fn a_key_that_leaves_the_jwks_file_ends_its_sessions() {
    let server = server();
    let client = connect(&server.url("acme", "svc", &token(&claims(600)))).await;
    execute(&client, "SELECT 1").await;
    std::fs::remove_file(server.data().join("jwks.json")).unwrap();
    eventually(Duration::from_secs(1), async || client.batch_execute("SELECT 1").await.is_err()).await;
}
