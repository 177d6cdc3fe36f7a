use weir_engine::{MaskedRows, Planned, UnmaskedRows};

/// Gate 20. Masks output columns by lineage, after execution. The only way from unmasked rows to rows that can be
/// read. Refuses nothing; costs nothing where no output column is masked.
pub(crate) fn pass(rows: UnmaskedRows, planned: &Planned) -> MaskedRows {
    rows.mask(planned.masks().clone())
}
