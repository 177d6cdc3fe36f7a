use std::sync::Arc;

use async_trait::async_trait;
use weir_model::{Code, Identity, Refusal, Result};
use weir_wire::{Authenticator, LoginRequest};

use super::house::House;

/// What the wire asks at a login.
#[derive(Debug)]
pub(crate) struct Gate {
    house: Arc<House>,
}

impl Gate {
    pub fn new(house: Arc<House>) -> Gate {
        Gate { house }
    }
}

#[async_trait]
impl Authenticator for Gate {
    async fn authenticate(&self, request: LoginRequest<'_>) -> Result<Identity> {
        if !self.house.is_serving() {
            return Err(Refusal::new(Code::ProxyNotReady, "the server is starting").hint("connect again shortly"));
        }
        let credentials = self.house.credentials();
        let LoginRequest { user, database, password, client, .. } = request;
        match credentials.authenticate(user, database, password, client) {
            Some(identity) => Ok(identity),
            None => {
                self.house.journal.durable().await?;
                Err(Refusal::new(Code::AuthenticationFailed, "the credential does not fit"))
            }
        }
    }
}
