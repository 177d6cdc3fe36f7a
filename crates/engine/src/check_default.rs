//! Whether a DEFAULT can be a column's: said when the table is made, not at the first row.

use weir_model::{ColumnType, Result};
use weir_sql::ast;

use crate::{
    bind::Bindings,
    coerce::{self, Context},
    constant::Constant,
    governance::{Governance, Snapshot},
    plan::Planning,
    session::EngineSession,
};

impl EngineSession {
    /// # Errors
    /// When the expression is no constant, or its value does not fit the column's type.
    pub fn check_default(
        &self,
        column: &str,
        column_type: ColumnType,
        default: &ast::Expr,
        snapshot: &Snapshot,
        governance: &Governance,
    ) -> Result<()> {
        let planning = Planning::new(self, snapshot, governance);
        let constant = Constant::bind(&planning.binder(), default, &[])?;
        let bindings = Bindings::new(&[], &[], self.shared_identity(), &snapshot.search_path, self.settings())?;
        let value = constant.evaluate(&bindings, 1)?;
        coerce::to_type(&value, column_type, Context::Column(column), bindings.zone()).map(drop)
    }
}
