use weir_meter::{CostInputs, Credits, Reservation, Settled, Weights};

/// Gate 21. Settles the real cost against the reservation; a statement that failed or was refused before it ran
/// releases all of it by dropping the reservation. Costs one short lock.
pub(crate) fn settle(reservation: Option<Reservation>, inputs: &CostInputs, weights: &Weights, rows: u64) -> Settled {
    match reservation {
        Some(reservation) => reservation.settle(weights.settle(inputs, rows), rows),
        None => Settled { estimated: Credits::ZERO, charged: Credits::ZERO, uncollected: Credits::ZERO },
    }
}
