//! Credentials: API keys, kept hashed in one file, and tokens of a trusted issuer. What they prove is an `Identity`;
//! what that may do is the policy's to say.

mod authenticator;
mod file;
mod record;
mod ring;
mod text;
mod token;

pub(crate) use self::{
    authenticator::{CredentialEvent, Credentials, own_identity},
    file::{KeyFile, KeyFileError},
    record::{KeyRecord, KeyRequest},
    ring::KeyChange,
    text::{ApiKey, kind_name},
    token::TokenSettings,
};
