use weir_engine::{Control, EngineSession, UnmaskedRows};
use weir_model::{Code, Refusal, Result, Value};

use crate::gates::audit::Running;

/// Gate 17. Runs a plan that passed the gates before (a [`Running`] exists once the intent is journalled), cancellable, within memory and time limits. What comes out is a type that only the
/// masking gate opens. Refuses with the engine's own errors. Costs what the statement costs.
pub(crate) fn pass(
    governed: &Running,
    session: &EngineSession,
    parameters: &[Value],
    control: Control,
) -> Result<UnmaskedRows> {
    let planned =
        governed.planned.as_ref().ok_or_else(|| Refusal::new(Code::Internal, "the statement has no plan to run"))?;
    session.execute(planned, &governed.snapshot, parameters, control)
}
