//! One gate a file, one type each; see the crate's table for their order.

pub(crate) mod admission;
pub(crate) mod audit;
pub(crate) mod commit;
pub(crate) mod cost;
pub(crate) mod engine;
pub(crate) mod governor;
pub(crate) mod isolation;
pub(crate) mod ledger;
pub(crate) mod masking;
pub(crate) mod metering;
pub(crate) mod org_status;
pub(crate) mod policy;
pub(crate) mod quota;
pub(crate) mod resume;
pub(crate) mod row_filter;
pub(crate) mod snapshot;
pub(crate) mod startup;
pub(crate) mod statement;
pub(crate) mod tier;
