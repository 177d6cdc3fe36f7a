//! What row filters and masks name that an org's tables do not have.
//!
//! A policy directory says nothing of tables, so only a data plane can tell. A table may come later; a column that its
//! table lacks is a mistake, and so is a view, as filters and masks belong to the tables that it reads.

use std::{collections::BTreeSet, fmt};

use weir_model::ObjectName;

use crate::{bundle::Origin, diagnostic::did_you_mean};

/// What a data plane has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    Table { columns: Vec<String> },
    View,
    Absent,
}

/// One name that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    table: ObjectName,
    /// None when the table itself is absent or a view.
    column: Option<String>,
    is_mistake: bool,
    text: String,
}

impl Misfit {
    /// Whether statements on the table are refused for it; an absent table may be made any time.
    #[must_use]
    pub fn is_mistake(&self) -> bool {
        self.is_mistake
    }

    /// Whether another policy's misfit is this one, wherever its rule stands.
    #[must_use]
    pub fn is(&self, other: &Misfit) -> bool {
        (&self.table, &self.column, self.is_mistake) == (&other.table, &other.column, other.is_mistake)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What one rule names.
#[derive(Debug)]
pub(crate) struct Named<'a> {
    pub table: &'a ObjectName,
    pub columns: BTreeSet<&'a str>,
    /// As its reader calls it.
    pub rule: String,
    pub origin: &'a Origin,
}

/// The misfits of rules, an absent table or a view once.
pub(crate) fn misfits<'a>(
    rules: impl Iterator<Item = Named<'a>>,
    relation: impl Fn(&ObjectName) -> Relation,
) -> Vec<Misfit> {
    let mut found: Vec<Misfit> = Vec::new();
    let mut whole = BTreeSet::new();
    for Named { table, columns, rule, origin } in rules {
        let misfit = |column: Option<&str>, is_mistake: bool, what: String| Misfit {
            table: table.clone(),
            column: column.map(str::to_owned),
            is_mistake,
            text: format!("{origin}: {rule} on {table}: {what}"),
        };
        match relation(table) {
            Relation::Absent if whole.insert(table) => {
                found.push(misfit(None, false, "the table does not exist".into()));
            }
            Relation::View if whole.insert(table) => {
                let what = "it is a view; put the rule on the tables that the view reads";
                found.push(misfit(None, true, what.into()));
            }
            Relation::Absent | Relation::View => {}
            Relation::Table { columns: known } => {
                for column in columns.into_iter().filter(|column| !known.iter().any(|known| known == column)) {
                    let nearest = did_you_mean(column, known.iter().map(String::as_str));
                    let hint = nearest.map(|hint| format!("; {hint}")).unwrap_or_default();
                    found.push(misfit(Some(column), true, format!("column `{column}` does not exist{hint}")));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_nowhere_are_told_with_their_rule() {
        let name = |text: &str| ObjectName::new("public", text).unwrap();
        let tables = [name("t"), name("later"), name("v")];
        let origin = |line| Origin { file: "row_filters.sql".into(), line };
        let origins = [origin(1), origin(2), origin(3), origin(4), origin(5)];
        let rule = |table: usize, columns: &[&'static str], line: usize| Named {
            table: &tables[table],
            columns: columns.iter().copied().collect(),
            rule: format!("policy `p{line}`"),
            origin: &origins[line - 1],
        };
        let rules = [
            rule(0, &["id", "regoin"], 1),
            rule(0, &["id"], 2),
            rule(1, &["x"], 3),
            rule(1, &["y"], 4),
            rule(2, &[], 5),
        ];
        let found = misfits(rules.into_iter(), |object| match object.name() {
            "t" => Relation::Table { columns: vec!["id".into(), "region".into()] },
            "v" => Relation::View,
            _ => Relation::Absent,
        });
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "row_filters.sql:1: policy `p1` on public.t: column `regoin` does not exist; did you mean `region`?",
                "row_filters.sql:3: policy `p3` on public.later: the table does not exist",
                "row_filters.sql:5: policy `p5` on public.v: it is a view; put the rule on the tables that the view reads",
            ]
        );
        assert_eq!(found.iter().map(Misfit::is_mistake).collect::<Vec<_>>(), [true, false, true]);
    }
}
