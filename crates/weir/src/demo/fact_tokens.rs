use weir_facts::Holder;

use super::env_file::EnvFile;
use crate::{facts::FactsPlane, failure::Failure};

/// Lines of `demo.env` and the holders of their tokens. What the services may write stands in `namespaces.toml`.
fn holders() -> Result<[(&'static str, Holder); 5], Failure> {
    Ok([
        ("DEPLOYMENT_SERVICE_TOKEN", Holder::service("deployment-service")?),
        ("IDENTITY_SERVICE_TOKEN", Holder::service("identity-service")?),
        ("GATEWAY_SERVICE_TOKEN", Holder::service("api-gateway")?),
        ("APP_TOKEN", Holder::app("app")?),
        ("FACTS_ADMIN_TOKEN", Holder::Admin),
    ])
}

/// Gives the demo's services, its application and its administrator a token each, where there are facts.
///
/// # Errors
/// A token's file cannot be read or written.
pub(super) fn issue(facts: &FactsPlane, old: &EnvFile, env: &mut EnvFile) -> Result<(), Failure> {
    for (name, holder) in holders()? {
        if let Some(token) = facts.keep_token(&holder, old.token(name))? {
            env.add_token(name, token);
        }
    }
    Ok(())
}
