//! Who a connection's client is, and whether it may what it asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{Peer, Rights, Serving, WitnessedRefusal, WitnessedRequest};
use crate::{
    clock::Millis,
    protocol::{Bearer, Head, Method, Plane, ProtocolError, Refusal, Request, Surface},
    token::{Caller, Holder},
};

/// How long a token that was good is taken to be: it may expire meanwhile.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Writes that were allowed, of all connections.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Lasts as long as one head's request: a stream, or one POST.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) surface: Arc<Surface>,
    caller: Caller,
    bearer: Option<Bearer>,
    rights: Arc<Rights>,
    checked_at: Instant,
    peer: Option<Peer>,
}

impl Session {
    /// # Errors
    /// [`ProtocolError::Unauthorized`].
    pub(super) fn open(serving: &Serving, head: &Head, peer: Option<Peer>) -> Result<Session, ProtocolError> {
        let rights = serving.authority.current();
        let caller = if is_let_in(serving, peer) {
            admit(serving, &rights, head.bearer.as_ref(), head.plane)
        } else {
            Err(ProtocolError::Unauthorized { reason: Refusal::User, namespace: None })
        };
        let caller = caller.inspect_err(|error| {
            let refusal = WitnessedRefusal { peer, caller: None, plane: head.plane, method: None, key: None, error };
            serving.witness.refused(&refusal);
        })?;
        Ok(Session {
            surface: serving.surface(head.plane),
            caller,
            bearer: head.bearer.clone(),
            rights,
            checked_at: Instant::now(),
            peer,
        })
    }

    /// The application that asks; `None` when the socket asks for no token.
    pub(super) fn app(&self) -> Option<&str> {
        if let Caller::Holder(Holder::App(name)) = &self.caller { Some(name) } else { None }
    }

    /// Looks again whether the caller is still one, when that may have changed.
    ///
    /// # Errors
    /// [`ProtocolError::Unauthorized`].
    pub(super) fn renew(&mut self, serving: &Serving) -> Result<(), ProtocolError> {
        let rights = serving.authority.current();
        if Arc::ptr_eq(&rights, &self.rights) && self.checked_at.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        self.caller = admit(serving, &rights, self.bearer.as_ref(), self.surface.plane)?;
        (self.rights, self.checked_at) = (rights, Instant::now());
        Ok(())
    }

    /// Whether the request may be done now.
    ///
    /// # Errors
    /// [`ProtocolError::Unauthorized`], [`ProtocolError::RateLimited`].
    pub(super) fn allow(&mut self, serving: &Serving, request: &Request) -> Result<(), ProtocolError> {
        let allowed = self.renew(serving).and_then(|()| {
            if let Caller::Holder(holder @ Holder::App(_)) = &self.caller {
                serving.rate.take(holder, Instant::now())?;
            }
            self.rights.grants.authorize(&self.caller, self.surface.plane, request)
        });
        match allowed {
            Ok(()) => {
                self.witness(serving, request);
                Ok(())
            }
            Err(error) => {
                let key = request.keys().into_iter().next();
                serving.witness.refused(&WitnessedRefusal {
                    peer: self.peer,
                    caller: Some(&self.caller),
                    plane: self.surface.plane,
                    method: Some(request.method()),
                    key,
                    error: &error,
                });
                Err(error)
            }
        }
    }

    /// Whether a request that was allowed still would be.
    pub(super) fn still_allows(&mut self, serving: &Serving, request: &Request) -> bool {
        self.renew(serving).is_ok() && self.rights.grants.authorize(&self.caller, self.surface.plane, request).is_ok()
    }

    fn witness(&self, serving: &Serving, request: &Request) {
        let method = request.method();
        let is_controlled = self.surface.plane == Plane::Control && !matches!(method, Method::Hello | Method::Ping);
        let every = u64::from(serving.config.witness_writes_every);
        let is_sampled =
            method.writes_facts() && every > 0 && WRITES.fetch_add(1, Ordering::Relaxed).is_multiple_of(every);
        if !is_controlled && !is_sampled {
            return;
        }
        let keys = request.keys();
        let plane = self.surface.plane;
        let (key, keys) = (keys.first().copied(), keys.len());
        let seen = WitnessedRequest { peer: self.peer, caller: &self.caller, plane, method, key, keys };
        if is_controlled { serving.witness.controlled(&seen) } else { serving.witness.wrote(&seen) }
    }
}

fn is_let_in(serving: &Serving, peer: Option<Peer>) -> bool {
    match (&serving.config.users, peer) {
        (Some(users), Some(Peer::Process { user, .. })) => users.contains(&user),
        // Of others than Unix sockets nothing is known but their tokens.
        _ => true,
    }
}

fn admit(serving: &Serving, rights: &Rights, token: Option<&Bearer>, plane: Plane) -> Result<Caller, ProtocolError> {
    if !serving.config.needs_token {
        return Ok(Caller::Anyone);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rights.admit(token, plane, Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
