//! The gates a statement passes, in their one order.
//!
//! A [`DataPlane`] holds the orgs of a process; a [`Session`] is one authenticated connection to one of them. Each
//! statement of a session goes through `passage`, whose lines are the gates. What leaves a gate is a type that only
//! that gate makes, so a statement cannot skip one: the next gate's argument would not exist.
//!
//! | # | gate | refuses with |
//! |---|---|---|
//! | 1 | `gates::startup` | `proxy_not_ready` |
//! | 2 | `gates::resume` | `engine_unavailable` |
//! | 3 | `gates::org_status` | `org_access_denied` |
//! | 4 | `gates::governor` | `rate_limit_exceeded` |
//! | 5 | `gates::admission` | `admission_timeout` |
//! | 6 | `gates::statement` | `syntax_error`, `unsupported`, `credential_expired` |
//! | 7 | `gates::ledger` | `ledger_violation` |
//! | 8 | `gates::tier` | `tier_required` |
//! | 9 | `gates::isolation` | `schema_violation` |
//! | 10 | `gates::policy` | `permission_denied`, `ungoverned_plan` |
//! | 11 | `gates::cost` | |
//! | 12 | `gates::quota` | `quota_exceeded` |
//! | 13 | `gates::snapshot` | |
//! | 14 | `gates::row_filter` | `masked_predicate`, `ungoverned_plan`, name and type errors |
//! | 17 | `gates::engine` | the engine's own errors |
//! | 18 | `gates::commit` | `serialization_failure`, `unique_violation`, … |
//! | 20 | `gates::masking` | |
//! | 21, 22 | `gates::metering`, `gates::audit` | `audit_unavailable` |
//!
//! Absent, and therefore without a file: embedding (15), translation from a foreign dialect (16), heal (19).
//!
//! It is not: a parser, a planner, a store or a protocol; it calls those and decides.

mod cancel;
mod copy;
mod facts;
mod fit;
mod gates;
mod memory;
mod options;
mod org;
mod passage;
mod plan_cache;
mod plane;
mod rows;
mod session;
mod traffic;
mod virtuals;

pub use weir_engine::Column;
pub use weir_sql::{CopyFormat, CopyOptions};

pub use self::{
    cancel::Canceller,
    copy::CopyIn,
    facts::{FactPage, FactRow, OrgFacts},
    options::{CredentialStatus, PipelineOptions},
    org::{OrgSetup, OrgStatusReport},
    plane::{DataPlane, OfferError},
    rows::Rows,
    session::{CommandTag, Parsed, Prepared, Reply, Session, Settings, TransactionStatus},
};
