//! How a record lies in a log file:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the payload, little-endian; the highest bits are zero, kept for erased records |
//! | 4 | CRC-32C over the length, the salt and the payload |
//! | 16 | salt |
//! | length | payload: one JSON object |
//!
//! The checksum finds accidents; the hashes find intent. A record's leaf is `SHA-256(0x00 ‖ salt ‖ payload)`: without
//! the salt nobody can guess an erased record's content from its leaf.

use crate::{Hash, merkle::leaf_hash};

pub(crate) const SALT_BYTES: usize = 16;
pub(crate) const HEADER_BYTES: usize = 8 + SALT_BYTES;
/// Largest payload. The texts in a record are cut long before; a record beyond it is refused, not cut.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// One record as it lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub salt: &'a [u8],
    pub payload: &'a [u8],
}

impl Frame<'_> {
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    pub fn leaf(&self) -> Hash {
        leaf_hash(&[self.salt, self.payload])
    }
}

/// What stands at the front of some bytes of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Frame(Frame<'a>),
    /// A frame may begin here, but the bytes end before it does.
    Short,
    /// The length is impossible.
    BadLength,
    /// The checksum does not fit; `length` bytes would be the frame.
    BadChecksum {
        length: usize,
    },
}

/// Reads the frame at the front of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Step<'_> {
    let Some((length, checksum, rest)) = split_header(bytes) else { return Step::Short };
    let payload_bytes = u32::from_le_bytes(length) as usize;
    if payload_bytes == 0 || payload_bytes > PAYLOAD_BYTES_MAX {
        return Step::BadLength;
    }
    let Some((body, _)) = rest.split_at_checked(SALT_BYTES + payload_bytes) else { return Step::Short };
    if crc32c::crc32c_append(crc32c::crc32c(&length), body) != checksum {
        return Step::BadChecksum { length: HEADER_BYTES + payload_bytes };
    }
    match body.split_at_checked(SALT_BYTES) {
        Some((salt, payload)) => Step::Frame(Frame { salt, payload }),
        None => Step::Short,
    }
}

/// Splits a frame that [`read`] has seen, without its checksum being computed again.
pub(crate) fn split(bytes: &[u8]) -> Option<Frame<'_>> {
    let (_, body) = bytes.split_at_checked(8)?;
    let (salt, payload) = body.split_at_checked(SALT_BYTES)?;
    Some(Frame { salt, payload })
}

fn split_header(bytes: &[u8]) -> Option<([u8; 4], u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    Some((*length, u32::from_le_bytes(*checksum), rest))
}

/// The offset of the first whole frame in `bytes`, looking at every byte.
pub(crate) fn find(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|at| bytes.get(*at..).is_some_and(|rest| matches!(read(rest), Step::Frame(_))))
}

/// Appends the header for a payload to come, salt included; [`close`] fills in the rest.
pub(crate) fn open(buffer: &mut Vec<u8>, salt: &[u8; SALT_BYTES]) {
    buffer.extend_from_slice(&[0; 8]);
    buffer.extend_from_slice(salt);
}

/// Completes the frame that begins at `start` and ends with the buffer; returns its leaf. `None` if it is too large.
pub(crate) fn close(buffer: &mut [u8], start: usize) -> Option<Hash> {
    let frame = buffer.get_mut(start..)?;
    let (header, body) = frame.split_at_mut_checked(8)?;
    let payload_bytes = body.len().checked_sub(SALT_BYTES)?;
    if payload_bytes == 0 || payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(payload_bytes).ok()?.to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), body).to_le_bytes();
    let (first, second) = header.split_at_mut_checked(4)?;
    first.copy_from_slice(&length);
    second.copy_from_slice(&checksum);
    let (salt, payload) = body.split_at_checked(SALT_BYTES)?;
    Some(leaf_hash(&[salt, payload]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        open(&mut bytes, &[9; SALT_BYTES]);
        bytes.extend_from_slice(payload);
        close(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn frames_read_back_and_every_flip_shows() {
        let bytes = frame(b"{\"a\":1}");
        let Step::Frame(read_back) = read(&bytes) else { panic!("no frame") };
        assert_eq!((read_back.payload, read_back.bytes()), (b"{\"a\":1}".as_slice(), bytes.len()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                assert!(!matches!(read(&bent), Step::Frame(_)), "byte {at}, bit {bit}");
            }
            assert_eq!(read(&bytes[..at]), Step::Short);
        }
    }

    #[test]
    fn the_next_whole_frame_is_found_behind_rubbish() {
        let mut bytes = vec![1, 2, 3, 0, 0, 0, 7];
        bytes.extend(frame(b"{}"));
        assert_eq!(find(&bytes), Some(7));
        assert_eq!(find(&bytes[..20]), None);
    }
}
