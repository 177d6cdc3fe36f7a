//! Checkpoints (c2sp.org/tlog-checkpoint): origin, number of records and root, as a signed note.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Hash,
    note::{NoteSigner, NoteVerifier},
};

/// What the journal held when it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    /// Records in the tree.
    pub size: u64,
    pub root: Hash,
}

impl Checkpoint {
    pub(crate) fn sign(&self, signer: &NoteSigner) -> String {
        signer.sign(&format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes())))
    }

    /// Reads a note that `verifier` signed.
    pub(crate) fn open(note: &str, verifier: &NoteVerifier) -> Result<Checkpoint, &'static str> {
        let text = verifier.open(note)?;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let checkpoint = (|| {
            let size = size.filter(|size| *size == "0" || !size.starts_with('0'))?;
            let root: [u8; 32] = STANDARD.decode(root?).ok()?.try_into().ok()?;
            Some(Checkpoint { origin: origin?.to_owned(), size: size.parse().ok()?, root: Hash::from_bytes(root) })
        })();
        let checkpoint = checkpoint.ok_or("it is not a checkpoint")?;
        if checkpoint.origin == verifier.name() { Ok(checkpoint) } else { Err("it is of another journal") }
    }
}

/// One note of the `checkpoints` file: where it starts and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub offset: u64,
    pub end: u64,
    pub checkpoint: Result<Checkpoint, &'static str>,
}

/// What stands between two notes.
pub(crate) const SEPARATOR: &str = "\n";

/// Reads the notes of a `checkpoints` file. After a note that cannot be read, reading goes on with the next that
/// begins with the journal's origin.
pub(crate) fn read_all<'a>(bytes: &'a [u8], verifier: &'a NoteVerifier) -> impl Iterator<Item = Entry> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let (end, checkpoint) = match note_length(rest) {
            Some(length) => {
                let note = rest.get(..length).and_then(|note| std::str::from_utf8(note).ok());
                let checkpoint = note.ok_or("it is not text").and_then(|note| Checkpoint::open(note, verifier));
                (at + length + SEPARATOR.len(), checkpoint)
            }
            None => {
                let marker = format!("\n\n{}\n", verifier.name());
                let next =
                    find(rest.get(1..).unwrap_or_default(), marker.as_bytes()).map_or(rest.len(), |next| next + 3);
                (at + next, Err("it is not a whole signed note"))
            }
        };
        let entry = Entry { offset: at as u64, end: end as u64, checkpoint };
        at = end;
        Some(entry)
    })
}

/// The length of the note at the front: three lines, an empty one, signature lines, and the separator after it.
fn note_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    for _ in 0..3 {
        length += lines.next().filter(|line| line.len() > 1 && line.ends_with(b"\n"))?.len();
    }
    length += lines.next().filter(|line| *line == b"\n")?.len();
    let signatures = length;
    for line in lines {
        if line == b"\n" {
            return (length > signatures).then_some(length);
        }
        length += Some(line.len()).filter(|_| line.starts_with("\u{2014} ".as_bytes()) && line.ends_with(b"\n"))?;
    }
    None
}

fn find(bytes: &[u8], marker: &[u8]) -> Option<usize> {
    bytes.windows(marker.len()).position(|window| window == marker)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn every_flipped_byte_of_a_checkpoints_file_shows_and_spares_the_others() {
        let signer = NoteSigner::new("weir.test/audit", SigningKey::from_bytes(&[7; 32])).unwrap();
        let mut file = String::new();
        for size in [1, 20, 300] {
            let checkpoint = Checkpoint { origin: "weir.test/audit".into(), size, root: Hash::of(&[b"x"]) };
            file += &checkpoint.sign(&signer);
            file += SEPARATOR;
        }
        let read = |bytes: &[u8]| read_all(bytes, signer.verifier()).collect::<Vec<_>>();
        let whole = read(file.as_bytes());
        let sizes: Vec<u64> = whole.iter().map(|entry| entry.checkpoint.as_ref().unwrap().size).collect();
        assert_eq!(sizes, [1, 20, 300]);
        assert_eq!(whole.last().unwrap().end, file.len() as u64);
        for at in 0..file.len() {
            let mut bytes = file.clone().into_bytes();
            bytes[at] ^= 1;
            let entries = read(&bytes);
            assert!(entries.iter().any(|entry| entry.checkpoint.is_err()), "byte {at}");
            let good = entries.iter().filter(|entry| entry.checkpoint.is_ok()).count();
            assert!(good >= 1, "byte {at}: {entries:?}");
        }
        for length in 1..file.len() {
            let complete = whole.iter().any(|entry| entry.end == length as u64);
            assert_eq!(
                read(&file.as_bytes()[..length]).iter().all(|entry| entry.checkpoint.is_ok()),
                complete,
                "{length}"
            );
        }
    }
}
