use std::sync::Arc;

use parking_lot::RwLock;

use crate::{
    clock::Millis,
    protocol::{Bearer, Plane, ProtocolError, Refusal},
    token::{Caller, Grants, Tokens},
};

/// Who may what.
#[derive(Debug, Default)]
pub struct Rights {
    pub tokens: Tokens,
    pub grants: Grants,
}

/// The rights that hold now. What replaces them counts from each connection's next request on, and ends the streams of
/// those who lost theirs within about a second.
#[derive(Debug, Default)]
pub struct Authority(RwLock<Arc<Rights>>);

impl Authority {
    #[must_use]
    pub fn new(rights: Rights) -> Authority {
        Authority(RwLock::new(Arc::new(rights)))
    }

    pub fn replace(&self, rights: Rights) {
        *self.0.write() = Arc::new(rights);
    }

    #[must_use]
    pub fn current(&self) -> Arc<Rights> {
        Arc::clone(&self.0.read())
    }
}

impl Rights {
    /// Whose the token is, if its holder has anything to do on the plane.
    pub(super) fn admit(&self, token: Option<&Bearer>, plane: Plane, now: Millis) -> Result<Caller, ProtocolError> {
        let nobody = ProtocolError::Unauthorized { reason: Refusal::Token, namespace: None };
        let holder = token.and_then(|token| self.tokens.verify(token, now)).ok_or(nobody)?;
        let caller = Caller::Holder(holder);
        Grants::admit(&caller, plane).map(|()| caller)
    }
}
