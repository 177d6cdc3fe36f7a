//! Frames: the commits of one group, as the bytes of one write.
//!
//! `length: u32` of the payload, `crc: u32` (CRC-32C of all that follows it, padding excepted), `lsn: u64` of the first
//! commit, `time: i64` of the commits in microseconds since 1970 UTC; then the payload: for each commit a `u32` length
//! and its record; then zeros up to a multiple of eight bytes. LSNs within a frame count up by one. All integers are
//! little endian.

use crate::columns::{Malformed, Reader, encode_block};

pub(crate) const HEADER_BYTES: usize = 24;
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

#[derive(Debug)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    first_lsn: u64,
    time: i64,
    records: u64,
}

impl FrameBuilder {
    pub fn new(first_lsn: u64, time: i64) -> FrameBuilder {
        FrameBuilder { bytes: vec![0; HEADER_BYTES], first_lsn, time, records: 0 }
    }

    /// Whether the record still fits the frame's length field.
    pub fn has_room(&self, record: &[u8]) -> bool {
        u32::try_from(self.bytes.len() + record.len() + HEADER_BYTES).is_ok()
    }

    /// Gives the record its LSN.
    pub fn push(&mut self, record: &[u8]) -> Result<u64, Malformed> {
        encode_block(record, &mut self.bytes)?;
        let lsn = self.first_lsn + self.records;
        self.records += 1;
        Ok(lsn)
    }

    pub fn records(&self) -> u64 {
        self.records
    }

    pub fn finish(mut self) -> Result<Vec<u8>, Malformed> {
        let payload = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
        let length = u32::try_from(payload.len()).map_err(|_| "a group of commits is longer than 4 GiB".to_owned())?;
        let crc = checksum(self.first_lsn, self.time, payload);
        let header = [
            length.to_le_bytes().as_slice(),
            &crc.to_le_bytes(),
            &self.first_lsn.to_le_bytes(),
            &self.time.to_le_bytes(),
        ]
        .concat();
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        let padded = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(padded, 0);
        Ok(self.bytes)
    }
}

fn checksum(lsn: u64, time: i64, payload: &[u8]) -> u32 {
    let header = crc32c::crc32c_append(crc32c::crc32c(&lsn.to_le_bytes()), &time.to_le_bytes());
    crc32c::crc32c_append(header, payload)
}

/// A sound frame.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub first_lsn: u64,
    pub time: i64,
    /// With padding.
    pub bytes: usize,
    payload: &'a [u8],
}

/// What lies at a place in a log file.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// Zeros or nothing, as far as a header reaches.
    End,
    Damaged(&'static str),
}

impl<'a> Frame<'a> {
    pub fn read(bytes: &'a [u8]) -> Found<'a> {
        let Some((header, rest)) = bytes.split_at_checked(HEADER_BYTES) else {
            return if bytes.iter().all(|&byte| byte == 0) { Found::End } else { Found::Damaged("a cut header") };
        };
        if header.iter().all(|&byte| byte == 0) {
            return Found::End;
        }
        let mut fields = Reader { bytes: header };
        let (Ok(length), Ok(crc), Ok(first_lsn), Ok(time)) = (fields.u32(), fields.u32(), fields.u64(), fields.i64())
        else {
            return Found::Damaged("a cut header");
        };
        let Some(payload) = rest.get(..length as usize) else { return Found::Damaged("a frame longer than its file") };
        if checksum(first_lsn, time, payload) != crc {
            return Found::Damaged("a frame whose checksum does not fit");
        }
        let padded = (HEADER_BYTES + payload.len()).next_multiple_of(ALIGNMENT);
        Found::Frame(Frame { first_lsn, time, bytes: padded, payload })
    }

    /// LSNs and records.
    pub fn records(&self) -> impl Iterator<Item = Result<(u64, &'a [u8]), Malformed>> {
        let mut reader = Reader { bytes: self.payload };
        let mut lsn = self.first_lsn;
        std::iter::from_fn(move || {
            if reader.bytes.is_empty() {
                return None;
            }
            let record = reader.block();
            if record.is_err() {
                reader.bytes = &[];
            }
            let item = record.map(|record| (lsn, record));
            lsn += 1;
            Some(item)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Vec<u8> {
        let mut builder = FrameBuilder::new(7, -5);
        builder.push(b"one").unwrap();
        builder.push(b"").unwrap();
        builder.push(b"three").unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn frames_read_back() {
        let bytes = frame();
        let Found::Frame(frame) = Frame::read(&bytes) else { panic!("no frame") };
        assert_eq!((frame.bytes, frame.time), (bytes.len(), -5));
        let records: Vec<_> = frame.records().map(Result::unwrap).collect();
        assert_eq!(records, [(7, b"one".as_slice()), (8, b""), (9, b"three")]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_shows() {
        let bytes = frame();
        let unpadded = bytes.len() - bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        for bit in 0..unpadded * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Frame::read(&altered), Found::Damaged(_)), "bit {bit}");
        }
        for length in 1..unpadded {
            assert!(matches!(Frame::read(&bytes[..length]), Found::Damaged(_)), "{length}");
        }
        assert!(matches!(Frame::read(&[]), Found::End));
        assert!(matches!(Frame::read(&[0; 64]), Found::End));
    }
}
