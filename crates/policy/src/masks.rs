use std::sync::Arc;

use hashbrown::HashMap;
use weir_model::{ObjectName, Principal};

use crate::bundle::{MaskKind, MaskPredicates, MaskRule};

/// A column that leaves an object masked, for one principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnMask {
    /// Folded, as in the catalog.
    pub column: String,
    pub kind: MaskKind,
    pub predicates: MaskPredicates,
}

/// Mask rules by object.
#[derive(Debug)]
pub(crate) struct MaskIndex(HashMap<ObjectName, Vec<MaskRule>>);

impl MaskIndex {
    pub fn new(rules: &[MaskRule]) -> MaskIndex {
        let mut by_table: HashMap<ObjectName, Vec<MaskRule>> = HashMap::new();
        for rule in rules {
            by_table.entry(rule.table.clone()).or_default().push(rule.clone());
        }
        MaskIndex(by_table)
    }

    /// One mask a column, sorted by column; where several rules fit, what shows least.
    pub fn masks(&self, principal: &Principal, object: &ObjectName) -> Arc<[ColumnMask]> {
        let mut masks: Vec<ColumnMask> = Vec::new();
        let rules = self.0.get(object).into_iter().flatten();
        for rule in rules.filter(|rule| !rule.unless_roles.iter().any(|role| principal.has_role(role))) {
            match masks.iter_mut().find(|mask| mask.column == rule.column) {
                Some(mask) => {
                    mask.kind = stricter_kind(mask.kind, rule.kind);
                    mask.predicates = stricter_predicates(mask.predicates, rule.predicates);
                }
                None => {
                    masks.push(ColumnMask { column: rule.column.clone(), kind: rule.kind, predicates: rule.predicates })
                }
            }
        }
        masks.sort_by(|left, right| left.column.cmp(&right.column));
        masks.into()
    }
}

/// NULL shows nothing, a redaction that there is a value, a hash which values are equal, a part some of it.
fn stricter_kind(left: MaskKind, right: MaskKind) -> MaskKind {
    let shows = |kind: &MaskKind| match kind {
        MaskKind::Null => (0, 0),
        MaskKind::Redact => (1, 0),
        MaskKind::Hash => (2, 0),
        MaskKind::Partial { show_last } => (3, *show_last),
    };
    if shows(&left) <= shows(&right) { left } else { right }
}

fn stricter_predicates(left: MaskPredicates, right: MaskPredicates) -> MaskPredicates {
    let shows = |predicates: &MaskPredicates| match predicates {
        MaskPredicates::Refuse => 0,
        MaskPredicates::Masked => 1,
        MaskPredicates::Equality => 2,
        MaskPredicates::Any => 3,
    };
    if shows(&left) <= shows(&right) { left } else { right }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_masks_the_stricter_holds() {
        let order = [
            MaskKind::Null,
            MaskKind::Redact,
            MaskKind::Hash,
            MaskKind::Partial { show_last: 2 },
            MaskKind::Partial { show_last: 4 },
        ];
        for (place, strict) in order.iter().enumerate() {
            for loose in order.iter().skip(place) {
                assert_eq!(stricter_kind(*strict, *loose), *strict);
                assert_eq!(stricter_kind(*loose, *strict), *strict);
            }
        }
        let order = [MaskPredicates::Refuse, MaskPredicates::Masked, MaskPredicates::Equality, MaskPredicates::Any];
        for (place, strict) in order.iter().enumerate() {
            for loose in order.iter().skip(place) {
                assert_eq!(stricter_predicates(*loose, *strict), *strict);
            }
        }
    }
}
