//! Changes of names and definitions, as the log keeps them and as commits check them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_model::{Code, ObjectName, Refusal};

use crate::{
    TableId, TableSchema,
    version::{Catalog, Relation, View},
};

/// One change. It names what it changes by id where that exists, so that dropping a table never drops another of the
/// same name that came later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CatalogChange {
    CreateSchema {
        name: String,
        oid: u32,
    },
    DropSchema {
        name: String,
        oid: u32,
    },
    CreateTable {
        id: TableId,
        name: ObjectName,
        schema: Arc<TableSchema>,
    },
    DropTable {
        id: TableId,
    },
    CreateView {
        view: Arc<View>,
        /// The revision of the view of the same OID that this one takes the place of.
        replaces: Option<u64>,
    },
    DropView {
        name: ObjectName,
        oid: u32,
    },
}

impl Catalog {
    /// Makes one change.
    ///
    /// # Errors
    /// What PostgreSQL would say where the change does not fit; the catalog is then as before.
    pub fn change(&mut self, change: &CatalogChange) -> Result<(), Refusal> {
        match change {
            CatalogChange::CreateSchema { name, oid } => {
                if self.schemas.contains_key(name) {
                    let message = format!("schema \"{name}\" already exists");
                    return Err(Refusal::new(Code::DuplicateSchema, message));
                }
                self.schemas.insert(name.clone(), *oid);
            }
            CatalogChange::DropSchema { name, oid } => self.drop_schema(name, *oid)?,
            CatalogChange::CreateTable { id, name, .. } => {
                self.check_free(name)?;
                self.relations.insert(name.clone(), Relation::Table(*id));
                self.tables.insert(*id, name.clone());
            }
            CatalogChange::DropTable { id } => {
                let name = self
                    .tables
                    .remove(id)
                    .ok_or_else(|| Refusal::new(Code::UndefinedTable, "the table does not exist"))?;
                self.relations.remove(&name);
            }
            CatalogChange::CreateView { view, replaces } => self.create_view(view, *replaces)?,
            CatalogChange::DropView { name, oid } => match self.relations.get(name) {
                Some(Relation::View(view)) if view.oid == *oid => {
                    self.relations.remove(name);
                }
                _ => return Err(undefined("view", name)),
            },
        }
        Ok(())
    }

    fn drop_schema(&mut self, name: &str, oid: u32) -> Result<(), Refusal> {
        if self.schemas.get(name) != Some(&oid) {
            let message = format!("schema \"{name}\" does not exist");
            return Err(Refusal::new(Code::UndefinedSchema, message));
        }
        if self.relations.keys().any(|relation| relation.schema() == name) {
            let message = format!("cannot drop schema {name} because other objects depend on it");
            return Err(
                Refusal::new(Code::DependentObjects, message).hint("drop the tables and views in the schema first")
            );
        }
        self.schemas.remove(name);
        Ok(())
    }

    fn create_view(&mut self, view: &Arc<View>, replaces: Option<u64>) -> Result<(), Refusal> {
        match replaces {
            None => self.check_free(&view.name)?,
            Some(revision) => match self.relations.get(&view.name) {
                Some(Relation::View(old)) if old.oid == view.oid && old.revision == revision => {}
                _ => return Err(undefined("view", &view.name)),
            },
        }
        self.relations.insert(view.name.clone(), Relation::View(Arc::clone(view)));
        Ok(())
    }

    fn check_free(&self, name: &ObjectName) -> Result<(), Refusal> {
        if !self.schemas.contains_key(name.schema()) {
            let message = format!("schema \"{}\" does not exist", name.schema());
            return Err(Refusal::new(Code::UndefinedSchema, message));
        }
        if self.relations.contains_key(name) {
            let message = format!("relation \"{}\" already exists", name.name());
            return Err(Refusal::new(Code::DuplicateTable, message));
        }
        Ok(())
    }
}

pub(crate) fn undefined(kind: &str, name: &ObjectName) -> Refusal {
    Refusal::new(Code::UndefinedTable, format!("{kind} \"{}\" does not exist", name.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn changes_that_do_not_fit_are_refused_and_change_nothing() {
        let name = |text: &str| ObjectName::try_from(text.to_owned()).unwrap();
        let table = |id, text: &str| CatalogChange::CreateTable {
            id: TableId(id),
            name: name(text),
            schema: testing::orders_schema(),
        };
        let mut catalog = Catalog::default();
        let mut check = |change: CatalogChange, expected: Option<Code>| {
            let found = catalog.change(&change).err().map(|refusal| refusal.code());
            assert_eq!(found, expected, "{change:?}");
        };
        let create = |text: &str, oid| CatalogChange::CreateSchema { name: text.into(), oid };
        let drop = |text: &str, oid| CatalogChange::DropSchema { name: text.into(), oid };
        check(table(1, "s.t"), Some(Code::UndefinedSchema));
        check(create("s", 7), None);
        check(create("s", 8), Some(Code::DuplicateSchema));
        check(table(1, "s.t"), None);
        check(table(2, "s.t"), Some(Code::DuplicateTable));
        check(drop("s", 7), Some(Code::DependentObjects));
        check(CatalogChange::DropTable { id: TableId(2) }, Some(Code::UndefinedTable));
        check(CatalogChange::DropView { name: name("s.t"), oid: 1 }, Some(Code::UndefinedTable));
        check(CatalogChange::DropTable { id: TableId(1) }, None);
        check(drop("s", 8), Some(Code::UndefinedSchema));
        check(drop("s", 7), None);
    }
}
