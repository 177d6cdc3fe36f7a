//! What one principal may know of: schemas, tables and views of a version, already filtered.
//!
//! INVARIANT: nothing that the principal may not see is held here, so nothing built from it can tell of it. Numbers that
//! hidden rows would change (row counts, sizes) are not held at all.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use weir_model::{Action, ColumnType, ObjectName};

/// Oids that PostgreSQL pins.
pub(crate) const PG_CATALOG: u32 = 11;
pub(crate) const BTREE: u32 = 403;
pub(crate) const HEAP: u32 = 2;
pub(crate) const DEFAULT_TABLESPACE: u32 = 1663;
/// Oids from here on are given to objects of the org by the store; below are ours.
const INFORMATION_SCHEMA: u32 = 13_000;
const OWNER: u32 = 10;
const USER: u32 = 15_000;
const FIRST_ROLE: u32 = 15_001;
const DATABASE: u32 = 14_000;
const FIRST_SYSTEM_VIEW: u32 = 13_100;

/// An index has its table's oid with this bit, a constraint with the other: a table has at most one of each.
const INDEX_BIT: u32 = 1 << 29;
const CONSTRAINT_BIT: u32 = 1 << 30;

pub(crate) fn index_oid(table: u32) -> u32 {
    table | INDEX_BIT
}

pub(crate) fn constraint_oid(table: u32) -> u32 {
    table | CONSTRAINT_BIT
}

pub(crate) fn default_oid(table: u32, number: i16) -> u32 {
    INDEX_BIT | CONSTRAINT_BIT | (table.wrapping_mul(1600).wrapping_add(u32::from(number.unsigned_abs())) >> 3)
}

/// Who asks, and of what the session is made.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) user: String,
    /// The org's name.
    pub(crate) database: String,
    /// Roles that the principal holds.
    pub(crate) roles: Vec<String>,
    /// The role that owns the org's objects.
    pub(crate) owner: String,
    pub(crate) search_path: Vec<String>,
    pub(crate) process_id: i32,
    pub(crate) application_name: String,
    /// Name and value of every setting that `SHOW` answers.
    pub(crate) settings: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) owner: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Table,
    View,
}

/// A table or view of the org.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) name: ObjectName,
    pub(crate) kind: Kind,
    pub(crate) columns: Vec<Attribute>,
    /// Places of the primary key's columns; empty where there is none.
    pub(crate) key: Vec<usize>,
    /// A view's text.
    pub(crate) definition: Option<String>,
    /// What the principal may do to it.
    pub(crate) actions: Vec<Action>,
}

#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) not_null: bool,
    /// SQL text.
    pub(crate) default: Option<String>,
}

/// A role that exists for the principal: the owner, the principal, and the roles it holds.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) can_login: bool,
}

/// Objects that are gathered when first asked for, and then once for all relations and functions of a plan.
pub(crate) type SharedObjects = Arc<LazyLock<Objects, Box<dyn FnOnce() -> Objects + Send>>>;

#[derive(Debug)]
pub(crate) struct Objects {
    pub(crate) session: Session,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) relations: Vec<Relation>,
    pub(crate) roles: Vec<Role>,
    by_oid: HashMap<u32, usize>,
}

impl Relation {
    pub(crate) fn may(&self, action: Action) -> bool {
        self.actions.contains(&action)
    }

    /// The name of the primary key and of its index: `<table>_pkey`, cut as PostgreSQL cuts it.
    pub(crate) fn key_name(&self) -> Option<String> {
        if self.key.is_empty() {
            return None;
        }
        let mut stem = self.name.name().to_owned();
        while stem.len() > weir_model::NAME_BYTES_MAX - "_pkey".len() {
            stem.pop();
        }
        Some(format!("{stem}_pkey"))
    }

    /// The key's columns with their attribute numbers, in the key's order.
    pub(crate) fn key_columns(&self) -> impl Iterator<Item = (i16, &Attribute)> {
        self.key.iter().filter_map(|&place| Some((number(place), self.columns.get(place)?)))
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (i16, &Attribute)> {
        self.columns.iter().enumerate().map(|(place, column)| (number(place), column))
    }
}

/// Attribute numbers count from 1; there are at most 1600.
pub(crate) fn number(place: usize) -> i16 {
    i16::try_from(place + 1).unwrap_or(i16::MAX)
}

impl Objects {
    /// `schemas` are those of the org that the principal may know of, with their oids.
    pub(crate) fn new(session: Session, schemas: Vec<(u32, String)>, mut relations: Vec<Relation>) -> Objects {
        relations.sort_by(|left, right| left.name.cmp(&right.name));
        let mut roles = vec![Role { oid: OWNER, name: session.owner.clone(), can_login: true }];
        if session.user != session.owner {
            roles.push(Role { oid: USER, name: session.user.clone(), can_login: true });
        }
        for (name, oid) in session.roles.iter().zip(FIRST_ROLE..) {
            if roles.iter().all(|role| role.name != *name) {
                roles.push(Role { oid, name: name.clone(), can_login: false });
            }
        }
        let mut namespaces = vec![
            Namespace { oid: PG_CATALOG, name: "pg_catalog".into(), owner: OWNER },
            Namespace { oid: INFORMATION_SCHEMA, name: "information_schema".into(), owner: OWNER },
        ];
        namespaces.extend(schemas.into_iter().map(|(oid, name)| Namespace { oid, name, owner: OWNER }));
        namespaces.sort_by(|left, right| left.name.cmp(&right.name));
        let by_oid = relations.iter().enumerate().map(|(place, relation)| (relation.oid, place)).collect();
        Objects { session, namespaces, relations, roles, by_oid }
    }

    pub(crate) fn owner_oid(&self) -> u32 {
        OWNER
    }

    pub(crate) fn user_oid(&self) -> u32 {
        if self.session.user == self.session.owner { OWNER } else { USER }
    }

    pub(crate) fn database_oid(&self) -> u32 {
        DATABASE
    }

    pub(crate) fn relation(&self, oid: u32) -> Option<&Relation> {
        self.by_oid.get(&oid).and_then(|&place| self.relations.get(place))
    }

    /// The table whose primary key index, or constraint, has this oid.
    pub(crate) fn indexed(&self, index: u32) -> Option<&Relation> {
        self.keyed(index, INDEX_BIT)
    }

    pub(crate) fn constrained(&self, constraint: u32) -> Option<&Relation> {
        self.keyed(constraint, CONSTRAINT_BIT)
    }

    fn keyed(&self, oid: u32, bit: u32) -> Option<&Relation> {
        if oid & (INDEX_BIT | CONSTRAINT_BIT) != bit {
            return None;
        }
        self.relation(oid & !bit).filter(|relation| !relation.key.is_empty())
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    pub(crate) fn namespace_oid(&self, name: &str) -> u32 {
        self.namespace(name).map_or(0, |namespace| namespace.oid)
    }

    pub(crate) fn role(&self, oid: u32) -> Option<&Role> {
        self.roles.iter().find(|role| role.oid == oid)
    }

    /// The schemas of the search path that exist, in its order; with `implicit`, as PostgreSQL searches them.
    pub(crate) fn searched(&self, implicit: bool) -> Vec<&str> {
        let mut path: Vec<&str> = Vec::new();
        if implicit && !self.session.search_path.iter().any(|name| name == "pg_catalog") {
            path.push("pg_catalog");
        }
        for name in &self.session.search_path {
            let name = if name == "$user" { &self.session.user } else { name };
            if self.namespace(name).is_some() && !path.contains(&name.as_str()) {
                path.push(name);
            }
        }
        path
    }

    pub(crate) fn find(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name.schema() == schema && relation.name.name() == name)
    }
}

/// The oid of a system relation: PostgreSQL's where it pins one.
pub(crate) fn system_oid(layout: &super::layout::Layout, place: usize) -> u32 {
    let pinned = layout.oid < 12_000 && layout.oid != 0;
    if pinned { layout.oid } else { FIRST_SYSTEM_VIEW + u32::try_from(place).unwrap_or(0) }
}
