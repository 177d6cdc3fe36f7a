use std::{fmt, net::IpAddr, time::Duration};

use crate::{
    key::FactKey,
    protocol::{Method, Plane, ProtocolError},
    token::Caller,
};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Of a Unix socket, as it was when it connected.
    Process {
        user: u32,
        /// Where the system tells it.
        process: Option<i32>,
    },
    Address(IpAddr),
}

/// Somebody who was refused something.
#[derive(Debug)]
pub struct WitnessedRefusal<'a> {
    pub peer: Option<Peer>,
    /// `None`: the token was nobody's, or was not of a kind for the plane.
    pub caller: Option<&'a Caller>,
    pub plane: Plane,
    /// `None`: it was the connection.
    pub method: Option<Method>,
    /// The first key that was asked for.
    pub key: Option<&'a FactKey>,
    pub error: &'a ProtocolError,
}

/// Something that was asked for and allowed.
#[derive(Debug)]
pub struct WitnessedRequest<'a> {
    pub peer: Option<Peer>,
    pub caller: &'a Caller,
    pub plane: Plane,
    pub method: Method,
    /// The first key that was asked for.
    pub key: Option<&'a FactKey>,
    /// How many keys it names.
    pub keys: usize,
}

/// A request that is over.
#[derive(Debug)]
pub struct Answered<'a> {
    pub method: Method,
    /// `None`: it was done.
    pub error: Option<&'a ProtocolError>,
    /// From when it had been read.
    pub took: Duration,
}

/// Sees what an audit has to tell, and what is to be measured. It is called while the client waits, so it must not wait itself.
pub trait Witness: fmt::Debug + Send + Sync {
    /// All of them.
    fn refused(&self, refusal: &WitnessedRefusal<'_>);

    /// All requests on the control plane but `hello` and `ping`.
    fn controlled(&self, request: &WitnessedRequest<'_>);

    /// Some of the writes of facts, as they are allowed and before they are done.
    fn wrote(&self, request: &WitnessedRequest<'_>);

    /// All requests that could be read.
    fn answered(&self, _: &Answered<'_>) {}
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwitnessed;

impl Witness for Unwitnessed {
    fn refused(&self, _: &WitnessedRefusal<'_>) {}

    fn controlled(&self, _: &WitnessedRequest<'_>) {}

    fn wrote(&self, _: &WitnessedRequest<'_>) {}
}
