use weir_model::{Code, Refusal, Result};

use crate::gates::ledger::Appending;

/// The org's tier includes every object.
#[derive(Debug)]
pub(crate) struct Included(pub Appending);

/// Gate 8. Objects that the org's tier includes. Refuses with `tier_required`, naming the tier. Costs a hash look-up
/// per object.
pub(crate) fn pass(appending: Appending, enabled: bool) -> Result<Included> {
    if enabled {
        let policy = &appending.0.admitted.paced.standing.0.ready.policy;
        for (object, _) in appending.0.objects.iter() {
            if let Some(required) = policy
                .required_tier(object)
                .filter(|required| *required > policy.tier())
                .filter(|_| policy.may_be_known(object))
            {
                return Err(Refusal::new(Code::TierRequired, format!("\"{}\" needs tier {required}", object.name()))
                    .detail(format!("table={object}; required={required}; tier={}", policy.tier()))
                    .hint(format!("upgrade the organisation to {required}")));
            }
        }
    }
    Ok(Included(appending))
}
