//! States and cells as bytes: compact, and the same on every machine.
//!
//! ```text
//! state   origins cells                      origins  count, then (node, incarnation, seq) each
//! cells   count, then cell each              cell     origin's place, seq, tags, [element], hlc, created, [expires], body
//! ```
//! Numbers are LEB128 but incarnations, which are random and have eight bytes; texts have their length before them. An
//! origin with seq 0 is one that the context does not have.

use std::sync::Arc;

use crate::{
    causality::{Dot, NodeId, Origin, VersionVector},
    clock::{Hlc, Millis},
    state::{Body, Cell, Part, State},
};

const ELEMENT: u8 = 1;
const EXPIRES: u8 = 2;
const VALUE: u8 = 0;
const COUNT: u8 = 4;
const TOMBSTONE: u8 = 8;
const BODIES: u8 = 12;

/// What is not an encoding that this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no encoding of a {0}")]
pub(super) struct Malformed(pub(super) &'static str);

pub(super) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn write_state(out: &mut Vec<u8>, state: &State) {
    let mut origins: Vec<(&Origin, u64)> = state.context().iter().collect();
    write(out, &mut origins, state.cells());
}

pub(super) fn write_cell(out: &mut Vec<u8>, cell: &Cell) {
    write(out, &mut Vec::with_capacity(1), std::slice::from_ref(cell));
}

fn write<'a>(out: &mut Vec<u8>, origins: &mut Vec<(&'a Origin, u64)>, cells: &'a [Cell]) {
    for cell in cells {
        if place(origins, &cell.dot.origin).is_none() {
            origins.push((&cell.dot.origin, 0));
        }
    }
    write_number(out, origins.len() as u64);
    for (origin, seq) in origins.iter() {
        write_bytes(out, origin.node.as_str().as_bytes());
        out.extend_from_slice(&origin.incarnation.to_le_bytes());
        write_number(out, *seq);
    }
    write_number(out, cells.len() as u64);
    for cell in cells {
        write_one(out, place(origins, &cell.dot.origin).unwrap_or_default(), cell);
    }
}

fn place(origins: &[(&Origin, u64)], origin: &Origin) -> Option<u64> {
    origins.iter().position(|(other, _)| *other == origin).map(|place| place as u64)
}

fn write_one(out: &mut Vec<u8>, origin: u64, cell: &Cell) {
    write_number(out, origin);
    write_number(out, cell.dot.seq);
    let body = match cell.body {
        Body::Value(_) => VALUE,
        Body::Count { .. } => COUNT,
        Body::Tombstone => TOMBSTONE,
    };
    let part = if cell.part == Part::Whole { 0 } else { ELEMENT };
    let expires = if cell.expires_at.is_some() { EXPIRES } else { 0 };
    out.push(body | part | expires);
    if let Part::Element(id) = &cell.part {
        write_bytes(out, id.as_bytes());
    }
    write_number(out, cell.hlc.as_u64());
    write_number(out, cell.created_at.0);
    if let Some(time) = cell.expires_at {
        write_number(out, time.0);
    }
    match &cell.body {
        Body::Value(json) => write_bytes(out, json.as_bytes()),
        Body::Count { added, taken } => {
            write_number(out, *added);
            write_number(out, *taken);
        }
        Body::Tombstone => {}
    }
}

/// Reads from the front of what is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return (bits << shift >> shift == bits).then_some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

pub(super) fn read_state(bytes: &[u8]) -> Result<State, Malformed> {
    let (origins, cells) = read(bytes).ok_or(Malformed("state"))?;
    let context: VersionVector = origins.into_iter().collect();
    let count = cells.len();
    let state = State::new(context, cells);
    if state.cells().len() == count { Ok(state) } else { Err(Malformed("state")) }
}

pub(super) fn read_cell(bytes: &[u8]) -> Result<Cell, Malformed> {
    let (_, cells) = read(bytes).ok_or(Malformed("cell"))?;
    let [cell] = <[Cell; 1]>::try_from(cells).map_err(|_| Malformed("cell"))?;
    Ok(cell)
}

type Parts = (Vec<(Origin, u64)>, Vec<Cell>);

fn read(bytes: &[u8]) -> Option<Parts> {
    let mut bytes = Bytes(bytes);
    // A count may be anything; what is there bounds what is kept.
    let count = bytes.number()?;
    let mut origins = Vec::with_capacity(usize::try_from(count).ok()?.min(16));
    for _ in 0..count {
        let node = NodeId::new(bytes.text()?).ok()?;
        let incarnation = u64::from_le_bytes(bytes.array()?);
        origins.push((Origin { node, incarnation }, bytes.number()?));
    }
    let count = bytes.number()?;
    let mut cells = Vec::with_capacity(usize::try_from(count).ok()?.min(16));
    for _ in 0..count {
        cells.push(read_one(&mut bytes, &origins)?);
    }
    bytes.is_empty().then_some((origins, cells))
}

fn read_one(bytes: &mut Bytes<'_>, origins: &[(Origin, u64)]) -> Option<Cell> {
    let (origin, _) = origins.get(usize::try_from(bytes.number()?).ok()?)?;
    let seq = bytes.number()?;
    let [tags] = bytes.array()?;
    let part = if tags & ELEMENT == 0 { Part::Whole } else { Part::Element(bytes.text()?.into()) };
    let hlc = Hlc::from_u64(bytes.number()?)?;
    let created_at = Millis(bytes.number()?);
    let expires_at = if tags & EXPIRES == 0 { None } else { Some(Millis(bytes.number()?)) };
    let body = match tags & BODIES {
        VALUE => Body::Value(Arc::from(bytes.text()?)),
        COUNT => Body::Count { added: bytes.number()?, taken: bytes.number()? },
        TOMBSTONE => Body::Tombstone,
        _ => return None,
    };
    let known = tags & !(ELEMENT | EXPIRES | BODIES) == 0;
    known.then(|| Cell { dot: Dot { origin: origin.clone(), seq }, part, hlc, created_at, expires_at, body })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn cell(node: &str, seq: u64, part: Part, expires_at: Option<u64>, body: Body) -> Cell {
        let origin = Origin { node: NodeId::new(node).unwrap(), incarnation: u64::MAX - 7 };
        let (hlc, created_at) = (Hlc::from_u64(900_719_925_474_099).unwrap(), Millis(1_800_000_000_000));
        Cell { dot: Dot { origin, seq }, part, hlc, created_at, expires_at: expires_at.map(Millis), body }
    }

    fn state(cells: Vec<Cell>) -> State {
        let seen = Origin { node: NodeId::new("gone").unwrap(), incarnation: 0 };
        State::new([(seen, 300)].into_iter().collect(), cells)
    }

    #[test]
    fn what_is_written_is_read() {
        let element = |id: &str| Part::Element(id.into());
        let check = |cells: Vec<Cell>| {
            let (state, mut out) = (state(cells), Vec::new());
            write_state(&mut out, &state);
            assert_eq!(read_state(&out), Ok(state.clone()));
            for cell in state.cells() {
                let mut out = Vec::new();
                write_cell(&mut out, cell);
                assert_eq!(read_cell(&out).as_ref(), Ok(cell));
            }
        };
        check(vec![]);
        check(vec![cell("a", 1, Part::Whole, None, Body::Tombstone)]);
        check(vec![cell("a", u64::MAX, Part::Whole, Some(u64::MAX), Body::Value("{\"ü\":1}".into()))]);
        check(vec![
            cell("a", 1, Part::Whole, Some(0), Body::Count { added: u64::MAX, taken: 0 }),
            cell("b", 128, element(""), None, Body::Value("".into())),
            cell("b", 128, element("x"), Some(1), Body::Value("1".into())),
        ]);
    }

    #[test]
    fn a_number_has_one_length() {
        for number in [0, 1, 127, 128, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            write_number(&mut out, number);
            assert_eq!(Bytes(&out).number(), Some(number));
            let last = out.pop().unwrap();
            assert_eq!(Bytes(&out).number(), None, "{number} cut off after {last}");
        }
        assert_eq!(Bytes(&[0xff; 11]).number(), None);
        assert_eq!(Bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).number(), None);
    }

    #[test]
    fn a_part_of_an_encoding_is_none() {
        let mut out = Vec::new();
        write_state(&mut out, &state(vec![cell("a", 1, Part::Whole, Some(7), Body::Value("[1,2,3]".into()))]));
        for end in 0..out.len() {
            assert_eq!(read_state(&out[..end]), Err(Malformed("state")), "the first {end} bytes");
        }
        out.push(0);
        assert_eq!(read_state(&out), Err(Malformed("state")));
    }

    proptest! {
        #[test]
        fn other_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read_state(&bytes), read_cell(&bytes));
        }
    }
}
