//! What a column carries: a small lattice, from nothing over one mask's values to something computed.

use std::sync::Arc;

use weir_policy::{MaskKind, MaskPredicates};

use crate::mask::OutputMask;

/// A masked column of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub table: String,
    pub column: String,
    pub kind: MaskKind,
    pub predicates: MaskPredicates,
    /// The column holds text that may read as anything: not a number, a uuid or json.
    pub textual: bool,
}

impl Source {
    fn describe(&self) -> String {
        let kind = match self.kind {
            MaskKind::Redact => "redact",
            MaskKind::Hash => "hash",
            MaskKind::Null => "null",
            MaskKind::Partial { .. } => "partial",
        };
        format!("{}.{}:{kind}", self.table, self.column)
    }
}

/// The masked columns that a column's values come from. Grows only, so that recursion reaches a fixed point.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage {
    /// Columns whose own values are here, or went into computing what is here.
    sources: Vec<Arc<Source>>,
    /// Computed from the sources, or mixed with other values; otherwise the sources' values, unchanged.
    derived: bool,
    /// Columns that were masked where they were read: they restrict nothing and are told to the journal.
    shown: Vec<Arc<Source>>,
}

impl Lineage {
    pub(super) fn value_of(source: Source) -> Lineage {
        Lineage { sources: vec![Arc::new(source)], ..Lineage::default() }
    }

    pub(super) fn shown(source: Source) -> Lineage {
        Lineage { shown: vec![Arc::new(source)], ..Lineage::default() }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.sources.is_empty()
    }

    pub(super) fn is_derived(&self) -> bool {
        self.derived
    }

    /// True when it is the values of at most so many columns, unchanged.
    pub(super) fn is_value_of(&self, columns_max: usize) -> bool {
        !self.derived && self.sources.len() <= columns_max
    }

    pub(super) fn shown_source(&self) -> Option<&Source> {
        self.shown.first().map(Arc::as_ref)
    }

    /// The first source whose mask does not allow a use.
    pub(super) fn refusing(&self, allowed: fn(MaskPredicates) -> bool) -> Option<&Source> {
        self.sources.iter().map(Arc::as_ref).find(|source| !allowed(source.predicates))
    }

    /// True when nothing may be computed from it.
    pub(super) fn is_restricted(&self) -> bool {
        self.refusing(|predicates| predicates == MaskPredicates::Any).is_some()
    }

    /// What is computed from this and `other`.
    pub(super) fn compute_with(&mut self, other: &Lineage) {
        self.take(other);
        self.derived = !self.sources.is_empty();
    }

    /// What stands in one column where rows with this and rows with `other` meet: masked values stay what they are only
    /// if all of them are, under the same kind of mask. A column that mixes them with other values would let a count
    /// of distinct values compare the two.
    pub(super) fn meet(&mut self, other: &Lineage) {
        let alike = match (self.sources.first(), other.sources.first()) {
            (None, None) => true,
            (Some(one), Some(two)) => {
                let same = one.kind == two.kind && one.textual == two.textual;
                same && !self.derived && !other.derived
            }
            _ => false,
        };
        self.take(other);
        self.derived = !alike && !self.sources.is_empty();
    }

    fn take(&mut self, other: &Lineage) {
        for (mine, theirs) in [(&mut self.sources, &other.sources), (&mut self.shown, &other.shown)] {
            for source in theirs {
                if !mine.contains(source) {
                    mine.push(Arc::clone(source));
                }
            }
        }
    }

    /// How far up the lattice it is: two steps of a growing lineage are the same when their heights are.
    pub(super) fn height(&self) -> usize {
        self.sources.len() + self.shown.len() + usize::from(self.derived)
    }

    /// The mask of an output column with this lineage, and the names of the masked columns in it.
    pub(super) fn output(&self) -> (OutputMask, Vec<String>) {
        let mask = match self.sources.first() {
            None => OutputMask::Clear,
            Some(source) if !self.derived => OutputMask::Value { kind: source.kind, textual: source.textual },
            Some(_) if self.sources.iter().all(|source| source.kind == MaskKind::Redact) => OutputMask::Redacted,
            Some(_) => OutputMask::Null,
        };
        (mask, self.sources.iter().chain(&self.shown).map(|source| source.describe()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(column: &str, kind: MaskKind) -> Lineage {
        Lineage::value_of(Source {
            table: "t".into(),
            column: column.into(),
            kind,
            predicates: MaskPredicates::Refuse,
            textual: true,
        })
    }

    fn meet(one: &Lineage, two: &Lineage) -> OutputMask {
        let mut met = one.clone();
        met.meet(two);
        met.output().0
    }

    #[test]
    fn only_values_under_one_kind_of_mask_stay_values() {
        let redact = source("a", MaskKind::Redact);
        let value = |kind| OutputMask::Value { kind, textual: true };
        assert_eq!(meet(&redact, &redact), value(MaskKind::Redact));
        assert_eq!(meet(&redact, &source("b", MaskKind::Redact)), value(MaskKind::Redact));
        assert_eq!(meet(&redact, &source("b", MaskKind::Hash)), OutputMask::Null);
        assert_eq!(meet(&redact, &Lineage::default()), OutputMask::Redacted);
        assert_eq!(meet(&Lineage::default(), &source("b", MaskKind::Hash)), OutputMask::Null);
        assert_eq!(meet(&Lineage::default(), &Lineage::default()), OutputMask::Clear);
    }

    #[test]
    fn what_is_computed_stays_computed() {
        let mut computed = Lineage::default();
        computed.compute_with(&source("a", MaskKind::Redact));
        assert_eq!(computed.output().0, OutputMask::Redacted);
        assert_eq!(meet(&computed, &source("a", MaskKind::Redact)), OutputMask::Redacted);
        assert_eq!(meet(&source("a", MaskKind::Redact), &computed), OutputMask::Redacted);
    }
}
