//! The Postgres wire protocol: from a byte on the socket to a call on the data plane, and back.
//!
//! What happens to a connection, in order: [`Server`] accepts it within limits; start-up settles encryption, reads who
//! the client says it is, takes its key or token over a safe channel and asks the [`Authenticator`]; a session loop
//! then reads messages, runs them on the [`Backend`]'s session and writes results, until the client leaves, is idle
//! for too long, or the server drains.
//!
//! Invariants:
//!
//! - Memory for a message is bounded before it is buffered: 10,000 bytes at start-up, 16 KiB until authenticated,
//!   `message_bytes_max` after; buffers grow with bytes received, not with lengths claimed, and all long messages
//!   together stay within `long_messages_bytes_max`.
//! - Results are streamed: 64 KiB are buffered, then the socket must take them.
//! - A running statement is stopped by a cancel request or by the client's disappearance, its row stream within 200 ms.
//! - What takes long by its size (messages above 16 KiB, rows above 256 KiB, blocks of COPY data) is done on the slow
//!   lane, and what is long by its number gives way in between: a lane keeps none of its clients waiting.
//! - Nothing a client sends can panic a connection's task, and a broken message never reaches into the next one.
//! - A password in clear text is never asked for over a network.
//!
//! It is not: a judge of anything. Who may see or do what is decided behind [`Backend`]; this crate knows no table, no
//! role and no policy. It is the only crate that names pgwire.

mod authenticate;
mod backend;
mod budget;
mod cancel;
mod connection;
mod copy;
mod frontend;
mod messages;
mod meters;
mod pipeline;
mod server;
mod session;
mod slow_lane;
mod startup;
mod tls;
mod types;

pub use self::{
    authenticate::{Authenticator, LoginRequest},
    backend::{Backend, BackendCopyIn, BackendReply, BackendRows, BackendSession, Canceller, Deallocate},
    server::{Server, ServerOptions, TlsMode},
    tls::{Certificate, CertificateError},
};
