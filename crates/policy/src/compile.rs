use std::collections::BTreeMap;

use crate::{
    access,
    bundle::{BUNDLE_SCHEMA, BundleBody},
    decision_rule,
    diagnostic::{Diagnostic, Mistake, Place},
    facts::{FactIndex, check_tokens},
    manifest,
    policy::Policy,
    row_filters,
    source::{ACCESS_CEDAR, POLICY_TOML, ROW_FILTERS_SQL, Source, decision_file},
};

/// What a bundle says of itself besides the rules. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub version: u64,
    pub issued_at: i64,
    pub not_after: i64,
}

/// Resolves a policy directory into what is signed.
///
/// # Errors
/// Every mistake found. Mistakes in `policy.toml` come alone: the other files cannot be judged without its names.
pub fn compile(source: &Source, validity: Validity) -> Result<BundleBody, Vec<Diagnostic>> {
    let named = |file: &str, mistakes: Vec<Mistake>| -> Vec<Diagnostic> {
        let path = source.path_of(file);
        mistakes.into_iter().map(|mistake| mistake.in_file(&path)).collect()
    };
    let manifest = manifest::read(&source.policy).map_err(|mistakes| named(POLICY_TOML, mistakes))?;
    let mut body = BundleBody {
        schema: BUNDLE_SCHEMA,
        version: validity.version,
        issued_at: validity.issued_at,
        not_after: validity.not_after,
        org: manifest.org,
        content_hash: source.content_hash(),
        status: manifest.status,
        tier: manifest.tier,
        roles: manifest.roles,
        agents: manifest.agents,
        quota: manifest.quota,
        limits: manifest.limits,
        access: Vec::new(),
        row_security: Vec::new(),
        row_policies: Vec::new(),
        masks: manifest.masks,
        ledgers: manifest.ledgers,
        tiers: manifest.tiers,
        facts: manifest.facts,
        decisions: BTreeMap::new(),
    };
    let facts =
        FactIndex::new(&body.facts).map_err(|error| named(POLICY_TOML, vec![Mistake::at(Place::START, error)]))?;
    let mut diagnostics = Vec::new();
    match access::read(&source.access, &body, &facts) {
        Ok(rules) => body.access = rules,
        Err(mistakes) => diagnostics.extend(named(ACCESS_CEDAR, mistakes)),
    }
    for (path, text) in &source.decisions {
        let file = decision_file(path);
        match decision_rule::read(text, &file, &facts) {
            Ok(_) if !check_tokens(path) => {
                let message = "a path has letters, digits and `_-=/:@+`, with dots between its parts";
                diagnostics.extend(named(&file, vec![Mistake::at(Place::START, message)]));
            }
            Ok(rules) => drop(body.decisions.insert(path.clone(), rules)),
            Err(mistakes) => diagnostics.extend(named(&file, mistakes)),
        }
    }
    match row_filters::read(&source.row_filters, &body) {
        Ok(found) => {
            body.row_security = found.tables.into_iter().collect();
            body.row_policies = found.policies;
        }
        Err(mistakes) => diagnostics.extend(named(ROW_FILTERS_SQL, mistakes)),
    }
    if diagnostics.is_empty()
        && let Err(error) = Policy::new(body.clone())
    {
        let mistake = Mistake::at(Place::START, format!("the compiled policy does not load: {error}"));
        diagnostics.push(mistake.in_file(&source.path_of(POLICY_TOML)));
    }
    if diagnostics.is_empty() { Ok(body) } else { Err(diagnostics) }
}
