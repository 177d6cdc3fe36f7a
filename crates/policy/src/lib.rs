//! Bundles: an org's roles, rules, row filters and masks, compiled, signed, verified and asked.
//!
//! An org writes its policy as a directory ([`directory`]); [`compile()`] resolves it into a [`BundleBody`], [`sign`]
//! seals it, [`verify`] opens it on a data plane and gives a [`Policy`], which answers for each statement: may this
//! principal do this to that object ([`Policy::decide`]), which rows ([`Policy::row_filter`]), which columns masked
//! ([`Policy::masks`]).
//!
//! Invariants:
//! - Nothing is allowed that no rule permits, and a rule that errs refuses.
//! - A mistake in a policy directory is an error with file, line and column; no rule is ever dropped.
//! - A [`Policy`] never changes. Its answers depend on its arguments alone: not on clocks, files or sessions.
//! - Attributes come from the credential and the bundle, never from what a client sets.
//!
//! This crate is the only one that names Cedar. It does no I/O outside [`directory`], and it executes nothing: filters
//! and masks leave here as data for the engine.

mod access;
mod bounded_map;
mod bundle;
mod cases;
mod cedar_text;
mod compile;
mod context;
mod decision;
mod decision_cases;
mod decision_policy;
mod decision_rule;
mod diagnostic;
pub mod directory;
mod evaluation;
mod facts;
mod filter_expr;
mod key;
mod manifest;
mod masks;
mod misfit;
mod policy;
mod reads;
mod remembered;
mod row_filter;
mod row_filters;
mod rule_id;
mod session_value;
mod signed;
mod source;
mod world;

pub use self::{
    bundle::{
        AccessRule, Agent, BUNDLE_SCHEMA, BundleBody, CountRule, FactRule, Limits, MaskKind, MaskPredicates, MaskRule,
        OrgStatus, Origin, Period, Priority, Quota, QuotaRule, Role, RowPolicy, RowPolicyCommand, TableRule, Tier,
        TierRule,
    },
    cases::{Report, run_cases, test},
    compile::{Validity, compile},
    context::RequestContext,
    decision::{Decision, Request},
    diagnostic::Diagnostic,
    evaluation::{Evaluated, Evaluation, EvaluationError},
    facts::{FactReading, FactSource, FactValue, FactVersion, FactsUnavailable},
    key::{BundleKey, KeyError, VerifyingKey},
    masks::ColumnMask,
    misfit::{Misfit, Relation},
    policy::Policy,
    row_filter::{Filtered, PolicyClass, RowCommand, RowFilter},
    rule_id::RuleId,
    signed::{BundleError, sign, verify},
    source::Source,
};
