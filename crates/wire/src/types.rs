//! Values on the wire: OIDs, and each type's text and binary form, both ways.
//!
//! Pure functions over bytes and Arrow arrays. The text forms are PostgreSQL's own output functions under
//! `DateStyle = ISO, MDY`, `IntervalStyle = postgres`, `bytea_output = hex`.

mod array;
mod array_input;
pub(crate) mod batch;
pub(crate) mod binary;
pub(crate) mod calendar;
pub(crate) mod datetime_input;
pub(crate) mod fault;
pub(crate) mod interval_input;
pub(crate) mod number_input;
pub(crate) mod oid;
pub(crate) mod parameter;
pub(crate) mod scalar;
pub(crate) mod scalar_input;
pub(crate) mod text;
pub(crate) mod zone;

#[cfg(test)]
mod tests;
