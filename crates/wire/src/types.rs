//! Values on the wire: OIDs, and each type's text and binary form, both ways.
//!
//! Pure functions over bytes and Arrow arrays. The text forms themselves are the model's.

mod array;
mod array_input;
pub(crate) mod batch;
pub(crate) mod binary;
pub(crate) mod oid;
pub(crate) mod parameter;
pub(crate) mod scalar;
pub(crate) mod scalar_input;

pub(crate) use weir_model::text::{
    calendar, datetime_input, fault, interval_input, number_input, output as text, zone,
};

#[cfg(test)]
mod tests;
