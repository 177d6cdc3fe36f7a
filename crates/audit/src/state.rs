//! The `state` file: a signed cache from which opening goes on instead of reading the whole log.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Hash,
    chain::{Chains, OpenChain},
    merkle::Frontier,
    note::{NoteSigner, NoteVerifier},
};

/// A log file: the index of its first record and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogFile {
    pub first: u64,
    pub bytes: u64,
}

/// The log at one moment. The file is a signed note whose first line names the journal and whose second is this in
/// JSON. It holds nothing that the log does not: losing it costs time.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub size: u64,
    pub peaks: Vec<Hash>,
    /// The last one grows on.
    pub files: Vec<LogFile>,
    pub open: Vec<(Uuid, OpenChain)>,
}

impl State {
    pub fn of(frontier: &Frontier, files: Vec<LogFile>, chains: &Chains) -> State {
        let open = chains.open().iter().map(|(session, chain)| (*session, chain.clone())).collect();
        State { size: frontier.size(), peaks: frontier.peaks().to_vec(), files, open }
    }

    pub fn sign(&self, signer: &NoteSigner) -> Result<String, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        Ok(signer.sign(&format!("{} state\n{}\n", signer.verifier().name(), STANDARD.encode(json))))
    }

    pub fn open(bytes: &[u8], verifier: &NoteVerifier) -> Result<State, &'static str> {
        let text = verifier.open(std::str::from_utf8(bytes).map_err(|_| "it is not text")?)?;
        let json = text.strip_prefix(verifier.name()).and_then(|text| text.strip_prefix(" state\n"));
        let json = json.and_then(|text| text.strip_suffix('\n')).ok_or("it is not a state")?;
        let json = STANDARD.decode(json).map_err(|_| "it is not a state")?;
        serde_json::from_slice(&json).map_err(|_| "it is not a state")
    }

    pub fn frontier(&self) -> Option<Frontier> {
        Frontier::from_parts(self.size, self.peaks.clone())
    }
}
