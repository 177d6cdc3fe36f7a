//! Names that people who know other gateways try, and that are no settings here: each says why.

const ABSENT: &[(&str, &str)] = &[
    (
        "policy.sync_allow_degraded",
        "there is no degraded mode: without a verified policy no statement runs, and nothing switches that off",
    ),
    ("tenant_isolation.enabled", "isolation between orgs is always on and has no switch"),
    ("embedding.provider", "embeddings are not supported"),
];

/// Why a key of the file is no setting.
pub(crate) fn key(key: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(absent, _)| *absent == key).map(|(_, why)| *why)
}

/// Why a `WEIR_` variable is no setting.
pub(crate) fn variable(variable: &str) -> Option<&'static str> {
    let name = |key: &str| format!("WEIR_{}", key.replace('.', "_").to_uppercase());
    ABSENT.iter().find(|(absent, _)| name(absent) == variable).map(|(_, why)| *why)
}
