use std::fmt;

use async_trait::async_trait;
use weir_model::{ClientAddress, Code, Identity, Refusal, Result};

/// What a client gave to prove who it is.
#[derive(Clone, Copy)]
pub struct LoginRequest<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// An API key or a token.
    pub password: &'a str,
    pub client: &'a ClientAddress,
    /// Whether it came over TLS or a Unix socket, rather than loopback in clear text.
    pub secure: bool,
}

/// Leaves the password out.
impl fmt::Debug for LoginRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("client", &self.client)
            .field("secure", &self.secure)
            .finish_non_exhaustive()
    }
}

/// Decides who a client is, from its credential alone.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// # Errors
    ///
    /// [`Code::AuthenticationFailed`] for anything that does not fit: key, user or database. The client is told no
    /// more. Other codes say that the server, not the credential, is at fault, and reach the client as they are.
    async fn authenticate(&self, request: LoginRequest<'_>) -> Result<Identity>;
}

/// One answer to every wrong credential: which part was wrong would tell who and what exists here.
pub(crate) fn uniform(refusal: Refusal, user: &str) -> Refusal {
    match refusal.code() {
        Code::AuthenticationFailed | Code::UnknownDatabase => {
            Refusal::new(Code::AuthenticationFailed, format!("password authentication failed for user \"{user}\""))
                .hint("give the API key or token as password, and the organisation as database")
        }
        _ => refusal,
    }
}
