//! Facts that rules read: what services say of the world, kept by somebody else and asked for by key.
//!
//! `policy.toml` declares each under a name, with a template of its key; rules read it as `context.facts.<name>`. Which
//! facts a rule reads is known when it is compiled, so only those are asked for.
//!
//! INVARIANT: what is not known for sure refuses. A fact that cannot be asked for, is older than its rule allows, has a
//! key that cannot be made, is malformed where it is read, or holds several values that its reader does not mind,
//! refuses the whole decision, so that a `forbid` is never passed over for want of knowledge.

mod count;
mod declaration;
mod declared;
mod example;
mod needs;
mod reading;
mod source;
mod template;
mod value;

pub use self::source::{FactReading, FactSource, FactValue, FactVersion, FactsUnavailable};
pub(crate) use self::{
    count::Count,
    declaration::{DeclarationReader, FactEntry, json},
    declared::{FactIndex, is_expressible},
    example::ExampleFacts,
    needs::{FactNeed, FactNeeds, Finding, fact_needs},
    reading::{Asked, ReadError, Readings},
    template::{KeyTemplate, Scope, Variable, check_tokens},
    value::{Budget, project},
};
