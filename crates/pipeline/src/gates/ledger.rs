use weir_model::{Action, Code, Refusal, Result};

use crate::gates::statement::Stated;

/// Ledgers are only read and appended to.
#[derive(Debug)]
pub(crate) struct Appending(pub Stated);

/// Gate 7. INSERT and SELECT on tables that the policy names as ledgers, nothing else, whatever the role. Refuses with
/// `ledger_violation`. Costs a hash look-up per object.
pub(crate) fn pass(stated: Stated) -> Result<Appending> {
    let policy = &stated.admitted.paced.standing.0.ready.policy;
    for (object, action) in stated.objects.iter() {
        let changes = !matches!(action, Action::Select | Action::Insert | Action::Create);
        if changes && policy.is_ledger(object) && policy.may_be_known(object) {
            return Err(Refusal::new(Code::LedgerViolation, format!("cannot {action} ledger \"{}\"", object.name()))
                .detail(format!("table={object}; action={action}"))
                .hint("a ledger takes INSERT and SELECT only; record a correction as a new row"));
        }
    }
    Ok(Appending(stated))
}
