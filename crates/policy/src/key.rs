use std::fmt;

use ed25519_dalek::{
    Signer, SigningKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use sha2::{Digest, Sha256};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the system gave no random bytes: {0}")]
    NoRandomness(String),
    #[error("not an Ed25519 key in PEM (PKCS #8, RFC 8410): {0}")]
    Malformed(String),
}

/// The secret half of the key that signs bundles. Its `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct BundleKey(SigningKey);

impl BundleKey {
    /// # Errors
    /// [`KeyError::NoRandomness`] when the operating system's generator fails.
    pub fn generate() -> Result<BundleKey, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| KeyError::NoRandomness(error.to_string()))?;
        Ok(BundleKey(SigningKey::from_bytes(&seed)))
    }

    /// # Errors
    /// [`KeyError::Malformed`] when the text is not such a key.
    pub fn from_pem(pem: &str) -> Result<BundleKey, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(BundleKey).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// The secret key as text; keep it in a file that only its owner reads.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Malformed(error.to_string()))?;
        Ok(pem.as_str().to_owned())
    }

    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Of the public half: see [`VerifyingKey::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.verifying_key().fingerprint()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for BundleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BundleKey({})", self.fingerprint())
    }
}

/// The public half, which a data plane holds.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// # Errors
    /// [`KeyError::Malformed`] when the text is not such a key.
    pub fn from_pem(pem: &str) -> Result<VerifyingKey, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(pem);
        key.map(VerifyingKey).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// # Errors
    /// [`KeyError::Malformed`] when it cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::Malformed(error.to_string()))
    }

    /// The first 16 bytes of SHA-256 over the 32 bytes of the public key, in hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(self.0.as_bytes()).iter().take(16).copied().collect::<Vec<u8>>())
    }

    /// Strict verification (`verify_strict`): no signature that another verifier might read differently.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.fingerprint())
    }
}
