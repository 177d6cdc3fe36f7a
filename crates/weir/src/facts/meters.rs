//! What `/metrics` says of facts.

use std::{collections::BTreeSet, sync::OnceLock};

use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;
use weir_facts::{
    Answered, Node,
    protocol::{Method, ProtocolError},
};

/// How requests end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    NotFound,
    Conflict,
    Invalid,
    Refused,
    Limited,
    Failed,
}

impl Outcome {
    const COUNT: usize = 7;

    fn of(error: Option<&ProtocolError>) -> Outcome {
        match error {
            None => Outcome::Ok,
            Some(ProtocolError::KeyNotFound { .. } | ProtocolError::PolicyNotFound { .. }) => Outcome::NotFound,
            Some(ProtocolError::VersionConflict { .. }) => Outcome::Conflict,
            Some(
                ProtocolError::Parse(_)
                | ProtocolError::InvalidRequest(_)
                | ProtocolError::InvalidParams { .. }
                | ProtocolError::CompileFailed { .. }
                | ProtocolError::TooLarge { .. },
            ) => Outcome::Invalid,
            Some(ProtocolError::MethodNotFound { .. } | ProtocolError::Unauthorized { .. }) => Outcome::Refused,
            Some(ProtocolError::RateLimited { .. } | ProtocolError::Overloaded { .. }) => Outcome::Limited,
            Some(
                ProtocolError::EvaluationFailed(_)
                | ProtocolError::Timeout { .. }
                | ProtocolError::Storage(_)
                | ProtocolError::Internal,
            ) => Outcome::Failed,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::NotFound => "not_found",
            Outcome::Conflict => "conflict",
            Outcome::Invalid => "invalid",
            Outcome::Refused => "refused",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// Counts requests. Series are looked up once each.
pub(super) struct Meters {
    requests: [[OnceLock<Counter>; Outcome::COUNT]; Method::ALL.len()],
    unconnected: Counter,
    writes: Histogram,
    /// Namespaces that were told of: one that is empty again is told as such.
    told: Mutex<BTreeSet<String>>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meters")
    }
}

impl Meters {
    pub(super) fn new() -> Meters {
        describe_counter!("weir_facts_requests_total", "Requests to the facts' sockets");
        describe_histogram!(
            "weir_facts_write_duration_seconds",
            "From reading a write of facts to its acknowledgement"
        );
        describe_gauge!("weir_facts_stored", "Facts of a namespace");
        describe_gauge!("weir_facts_tombstones", "Deleted keys of a namespace that are remembered");
        describe_gauge!("weir_facts_queue_requests", "Writes of facts that wait for the writer");
        describe_gauge!("weir_facts_quarantined", "Writes whose time is too far ahead, held until then");
        describe_gauge!("weir_facts_store_bytes", "Size of the facts' files");
        describe_gauge!("weir_facts_up", "1 while facts are read and written here");
        describe_counter!("weir_facts_alarms_total", "Alarms of the facts' replica");
        describe_counter!("weir_facts_conflicts_total", "Values that lost against writes they did not know of");
        Meters {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
            unconnected: counter!("weir_facts_requests_total", "method" => "connect", "outcome" => "refused"),
            writes: histogram!("weir_facts_write_duration_seconds"),
            told: Mutex::default(),
        }
    }

    pub(super) fn answered(&self, answered: &Answered<'_>) {
        let (method, outcome) = (answered.method, Outcome::of(answered.error));
        if let Some(place) = self.requests.get(method as usize).and_then(|places| places.get(outcome as usize)) {
            let counter = place.get_or_init(
                || counter!("weir_facts_requests_total", "method" => method.name(), "outcome" => outcome.name()),
            );
            counter.increment(1);
        }
        if method.writes_facts() && outcome == Outcome::Ok {
            self.writes.record(answered.took.as_secs_f64());
        }
    }

    /// Somebody was not let in.
    pub(super) fn unconnected(&self) {
        self.unconnected.increment(1);
    }

    /// Brings what is measured and not counted up to date.
    #[allow(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]
    pub(super) fn measure(&self, node: &Node) {
        let (measures, health) = (node.measures(), node.health());
        gauge!("weir_facts_up").set(f64::from(u8::from(health.is_serving && health.failure.is_none())));
        gauge!("weir_facts_queue_requests").set(health.queued as f64);
        gauge!("weir_facts_store_bytes").set(measures.store_bytes as f64);
        let counts = &measures.counts;
        gauge!("weir_facts_quarantined").set(counts.held.saturating_sub(counts.released) as f64);
        counter!("weir_facts_alarms_total").absolute(health.alarms.total());
        counter!("weir_facts_conflicts_total").absolute(counts.conflicts);
        let mut told = self.told.lock();
        told.extend(measures.sizes.keys().cloned());
        for namespace in told.iter() {
            let size = measures.sizes.get(namespace).copied().unwrap_or_default();
            gauge!("weir_facts_stored", "namespace" => namespace.clone()).set(size.facts as f64);
            gauge!("weir_facts_tombstones", "namespace" => namespace.clone()).set(size.tombstones as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_its_place() {
        for (place, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, place, "{method}");
        }
    }
}
