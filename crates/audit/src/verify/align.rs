//! What happened to the records of a file, told from the leaves that they should have.

use std::collections::{HashMap, HashSet};

use super::{Fault, log_file::Item};
use crate::Hash;

/// A file whose records are not those that the leaves name.
#[derive(Debug)]
pub(super) struct Diverged {
    pub file: String,
    /// Index of the file's first record.
    pub first: u64,
    found: Vec<Place>,
    stored: Vec<Hash>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    leaf: Option<Hash>,
    damage: Option<&'static str>,
}

/// What became of what stands in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It is the record of this index, in its order.
    Anchor(u64),
    /// It is the record of this index, out of its order.
    Moved(u64),
    /// It is no record that the leaves name.
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Explained {
    pub faults: Vec<Fault>,
    /// Records that are missing with records after them.
    pub removed: u64,
}

impl Diverged {
    pub fn new(file: String, first: u64, items: &[Item], stored: Vec<Hash>) -> Diverged {
        let place = |item: &Item| Place {
            offset: item.offset(),
            leaf: item.leaf(),
            damage: match item {
                Item::Record { .. } => None,
                Item::Damaged { what, .. } => Some(what),
            },
        };
        Diverged { file, first, found: items.iter().map(place).collect(), stored }
    }

    /// For each place, the leaf that was found and the one that is stored.
    pub fn pairs(&self) -> impl Iterator<Item = (Option<Hash>, Option<Hash>)> + '_ {
        let length = self.found.len().max(self.stored.len());
        (0..length).map(|at| (self.found.get(at).and_then(|place| place.leaf), self.stored.get(at).copied()))
    }

    /// Records that can be seen to be damaged without the leaves.
    pub fn damage(&self) -> impl Iterator<Item = Fault> + '_ {
        self.found.iter().enumerate().filter_map(|(at, place)| {
            let index = self.first + at as u64;
            Some(self.fault(Some(place.offset), index, format!("record {index} {}", place.damage?)))
        })
    }

    fn end(&self) -> u64 {
        self.first + self.stored.len() as u64
    }

    fn fault(&self, offset: Option<u64>, record: u64, what: String) -> Fault {
        Fault { file: self.file.clone(), offset, record: Some(record), what }
    }
}

/// Tells swapped, moved, altered, inserted and missing records apart.
pub(super) fn explain(diverged: &[Diverged]) -> Explained {
    let mut index_of = HashMap::new();
    for file in diverged {
        index_of.extend(file.stored.iter().enumerate().map(|(at, leaf)| (*leaf, file.first + at as u64)));
    }
    // Which record stands in which place, places being counted as indexes are.
    let mut record_at = HashMap::new();
    for file in diverged {
        for (at, place) in file.found.iter().enumerate() {
            if let Some(index) = place.leaf.and_then(|leaf| index_of.get(&leaf)) {
                record_at.insert(file.first + at as u64, *index);
            }
        }
    }
    let swapped = |place: u64| {
        let other = record_at.get(&place).copied().filter(|other| *other != place)?;
        (record_at.get(&other) == Some(&place)).then_some(other)
    };
    let mut explained = Explained::default();
    let roles: Vec<Vec<Role>> = diverged.iter().map(|file| roles(file, &record_at, &swapped)).collect();
    let moved: HashSet<u64> = roles
        .iter()
        .flatten()
        .filter_map(|role| if let Role::Moved(index) = role { Some(*index) } else { None })
        .collect();
    for (file, roles) in diverged.iter().zip(&roles) {
        for (at, place) in file.found.iter().enumerate() {
            let here = file.first + at as u64;
            if let Some(other) = swapped(here).filter(|other| here < *other) {
                let what = format!("records {here} and {other} are swapped");
                explained.faults.push(file.fault(Some(place.offset), here, what));
            }
        }
        explain_file(file, roles, &moved, &mut explained);
    }
    explained
}

fn roles(file: &Diverged, record_at: &HashMap<u64, u64>, swapped: &impl Fn(u64) -> Option<u64>) -> Vec<Role> {
    let here = |at: usize| file.first + at as u64;
    let index =
        |at: usize| if swapped(here(at)).is_some() { Some(here(at)) } else { record_at.get(&here(at)).copied() };
    let own = |index: &u64| (file.first..file.end()).contains(index);
    let indexes: Vec<Option<u64>> = (0..file.found.len()).map(index).collect();
    let in_order = longest_rise(&indexes.iter().map(|index| index.filter(own)).collect::<Vec<_>>());
    indexes
        .iter()
        .zip(in_order)
        .map(|(index, in_order)| match index {
            Some(index) if in_order => Role::Anchor(*index),
            Some(index) => Role::Moved(*index),
            None => Role::Unknown,
        })
        .collect()
}

fn explain_file(file: &Diverged, roles: &[Role], moved: &HashSet<u64>, explained: &mut Explained) {
    let mut expected = file.first;
    let mut unknown: Vec<Place> = Vec::new();
    for (place, role) in file.found.iter().zip(roles) {
        match role {
            Role::Unknown => unknown.push(*place),
            Role::Moved(index) => {
                let what = format!("record {index} stands here, out of its order");
                explained.faults.push(file.fault(Some(place.offset), *index, what));
            }
            Role::Anchor(index) => {
                let missing = (expected..*index).filter(|index| !moved.contains(index)).collect();
                explain_gap(file, std::mem::take(&mut unknown), missing, Some(place.offset), explained);
                expected = index + 1;
            }
        }
    }
    let missing = (expected..file.end()).filter(|index| !moved.contains(index)).collect();
    explain_gap(file, unknown, missing, None, explained);
}

/// Between two records in order: `unknown` stands there, `missing` should. `next` is the offset of the one after, or
/// `None` at the file's end.
fn explain_gap(file: &Diverged, unknown: Vec<Place>, missing: Vec<u64>, next: Option<u64>, explained: &mut Explained) {
    for (place, index) in unknown.iter().zip(&missing) {
        let what = match place.damage {
            Some(what) => format!("record {index} {what}"),
            None => format!("record {index} is altered: it is not what was signed"),
        };
        explained.faults.push(file.fault(Some(place.offset), *index, what));
    }
    // Records behind the last leaf are not inserted, only not signed yet.
    let inserted = unknown.get(missing.len()..).unwrap_or_default();
    for place in inserted.iter().filter(|place| next.is_some() || place.damage.is_some()) {
        let what = match place.damage {
            Some(what) => format!("a record here {what}"),
            None => "a record is inserted here: no record like it was signed".to_owned(),
        };
        explained.faults.push(Fault { file: file.file.clone(), offset: Some(place.offset), record: None, what });
    }
    let rest = missing.get(unknown.len().min(missing.len())..).unwrap_or_default();
    for run in rest.chunk_by(|a, b| a + 1 == *b) {
        let (Some(from), Some(to)) = (run.first(), run.last()) else { continue };
        let records = if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") };
        let what = match next {
            Some(_) => format!("{records} missing"),
            None => format!("its end is cut: {records} missing"),
        };
        explained.faults.push(file.fault(next, *from, what));
        explained.removed += if next.is_some() { run.len() as u64 } else { 0 };
    }
}

/// Which places belong to a longest strictly rising sequence of indexes; the fewest others are then out of order.
fn longest_rise(indexes: &[Option<u64>]) -> Vec<bool> {
    // `ends` holds, by length, the place at which a rise of that length ends lowest.
    let mut ends: Vec<(u64, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; indexes.len()];
    for (place, index) in indexes.iter().enumerate() {
        let Some(index) = index else { continue };
        let length = ends.partition_point(|(end, _)| end < index);
        if let Some(before) = before.get_mut(place) {
            *before = length.checked_sub(1).and_then(|shorter| ends.get(shorter)).map(|(_, place)| *place);
        }
        match ends.get_mut(length) {
            Some(end) => *end = (*index, place),
            None => ends.push((*index, place)),
        }
    }
    let mut rise = vec![false; indexes.len()];
    let mut place = ends.last().map(|(_, place)| *place);
    while let Some(at) = place {
        if let Some(member) = rise.get_mut(at) {
            *member = true;
        }
        place = before.get(at).copied().flatten();
    }
    rise
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u64) -> Hash {
        Hash::of(&[&n.to_le_bytes()])
    }

    /// Records are numbers; 100 and above are none that the leaves name, 999 is damaged.
    fn check(first: u64, count: u64, found: &[u64], expected: &[&str]) {
        let items = found.iter().enumerate().map(|(at, n)| Place {
            offset: at as u64 * 10,
            leaf: (*n != 999).then(|| leaf(*n)),
            damage: (*n == 999).then_some("is damaged"),
        });
        let file = Diverged {
            file: "log".into(),
            first,
            found: items.collect(),
            stored: (first..first + count).map(leaf).collect(),
        };
        let faults: Vec<String> = explain(&[file]).faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, expected, "{found:?}");
    }

    #[test]
    fn what_became_of_the_records_is_told() {
        check(0, 5, &[0, 1, 2, 3, 4], &[]);
        check(0, 5, &[0, 1, 3, 4], &["log, byte 20: record 2 is missing"]);
        check(7, 5, &[7, 11], &["log, byte 10: records 8 to 10 are missing"]);
        check(0, 5, &[1, 2, 3, 4], &["log, byte 0: record 0 is missing"]);
        check(0, 5, &[0, 1, 2], &["log: its end is cut: records 3 to 4 are missing"]);
        check(0, 5, &[0, 100, 2, 3, 4], &["log, byte 10: record 1 is altered: it is not what was signed"]);
        check(0, 5, &[0, 999, 2, 3, 4], &["log, byte 10: record 1 is damaged"]);
        check(0, 5, &[0, 2, 1, 3, 4], &["log, byte 10: records 1 and 2 are swapped"]);
        check(10, 5, &[14, 11, 12, 13, 10], &["log, byte 0: records 10 and 14 are swapped"]);
        check(0, 4, &[0, 1, 100, 2, 3], &["log, byte 20: a record is inserted here: no record like it was signed"]);
        check(0, 5, &[1, 2, 3, 0, 4], &["log, byte 30: record 0 stands here, out of its order"]);
        check(0, 3, &[0, 1, 2, 100, 101], &[]); // not signed yet
        check(
            0,
            5,
            &[0, 2, 100],
            &[
                "log, byte 10: record 1 is missing",
                "log, byte 20: record 3 is altered: it is not what was signed",
                "log: its end is cut: record 4 is missing",
            ],
        );
    }
}
