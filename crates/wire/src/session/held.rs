use std::collections::HashMap;

use weir_model::{Code, Refusal, Result};

use crate::slow_lane::LARGE_HELD_BYTES;

/// What a session keeps by name, prepared statements or portals: bounded in number and in bytes.
#[derive(Debug)]
pub(super) struct Held<T> {
    /// The one without a name: most portals are.
    unnamed: Option<(T, usize)>,
    named: HashMap<String, (T, usize)>,
    bytes: usize,
    /// How many are large.
    large: usize,
    limits: Limits,
}

fn is_large(bytes: usize) -> bool {
    bytes > LARGE_HELD_BYTES
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For the error: `prepared statements`.
    pub(super) what: &'static str,
    pub(super) entries: usize,
    /// Together, counted by the messages they came in.
    pub(super) bytes: usize,
}

impl<T> Held<T> {
    pub(super) fn new(limits: Limits) -> Held<T> {
        Held { unnamed: None, named: HashMap::new(), bytes: 0, large: 0, limits }
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let held = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        held.map(|(entry, _)| entry)
    }

    /// Whether what is held takes long to run or to free.
    pub(super) fn holds_large(&self) -> bool {
        self.large > 0
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether one more of `bytes` may be kept.
    ///
    /// # Errors
    ///
    /// `program_limit_exceeded`.
    pub(super) fn check_room(&self, bytes: usize) -> Result<()> {
        let Limits { what, entries, bytes: bytes_max } = self.limits;
        if self.named.len() < entries && self.bytes.saturating_add(bytes) <= bytes_max {
            return Ok(());
        }
        Err(Refusal::new(Code::ProgramLimitExceeded, format!("too many {what} in one session"))
            .detail(format!("limit={entries}"))
            .detail(format!("bytes_limit={bytes_max}"))
            .hint("close those that are no longer used"))
    }

    /// Keeps an entry, in the place of one of the same name.
    pub(super) fn put(&mut self, name: &str, entry: T, bytes: usize) {
        self.remove(name);
        self.bytes += bytes;
        self.large += usize::from(is_large(bytes));
        if name.is_empty() {
            self.unnamed = Some((entry, bytes));
        } else {
            self.named.insert(name.to_owned(), (entry, bytes));
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<(T, usize)> {
        let removed = if name.is_empty() { self.unnamed.take()? } else { self.named.remove(name)? };
        self.bytes -= removed.1;
        self.large -= usize::from(is_large(removed.1));
        Some(removed)
    }

    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
        self.bytes = 0;
        self.large = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_and_given_back() {
        let mut held = Held::new(Limits { what: "things", entries: 3, bytes: 100 });
        held.put("a", 1, 60);
        assert!(held.check_room(40).is_ok() && held.check_room(41).is_err());
        held.put("a", 2, 90);
        assert_eq!((held.get("a"), held.bytes), (Some(&2), 90));
        assert_eq!(held.remove("a"), Some((2, 90)));
        assert!(held.remove("a").is_none() && held.check_room(100).is_ok());
        for name in ["a", "b", "c"] {
            held.put(name, 0, 1);
        }
        assert!(held.contains("c") && held.check_room(0).is_err());
        held.put("", 5, 50);
        assert_eq!((held.get(""), held.bytes), (Some(&5), 53));
        assert!(!held.holds_large());
        held.put("d", 0, LARGE_HELD_BYTES + 1);
        held.put("", 0, LARGE_HELD_BYTES + 1);
        held.put("d", 0, 1);
        assert!(held.holds_large() && held.remove("").is_some() && !held.holds_large());
        held.clear();
        assert!(held.check_room(100).is_ok() && !held.contains("") && !held.contains("a"));
    }
}
