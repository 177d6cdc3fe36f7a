//! `a RIGHT JOIN b USING (k)` as `b LEFT JOIN a USING (k)`: the column that both share is then the one that is always
//! there. The parser lets such a join through only where no `*` would show the order of the tables.

use weir_sql::ast::{Join, JoinConstraint, JoinOperator, TableFactor, TableWithJoins};

pub(super) fn turn_right_joins(from: &mut TableWithJoins) {
    while let Some(place) = from.joins.iter().position(|join| shared(&join.join_operator).is_some()) {
        let mut after = from.joins.split_off(place);
        let rest = after.split_off(1);
        let Some(turned) = after.pop() else { return };
        let Some(constraint) = shared(&turned.join_operator).cloned() else { return };
        let before = std::mem::replace(from, TableWithJoins { relation: turned.relation, joins: Vec::new() });
        let relation = match before.joins.is_empty() {
            true => before.relation,
            false => TableFactor::NestedJoin { table_with_joins: Box::new(before), alias: None },
        };
        let join_operator = JoinOperator::LeftOuter(constraint);
        from.joins.push(Join { relation, global: turned.global, join_operator });
        from.joins.extend(rest);
    }
}

fn shared(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Right(by) | JoinOperator::RightOuter(by) => {
            matches!(by, JoinConstraint::Using(_) | JoinConstraint::Natural).then_some(by)
        }
        _ => None,
    }
}
