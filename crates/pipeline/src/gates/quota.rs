use std::sync::Arc;

use weir_meter::{Account, Credits, QuotaLimits, Reservation};
use weir_model::Result;

use crate::gates::cost::Costed;

/// The estimate is reserved for agent and org.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub costed: Costed,
    /// None for statements that cost nothing (SET, BEGIN, …).
    pub reservation: Option<Reservation>,
}

/// Gate 12. Reserves the estimate, atomically, against the balances of agent and org. Refuses with `quota_exceeded`,
/// estimate and balance in DETAIL. Costs one short lock.
pub(crate) fn pass(costed: Costed, account: &Arc<Account>) -> Result<Reserved> {
    if costed.estimate == Credits::ZERO {
        return Ok(Reserved { costed, reservation: None });
    }
    let policy = &costed.authorized.stated.admitted.paced.standing.0.ready.policy;
    let agent: &Arc<str> = &costed.authorized.principal.agent;
    let quota = policy.quota_for(agent);
    let limits = QuotaLimits { agent: quota.agent.map(Credits), org: quota.org.map(Credits) };
    let reservation = account.reserve(agent, costed.estimate, limits)?;
    Ok(Reserved { costed, reservation: Some(reservation) })
}
