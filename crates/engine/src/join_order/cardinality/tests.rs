use super::*;

fn table(name: &str, rows: f64, distinct: &[(&str, f64)], key: &[&str]) -> Estimate {
    let column = |column: &str| Column::new(Some(name), column);
    let known = |distinct: f64| ColumnEstimate { distinct, bounds: None };
    Estimate {
        rows,
        columns: distinct.iter().map(|(name, distinct)| (column(name), known(*distinct))).collect(),
        keys: vec![Key { columns: key.iter().map(|name| column(name)).collect(), of: rows }],
    }
}

fn on(left: &str, right: &str, columns: &[&str]) -> Vec<(Column, Column)> {
    columns.iter().map(|name| (Column::new(Some(left), *name), Column::new(Some(right), *name))).collect()
}

/// The supplies of parts, and the lines that order them: 200,000 parts of 10,000 suppliers, four each.
#[test]
fn a_row_finds_one_partner_by_a_key_of_two_columns() {
    let supplies = table("supplies", 800e3, &[("part", 200e3), ("supplier", 10e3)], &["part", "supplier"]);
    let lines = table("lines", 6e6, &[("part", 200e3), ("supplier", 10e3)], &["line"]);
    let by_both = on("supplies", "lines", &["part", "supplier"]);
    let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 0.01, "{found}");
    close(supplies.joined_rows(&lines, &by_both), 6e6);
    close(supplies.clone().scaled(0.1).joined_rows(&lines, &by_both), 600e3);
    close(supplies.joined_rows(&lines, &on("supplies", "lines", &["part"])), 24e6);
    // Lines stay lines: what is then joined by the same key is found once as well.
    let joined = supplies.clone().scaled(0.1).join(&lines, &by_both);
    assert!(joined.left_of_key(|column| column.name == "line").is_some());
    assert!(joined.left_of_key(|column| column.relation == Some("supplies".into())).is_none());
}

#[test]
fn a_semi_join_keeps_the_share_that_the_other_side_has_left() {
    let lines = table("lines", 6e6, &[("part", 200e3)], &["line"]);
    let parts = table("parts", 200e3, &[("part", 200e3)], &["part"]).scaled(0.05);
    let share = lines.share_with_partner(&parts, &on("lines", "parts", &["part"]));
    assert!((share - 0.05).abs() < 0.001, "{share}");
}
