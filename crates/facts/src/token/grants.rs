use std::collections::BTreeSet;

use super::Holder;
use crate::{
    key::{FactKey, Pattern},
    protocol::{Method, Plane, ProtocolError, Refusal, Request},
};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Holder(Holder),
    /// Whoever reaches a socket that asks for no token, as its operator chose: they may all that its plane can.
    Anyone,
}

/// What of the facts is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    Key(&'a FactKey),
    Pattern(&'a Pattern),
    Nothing,
}

impl Scope<'_> {
    fn is_within(self, pattern: &Pattern) -> bool {
        match self {
            Scope::Key(key) => pattern.matches(key),
            Scope::Pattern(asked) => pattern.contains(asked),
            Scope::Nothing => false,
        }
    }

    fn namespace(self) -> Option<String> {
        match self {
            Scope::Key(key) => Some(key.namespace().to_owned()),
            Scope::Pattern(pattern) => Some(pattern.to_string().split('.').next().unwrap_or_default().to_owned()),
            Scope::Nothing => None,
        }
    }
}

/// Who writes and who reads the keys that match a pattern, by the names of services. Writers do not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRule {
    pub pattern: Pattern,
    pub writers: BTreeSet<String>,
    pub readers: BTreeSet<String>,
}

/// What services may do with facts. Without rules: nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    /// Services that write at all. `None`: all that a rule names.
    pub allowed_writers: Option<BTreeSet<String>>,
    /// Whether a write needs a rule that names the service; reads always do.
    pub enforce_namespaces: bool,
    pub rules: Vec<NamespaceRule>,
}

impl Default for Grants {
    fn default() -> Grants {
        Grants { allowed_writers: None, enforce_namespaces: true, rules: Vec::new() }
    }
}

impl Grants {
    /// Whether tokens of the holder's kind serve on the plane.
    ///
    /// # Errors
    /// [`ProtocolError::Unauthorized`].
    pub fn admit(caller: &Caller, plane: Plane) -> Result<(), ProtocolError> {
        match (plane, caller) {
            (_, Caller::Anyone)
            | (Plane::Data, Caller::Holder(Holder::Service(_) | Holder::Admin))
            | (Plane::Evaluation, Caller::Holder(Holder::App(_)))
            | (Plane::Control, Caller::Holder(Holder::Admin)) => Ok(()),
            _ => Err(ProtocolError::Unauthorized { reason: Refusal::TokenKind, namespace: None }),
        }
    }

    /// Whether the caller may, of one key or pattern.
    ///
    /// # Errors
    /// [`ProtocolError::MethodNotFound`]: the plane has no such method, whoever asks.
    /// [`ProtocolError::Unauthorized`].
    pub fn may(&self, caller: &Caller, plane: Plane, method: Method, scope: Scope<'_>) -> Result<(), ProtocolError> {
        if !method.planes().contains(&plane) {
            let hint = method.hint(plane);
            return Err(ProtocolError::MethodNotFound { method: method.name().to_owned(), hint });
        }
        Grants::admit(caller, plane)?;
        let is_free = matches!(method, Method::Hello | Method::Ping | Method::Unsubscribe);
        if plane != Plane::Data || is_free || *caller == Caller::Anyone {
            return Ok(());
        }
        let refused = |reason| Err(ProtocolError::Unauthorized { reason, namespace: scope.namespace() });
        match (caller, method.writes_facts()) {
            (Caller::Holder(Holder::Admin), false) => Ok(()),
            (Caller::Holder(Holder::Service(name)), false) if self.reads(name, scope) => Ok(()),
            (Caller::Holder(Holder::Service(name)), true) => {
                if self.allowed_writers.as_ref().is_some_and(|allowed| !allowed.contains(name)) {
                    return refused(Refusal::Writer);
                }
                if self.writes(name, scope) { Ok(()) } else { refused(Refusal::Namespace) }
            }
            (Caller::Holder(Holder::Admin), true) => refused(Refusal::TokenKind),
            _ => refused(Refusal::Namespace),
        }
    }

    /// Whether the caller may all that the request asks: one key that is not allowed refuses the whole of it.
    ///
    /// # Errors
    /// As [`Grants::may`].
    pub fn authorize(&self, caller: &Caller, plane: Plane, request: &Request) -> Result<(), ProtocolError> {
        let method = request.method();
        let keys = request.keys();
        if let Some(pattern) = request.pattern() {
            return self.may(caller, plane, method, Scope::Pattern(pattern));
        }
        if keys.is_empty() {
            return self.may(caller, plane, method, Scope::Nothing);
        }
        keys.into_iter().try_for_each(|key| self.may(caller, plane, method, Scope::Key(key)))
    }

    fn reads(&self, service: &str, scope: Scope<'_>) -> bool {
        self.rules.iter().any(|rule| rule.readers.contains(service) && scope.is_within(&rule.pattern))
    }

    fn writes(&self, service: &str, scope: Scope<'_>) -> bool {
        !self.enforce_namespaces
            || self.rules.iter().any(|rule| rule.writers.contains(service) && scope.is_within(&rule.pattern))
    }
}
