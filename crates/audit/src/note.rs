//! Signed notes (c2sp.org/signed-note) with Ed25519 signatures.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{AuditError, Hash};

const ED25519: u8 = 1;
/// An em dash and a space begin each signature line.
const SIGNATURE: &str = "\u{2014} ";

/// A key that signs notes under a name.
#[derive(Debug, Clone)]
pub(crate) struct NoteSigner {
    verifier: NoteVerifier,
    key: SigningKey,
}

/// A public key with the name it signs under. Its text form is the `vkey` of the C2SP specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoteVerifier {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl NoteSigner {
    pub fn new(name: &str, key: SigningKey) -> Result<NoteSigner, AuditError> {
        let refuse = |what| Err(AuditError::Origin { origin: name.chars().take(80).collect(), what });
        if name.is_empty() || name.len() > 255 {
            return refuse("a name is 1 to 255 bytes");
        }
        if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return refuse("a name holds no space, control character or `+`");
        }
        Ok(NoteSigner { verifier: NoteVerifier::new(name, key.verifying_key()), key })
    }

    pub fn verifier(&self) -> &NoteVerifier {
        &self.verifier
    }

    /// The note over `text`, which ends with a line feed.
    pub fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id.to_vec();
        signature.extend_from_slice(&self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n{SIGNATURE}{} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

impl NoteVerifier {
    pub fn new(name: &str, key: VerifyingKey) -> NoteVerifier {
        NoteVerifier { name: name.to_owned(), id: key_id(name, &key), key }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// `<name>+<key id>+<base64 of algorithm and key>`.
    pub fn vkey(&self) -> String {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        format!("{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }

    pub fn from_vkey(text: &str) -> Option<NoteVerifier> {
        let (name, rest) = text.split_once('+')?;
        let (id, key) = rest.split_once('+')?;
        let key = STANDARD.decode(key).ok()?;
        let (&algorithm, key) = key.split_first()?;
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        let verifier = NoteVerifier::new(name, key);
        (algorithm == ED25519 && id == hex::encode(verifier.id)).then_some(verifier)
    }

    /// The text of a note, if this key signed it. Signatures of other keys are passed over, as witnesses add theirs.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, &'static str> {
        let at = note.rfind("\n\n").ok_or("it has no signature")?;
        let (text, signatures) = note.split_at_checked(at + 1).ok_or("it has no signature")?;
        let signatures = signatures.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let mut known = false;
        for line in signatures.ok_or("its signature line is not ended")?.split('\n') {
            let signature = line.strip_prefix(SIGNATURE).and_then(|line| line.rsplit_once(' '));
            let (name, signature) = signature.ok_or("it has a malformed signature line")?;
            let signature = STANDARD.decode(signature).map_err(|_| "it has a malformed signature")?;
            let Some((id, signature)) = signature.split_at_checked(4) else {
                return Err("it has a malformed signature");
            };
            if name != self.name || id != self.id {
                continue;
            }
            let signature = Signature::from_slice(signature).map_err(|_| "it has a malformed signature")?;
            self.key.verify_strict(text.as_bytes(), &signature).map_err(|_| "its signature does not fit its text")?;
            known = true;
        }
        if known { Ok(text) } else { Err("the journal's key did not sign it") }
    }
}

fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Hash::of(&[name.as_bytes(), b"\n", &[ED25519], key.as_bytes()]);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in the documentation of Go's `note` package, where the format comes from.
    #[test]
    fn notes_of_other_programs_open() {
        let verifier =
            NoteVerifier::from_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let note = format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        assert_eq!(verifier.open(&note), Ok(text));
        assert!(verifier.open(&note.replace("problem is", "problem was")).is_err());
    }

    #[test]
    fn every_flipped_byte_of_a_note_shows() {
        let signer = NoteSigner::new("weir.test/audit", SigningKey::from_bytes(&[7; 32])).unwrap();
        let verifier = NoteVerifier::from_vkey(&signer.verifier().vkey()).unwrap();
        let note = signer.sign("weir.test/audit\n3\nroot\n");
        assert_eq!(verifier.open(&note), Ok("weir.test/audit\n3\nroot\n"));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let opened = std::str::from_utf8(&bytes).map(|note| verifier.open(note).is_ok());
                assert_ne!(opened, Ok(true), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn names_that_would_break_the_format_are_refused() {
        for bad in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
            assert!(NoteSigner::new(bad, SigningKey::from_bytes(&[7; 32])).is_err(), "{bad:?}");
        }
    }
}
