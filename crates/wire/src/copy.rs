//! The text and CSV formats of COPY, both ways, by PostgreSQL's rules.
//!
//! Pure: bytes in any chunks to record batches, and rows to bytes. Sockets and sessions are not known here.

mod columns;
mod csv;
pub(crate) mod decode;
pub(crate) mod encode;
mod text;

#[cfg(test)]
mod tests;
