use weir_model::{Code, Refusal, Result};

use crate::gates::{resume::Awake, startup::Ready};

/// The org may execute statements.
#[derive(Debug)]
pub(crate) struct Standing(pub Awake);

/// Gate 3. Lets orgs through that are active or being provisioned. Refuses with `org_access_denied`. Costs a compare.
pub(crate) fn pass(awake: Awake) -> Result<Standing> {
    check(&awake.ready)?;
    Ok(Standing(awake))
}

/// The same question at connect, before any table is opened.
pub(crate) fn check(ready: &Ready) -> Result<()> {
    let status = ready.policy.status();
    if status.may_execute() {
        return Ok(());
    }
    Err(Refusal::new(Code::OrgAccessDenied, format!("organisation \"{}\" is {status}", ready.org.name()))
        .detail(format!("status={status}"))
        .hint("an administrator of the organisation can restore access"))
}
