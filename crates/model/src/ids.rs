use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

mod random;

macro_rules! time_ordered_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh, time-ordered id (UUID version 7, RFC 9562).
            #[must_use]
            pub fn fresh() -> $name {
                $name(random::fresh_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

time_ordered_id! {
    /// One authenticated connection.
    SessionId
}
time_ordered_id! {
    /// One statement that entered the gates.
    StatementId
}

/// The public part of a credential: an API key's id or a JWT's `jti`/`kid`; never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CredentialId(pub String);

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
