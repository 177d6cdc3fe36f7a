//! The wire protocol: JSON-RPC 2.0 in server-sent events both ways, or in plain HTTP requests, over whatever carries
//! bytes. It reads no socket and no clock: bytes come in, bytes go out.
//!
//! Invariants:
//! - There is one reader of messages, whatever they came in: a message means the same in a frame, in a POST and as
//!   MessagePack, and what is read the quick way means what it would mean to the general reader.
//! - No input makes it keep more than the limits say, nor read on where it cannot tell what follows.
//! - A parameter that it does not know is refused: a misspelt condition must not be a missing one.

mod connection;
mod encoding;
mod error;
mod frame;
mod head;
mod json;
mod limits;
mod method;
mod notification;
mod params;
mod quick;
mod raw;
mod reply;
mod request;
mod response;
mod rpc;

pub use self::{
    connection::{Connection, Route, Step},
    encoding::Encoding,
    error::{Part, ProtocolError, Refusal},
    frame::{Frame, FrameEncoding, FrameParser, KEEP_ALIVE, write_frame},
    head::{Asks, Bearer, Head, Listener, Post, RefusedHead, Shorthand, Stream, find_end, read as read_head},
    limits::{
        BATCH_MAX, DEPTH_MAX, FRAME_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX, NAME_BYTES_MAX,
        QUERY_LIMIT_DEFAULT, QUERY_LIMIT_MAX, REQUESTS_MAX, TTL_SECONDS_MAX, VALUE_BYTES_MAX,
    },
    method::{Method, Plane},
    notification::{ChangeKind, ChangeNotice, Notification},
    reply::{
        Answer, Answers, Count, Decision, DecisionOf, DecisionOutcome, Decisions, Deleted, Effect, Entry, Hello, Json,
        Lookup, Outcome, PROTOCOL_VERSION, Reply, Written,
    },
    request::{
        Ack, BatchPut, Cursor, Delete, Evaluate, IfVersion, Incr, InvalidCursor, Operation, Put, Query, Request,
        Subscribe, Transaction,
    },
    response::{CONTINUE, HANDSHAKE, write_post, write_refused, write_shorthand},
    rpc::{Call, Id, Message, Refused, Surface, read_body},
};
