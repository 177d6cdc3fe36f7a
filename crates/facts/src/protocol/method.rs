use std::fmt;

/// One of the three planes, each with its socket and its kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plane {
    /// Services write facts, and read what they were granted.
    Data,
    /// Applications ask for decisions.
    Evaluation,
    /// Administrators govern policies.
    Control,
}

impl Plane {
    pub const ALL: [Plane; 3] = [Plane::Data, Plane::Evaluation, Plane::Control];

    /// The path that names it in a request, without the slash.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Plane::Data => "data",
            Plane::Evaluation => "eval",
            Plane::Control => "control",
        }
    }

    /// What `hello` says the plane can.
    #[must_use]
    pub fn capabilities(self) -> &'static [&'static str] {
        match self {
            Plane::Data => &["put", "get", "delete", "batch-put", "batch-get", "subscribe"],
            Plane::Evaluation => {
                &["evaluate", "evaluate-batch", "subscribe", "list-policies", "get-subtree", "feature-flags"]
            }
            Plane::Control => {
                &["sync", "list", "stats", "metadata", "policies", "update-policy", "list-policies", "get-subtree"]
            }
        }
    }
}

/// What can be asked for, on whichever plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    Hello,
    Ping,
    Put,
    /// The older name of `put`.
    UpdateData,
    Get,
    Delete,
    BatchPut,
    BatchGet,
    Subscribe,
    Unsubscribe,
    Transaction,
    Query,
    Incr,
    Evaluate,
    EvaluateBatch,
    ListPolicies,
    GetSubtree,
    GetFeatureFlags,
    Sync,
    List,
    Stats,
    Metadata,
    Policies,
    UpdatePolicy,
    /// How the node stands among the others.
    Peers,
    /// Compares with all others now.
    Repair,
    /// Forgets a node that does not come back.
    RemovePeer,
    /// Seals with a new data key.
    RotateKey,
}

impl Method {
    pub const ALL: [Method; 28] = [
        Method::Hello,
        Method::Ping,
        Method::Put,
        Method::UpdateData,
        Method::Get,
        Method::Delete,
        Method::BatchPut,
        Method::BatchGet,
        Method::Subscribe,
        Method::Unsubscribe,
        Method::Transaction,
        Method::Query,
        Method::Incr,
        Method::Evaluate,
        Method::EvaluateBatch,
        Method::ListPolicies,
        Method::GetSubtree,
        Method::GetFeatureFlags,
        Method::Sync,
        Method::List,
        Method::Stats,
        Method::Metadata,
        Method::Policies,
        Method::UpdatePolicy,
        Method::Peers,
        Method::Repair,
        Method::RemovePeer,
        Method::RotateKey,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Method::Hello => "hello",
            Method::Ping => "ping",
            Method::Put => "put",
            Method::UpdateData => "update-data",
            Method::Get => "get",
            Method::Delete => "delete",
            Method::BatchPut => "batch-put",
            Method::BatchGet => "batch-get",
            Method::Subscribe => "subscribe",
            Method::Unsubscribe => "unsubscribe",
            Method::Transaction => "transaction",
            Method::Query => "query",
            Method::Incr => "incr",
            Method::Evaluate => "evaluate",
            Method::EvaluateBatch => "evaluate-batch",
            Method::ListPolicies => "list-policies",
            Method::GetSubtree => "get-subtree",
            Method::GetFeatureFlags => "get-feature-flags",
            Method::Sync => "sync",
            Method::List => "list",
            Method::Stats => "stats",
            Method::Metadata => "metadata",
            Method::Policies => "policies",
            Method::UpdatePolicy => "update-policy",
            Method::Peers => "peers",
            Method::Repair => "repair",
            Method::RemovePeer => "remove-peer",
            Method::RotateKey => "rotate-key",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// The planes that have it.
    #[must_use]
    pub fn planes(self) -> &'static [Plane] {
        match self {
            Method::Hello | Method::Ping => &Plane::ALL,
            Method::Put
            | Method::UpdateData
            | Method::Get
            | Method::Delete
            | Method::BatchPut
            | Method::BatchGet
            | Method::Transaction
            | Method::Query
            | Method::Incr => &[Plane::Data],
            Method::Subscribe | Method::Unsubscribe => &[Plane::Data, Plane::Evaluation],
            Method::Evaluate | Method::EvaluateBatch | Method::GetFeatureFlags => &[Plane::Evaluation],
            Method::ListPolicies | Method::GetSubtree => &[Plane::Evaluation, Plane::Control],
            Method::Sync
            | Method::List
            | Method::Stats
            | Method::Metadata
            | Method::Policies
            | Method::UpdatePolicy
            | Method::Peers
            | Method::Repair
            | Method::RemovePeer
            | Method::RotateKey => &[Plane::Control],
        }
    }

    /// What helps who asked for it on a plane that does not have it.
    pub(crate) fn hint(self, plane: Plane) -> Option<&'static str> {
        match (self, plane) {
            (Method::UpdateData, Plane::Control) => Some("facts are written with `put` on the data plane"),
            (method, _) => match method.planes() {
                [Plane::Data] => Some("this is a method of the data plane"),
                [Plane::Evaluation] => Some("this is a method of the evaluation plane"),
                [Plane::Control] => Some("this is a method of the control plane"),
                _ => None,
            },
        }
    }

    /// Whether it changes facts.
    #[must_use]
    pub fn writes_facts(self) -> bool {
        matches!(
            self,
            Method::Put | Method::UpdateData | Method::Delete | Method::BatchPut | Method::Transaction | Method::Incr
        )
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
