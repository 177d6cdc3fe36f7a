//! The text forms of values, both ways: PostgreSQL's own input and output functions under `DateStyle = ISO, MDY`,
//! `IntervalStyle = postgres`, `bytea_output = hex`.
//!
//! Pure functions over bytes, so that a value reads the same in a message of the protocol and in a cast.

pub mod calendar;
pub mod datetime_input;
pub mod fault;
pub mod interval_input;
pub mod number_input;
pub mod output;
pub mod zone;
