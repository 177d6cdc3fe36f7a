//! Facts that policies decide on: who approved what, who is in which group, how often somebody asked. Services write
//! them to any node under any network condition; every node comes to the same state.
//!
//! The core is plain functions and types that read no clock, file, socket or random number, so that a simulation can run
//! them for years of bad luck: states and strategies, [`Replica`], [`protocol`] and tokens. [`FactStore`] keeps a
//! replica's states on disk; a [`Node`] runs a replica on threads of its own, a [`Server`] gives it sockets, and [`Peers`] link it with others.
//!
//! Invariants:
//! - A write is numbered without gaps by its origin, and no number means two writes.
//! - A write's time is greater than that of all it replaces.
//! - States of a key form a join semilattice ([`State::join`]), whatever the namespace's strategy.

mod causality;
mod clock;
mod head;
mod json_text;
mod key;
mod memory;
pub mod message;
mod node;
mod peers;
pub mod protocol;
mod replica;
mod seal;
mod serve;
mod state;
mod storage;
mod store;
mod strategy;
mod token;

pub use self::{
    causality::{Dot, InvalidNodeId, NodeId, Origin, VersionVector},
    clock::{Ahead, Clock, Hlc, Millis},
    head::{Before, Head},
    json_text::{InvalidJson, JsonText},
    key::{FactKey, InvalidKey, KEY_BYTES_MAX, Pattern},
    memory::Memory,
    node::{
        Acknowledge, Agreement, Alarms, Applied, From as SubscribeFrom, Health, Joining, Lag, Measures, MemberStatus,
        MessagePlane, Namespaces, News, Node, NodeConfig, NodeError, NodeOpenError, Outcomes, PeerMessage, Repaired,
        Replication, Seen, Subscription, Told, Work,
    },
    peers::{
        BrokerStatus, CertificateError, Credentials, GossipConfig, InvalidPlaneName, InvalidServer, PeerStatus, Peers,
        PeersConfig, PeersError, PeersStatus, PlaneName, PubSubConfig, ServerAddress, create_plane_authority,
        issue_certificate,
    },
    replica::{
        Alarm, CatchUp, Caught, CommitNumber, Config, Counts, Cursor, Effect, Event, EventKind, EventNumber, Fact,
        Facts, HeldFact, Limits, Malformed, OpenError, Operation, PersistMark, Precondition, ReadError, ReceiveError,
        Refused, Replica, ReplicaError, Rules, Start, WriteFact, Written,
    },
    seal::{PlaneKey, SealError},
    serve::{
        Answered, Authority, EvaluateError, Evaluator, ListenError, Peer, Policies, Question, Rights, ServeConfig,
        Server, Sockets, Unwitnessed, Verdict, Witness, WitnessedRefusal, WitnessedRequest,
    },
    state::{Body, Cell, Part, ReusedDot, State},
    storage::{Change, Commit, Storage},
    store::{Checked, FactStore, Finding, Loss, NamespaceSize, Reader, Rewritten, Settings, StoreError, Syncer},
    strategy::{Found, NotASet, Shown, Stamp, Strategy, View, WriteError},
    token::{Caller, Grants, Holder, InvalidHolderName, InvalidTokenFile, NamespaceRule, Scope, Tokens, hashed_line},
};
