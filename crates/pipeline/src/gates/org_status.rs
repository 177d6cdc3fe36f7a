use weir_model::{Code, Refusal, Result};
use weir_policy::Policy;

use crate::{gates::resume::Awake, org::Org};

/// The org may execute statements.
#[derive(Debug)]
pub(crate) struct Standing(pub Awake);

/// Gate 3. Lets orgs through that are active or being provisioned. Refuses with `org_access_denied`. Costs a compare.
pub(crate) fn pass(awake: Awake) -> Result<Standing> {
    check(awake.ready.org(), &awake.ready.policy)?;
    Ok(Standing(awake))
}

/// The same question at connect, before any table is opened.
pub(crate) fn check(org: &Org, policy: &Policy) -> Result<()> {
    let status = policy.status();
    if status.may_execute() {
        return Ok(());
    }
    Err(Refusal::new(Code::OrgAccessDenied, format!("organisation \"{}\" is {status}", org.name()))
        .detail(format!("status={status}"))
        .hint("an administrator of the organisation can restore access"))
}
