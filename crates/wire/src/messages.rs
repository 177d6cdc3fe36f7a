//! Messages to the client. Those of the row path are written by hand into the output buffer; the rare ones go through
//! pgwire's encoders.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::{
    Message,
    copy::{CopyInResponse, CopyOutResponse},
    data::ParameterDescription,
    response::ErrorResponse,
    startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey},
};
use weir_model::Refusal;
use weir_pipeline::{Column, TransactionStatus};

use crate::types::{
    batch::{Format, Formats},
    oid,
};

pub(crate) const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub(crate) const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
pub(crate) const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
pub(crate) const NO_DATA: &[u8] = b"n\0\0\0\x04";
pub(crate) const PORTAL_SUSPENDED: &[u8] = b"s\0\0\0\x04";
pub(crate) const EMPTY_QUERY_RESPONSE: &[u8] = b"I\0\0\0\x04";
pub(crate) const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// How grave an error is for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The connection closes after it.
    Fatal,
}

/// Encodes a message of pgwire's; one that cannot be encoded is a bug of ours, and is left out whole.
fn put(out: &mut BytesMut, message: &impl Message) {
    let start = out.len();
    if let Err(error) = message.encode(out) {
        out.truncate(start);
        tracing::error!(%error, "a protocol message could not be encoded");
    }
}

/// Longest text in a field of an error, in bytes: a message may quote what a client sent.
const FIELD_BYTES_MAX: usize = 8 * 1024;

/// NUL ends a string on the wire, so none may stand inside one; nor may a text be longer than anyone reads.
fn without_nul(text: &str) -> String {
    let end = text.floor_char_boundary(FIELD_BYTES_MAX);
    text.get(..end).unwrap_or_default().replace('\0', "\u{fffd}")
}

pub(crate) fn put_refusal(out: &mut BytesMut, refusal: &Refusal, severity: Severity) {
    let level = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = vec![
        (b'S', level.to_owned()),
        (b'V', level.to_owned()),
        (b'C', refusal.sqlstate().0.to_owned()),
        (b'M', without_nul(refusal.message())),
        (b'D', without_nul(&refusal.detail_line())),
    ];
    if let Some(hint) = refusal.hint_line() {
        fields.push((b'H', without_nul(hint)));
    }
    if let Some(position) = refusal.position() {
        fields.push((b'P', position.to_string()));
    }
    if let Some(context) = refusal.context_line() {
        fields.push((b'W', without_nul(context)));
    }
    put(out, &ErrorResponse::new(fields));
}

pub(crate) fn put_ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::Active => b'T',
        TransactionStatus::Failed => b'E',
    };
    out.put_slice(b"Z\0\0\0\x05");
    out.put_u8(status);
}

pub(crate) fn put_command_complete(out: &mut BytesMut, tag: &str) {
    // Written by hand: it ends every statement, and the message's own type wants a text of its own.
    out.put_u8(b'C');
    out.put_u32(u32::try_from(tag.len() + 5).unwrap_or(u32::MAX));
    out.put_slice(tag.as_bytes());
    out.put_u8(0);
}

pub(crate) fn put_parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    put(out, &ParameterStatus::new(without_nul(name), without_nul(value)));
}

pub(crate) fn put_password_request(out: &mut BytesMut) {
    put(out, &Authentication::CleartextPassword);
}

pub(crate) fn put_authentication_ok(out: &mut BytesMut) {
    put(out, &Authentication::Ok);
}

pub(crate) fn put_backend_key(out: &mut BytesMut, process: i32, secret: &[u8]) {
    put(out, &BackendKeyData::new(process, SecretKey::Bytes(Bytes::copy_from_slice(secret))));
}

/// `newest_minor` of protocol 3, and the protocol options that were asked for and are not known.
pub(crate) fn put_negotiate_version(out: &mut BytesMut, newest_minor: u16, unknown: Vec<String>) {
    put(out, &NegotiateProtocolVersion::new((3 << 16) | i32::from(newest_minor), unknown));
}

pub(crate) fn put_parameter_description(out: &mut BytesMut, oids: &[u32]) {
    put(out, &ParameterDescription::new(oids.to_vec()));
}

pub(crate) fn put_copy_in(out: &mut BytesMut, columns: usize) {
    put(out, &CopyInResponse::new(0, columns as i16, vec![0; columns]));
}

pub(crate) fn put_copy_out(out: &mut BytesMut, columns: usize) {
    put(out, &CopyOutResponse::new(0, columns as i16, vec![0; columns]));
}

/// RowDescription; drivers ask for it with every execution, so it is written without building a message first.
pub(crate) fn put_row_description(out: &mut BytesMut, columns: &[Column], formats: &Formats) {
    let start = out.len();
    out.put_u8(b'T');
    out.put_i32(0);
    out.put_u16(columns.len() as u16);
    for (index, column) in columns.iter().enumerate() {
        // A NUL would end the name early and shift every field after it.
        out.extend(column.name.bytes().filter(|byte| *byte != 0));
        out.put_u8(0);
        out.put_u32(column.table_oid);
        out.put_i16(column.attribute);
        out.put_u32(oid::of(column.value_type));
        out.put_i16(oid::size(column.value_type));
        out.put_i32(oid::modifier(column.value_type));
        out.put_i16(match formats.of(index) {
            Format::Text => 0,
            Format::Binary => 1,
        });
    }
    // INVARIANT: at most 65,535 columns whose names are far below 1 GB together.
    let length = (out.len() - start - 1) as u32;
    if let Some(slot) = out.get_mut(start + 1..start + 5) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}
