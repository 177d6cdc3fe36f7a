use std::{fmt, sync::Arc};

use crate::bundle::Origin;

/// A rule by name and place, as decisions, explanations and the journal cite it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleId {
    pub id: Arc<str>,
    pub origin: Origin,
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.id, self.origin)
    }
}
