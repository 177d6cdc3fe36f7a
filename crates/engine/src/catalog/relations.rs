//! `pg_class`, `pg_attribute`, `pg_attrdef`, `pg_index`, `pg_constraint`, and the views over them.

use super::{
    layout::{self, Layout},
    objects::{
        BTREE, HEAP, Kind, Objects, PG_CATALOG, Relation, constraint_oid, default_oid, index_oid, number, system_oid,
    },
    rows::{Cell, Rows},
    text, types,
};
use arrow::{array::RecordBatch, error::ArrowError};

type Built = Result<RecordBatch, ArrowError>;

/// System relations with their oid and their schema's oid.
pub(crate) fn system(objects: &Objects) -> impl Iterator<Item = (u32, u32, &'static Layout)> {
    let information_schema = objects.namespace_oid("information_schema");
    layout::all().iter().enumerate().filter(|(_, layout)| layout.kind != "f").map(move |(place, layout)| {
        let namespace = if layout.schema == "pg_catalog" { PG_CATALOG } else { information_schema };
        (system_oid(layout, place), namespace, layout)
    })
}

pub(crate) fn class(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    let owner = Cell::from(objects.owner_oid());
    let common = |kind: &str, oid: u32, columns: usize| {
        [
            ("oid", Cell::from(oid)),
            ("relkind", kind.into()),
            ("relnatts", number(columns).saturating_sub(1).into()),
            ("relowner", owner.clone()),
            ("relpersistence", "p".into()),
            ("relispopulated", true.into()),
            // Never analysed, as far as a client may know: row counts would tell of hidden rows.
            ("reltuples", (-1).into()),
            ("relreplident", if kind == "r" { "d" } else { "n" }.into()),
            (
                "relam",
                Cell::from(match kind {
                    "r" => HEAP,
                    "i" => BTREE,
                    _ => 0,
                }),
            ),
            ("relhasrules", (kind == "v").into()),
        ]
    };
    for (oid, namespace, system) in system(objects) {
        let named = [("relname", Cell::from(system.name)), ("relnamespace", namespace.into())];
        rows.push_all(common(system.kind, oid, system.columns.len()).into_iter().chain(named));
    }
    for relation in &objects.relations {
        let namespace = Cell::from(objects.namespace_oid(relation.name.schema()));
        let kind = if relation.kind == Kind::Table { "r" } else { "v" };
        let named = [
            ("relname", Cell::from(relation.name.name())),
            ("relnamespace", namespace.clone()),
            ("relhasindex", (!relation.key.is_empty()).into()),
        ];
        rows.push_all(common(kind, relation.oid, relation.columns.len()).into_iter().chain(named));
        if let Some(key) = relation.key_name() {
            let named = [("relname", Cell::from(key)), ("relnamespace", namespace)];
            rows.push_all(common("i", index_oid(relation.oid), relation.key.len()).into_iter().chain(named));
        }
    }
    rows.finish()
}

pub(crate) fn attribute(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (oid, _, system) in system(objects) {
        for (place, column) in system.columns.iter().enumerate() {
            push_attribute(&mut rows, oid, number(place), column.name, (column.type_oid, -1), column.not_null, false);
        }
    }
    for relation in &objects.relations {
        for (number, column) in relation.attributes() {
            let typed = types::of_column(column.column_type);
            let (oid, not_null) = (relation.oid, column.not_null);
            push_attribute(&mut rows, oid, number, &column.name, typed, not_null, column.default.is_some());
        }
        for (place, (_, column)) in relation.key_columns().enumerate() {
            let typed = types::of_column(column.column_type);
            push_attribute(&mut rows, index_oid(relation.oid), number(place), &column.name, typed, false, false);
        }
    }
    rows.finish()
}

fn push_attribute(
    rows: &mut Rows,
    relation: u32,
    number: i16,
    name: &str,
    (type_oid, modifier): (u32, i32),
    not_null: bool,
    has_default: bool,
) {
    let Some(found) = types::by_oid(type_oid) else { return };
    rows.push([
        ("attrelid", relation.into()),
        ("attname", name.into()),
        ("attnum", number.into()),
        ("atttypid", type_oid.into()),
        ("atttypmod", modifier.into()),
        ("attlen", found.length.into()),
        ("attbyval", found.by_value.into()),
        ("attalign", found.align.into()),
        ("attstorage", found.storage.into()),
        ("attcollation", found.collation.into()),
        ("attndims", i32::from(found.category == "A").into()),
        ("attnotnull", not_null.into()),
        ("atthasdef", has_default.into()),
        ("attislocal", true.into()),
        ("attstattarget", (-1).into()),
        ("attcacheoff", (-1).into()),
    ]);
}

/// `adbin` holds the default's SQL text, which `pg_get_expr` hands back.
pub(crate) fn attrdef(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in &objects.relations {
        for (number, column) in relation.attributes() {
            if let Some(default) = &column.default {
                rows.push([
                    ("oid", default_oid(relation.oid, number).into()),
                    ("adrelid", relation.oid.into()),
                    ("adnum", number.into()),
                    ("adbin", default.clone().into()),
                ]);
            }
        }
    }
    rows.finish()
}

fn keyed(objects: &Objects) -> impl Iterator<Item = (&Relation, String)> {
    objects.relations.iter().filter_map(|relation| Some((relation, relation.key_name()?)))
}

fn key_numbers(relation: &Relation) -> Vec<i64> {
    relation.key_columns().map(|(number, _)| i64::from(number)).collect()
}

pub(crate) fn index(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (relation, _) in keyed(objects) {
        let key_types = || relation.key_columns().map(|(_, column)| types::of_column(column.column_type).0);
        let count = i64::try_from(relation.key.len()).unwrap_or(0);
        let collation = |oid: u32| types::by_oid(oid).map_or(0, |found| i64::from(found.collation));
        rows.push([
            ("indexrelid", index_oid(relation.oid).into()),
            ("indrelid", relation.oid.into()),
            ("indnatts", count.into()),
            ("indnkeyatts", count.into()),
            ("indisunique", true.into()),
            ("indisprimary", true.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", key_numbers(relation).into()),
            ("indcollation", key_types().map(collation).collect::<Vec<_>>().into()),
            ("indclass", key_types().map(|oid| i64::from(operator_class(oid).0)).collect::<Vec<_>>().into()),
            ("indoption", vec![0_i64; relation.key.len()].into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn constraint(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (relation, name) in keyed(objects) {
        rows.push([
            ("oid", constraint_oid(relation.oid).into()),
            ("conname", name.into()),
            ("connamespace", objects.namespace_oid(relation.name.schema()).into()),
            ("contype", "p".into()),
            ("convalidated", true.into()),
            ("conrelid", relation.oid.into()),
            ("conindid", index_oid(relation.oid).into()),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", key_numbers(relation).into()),
        ]);
    }
    rows.finish()
}

/// The default btree operator class of a type that a key may have: its oid, name and family.
pub(crate) fn operator_class(type_oid: u32) -> (u32, &'static str, u32) {
    match type_oid {
        16 => (10_003, "bool_ops", 424),
        17 => (10_006, "bytea_ops", 428),
        20 => (3124, "int8_ops", 1976),
        21 => (1979, "int2_ops", 1976),
        23 => (1978, "int4_ops", 1976),
        700 => (10_012, "float4_ops", 1970),
        701 => (3123, "float8_ops", 1970),
        1082 => (3122, "date_ops", 434),
        1083 => (10_038, "time_ops", 1996),
        1114 => (3128, "timestamp_ops", 434),
        1184 => (3127, "timestamptz_ops", 434),
        1186 => (10_022, "interval_ops", 1982),
        1700 => (3125, "numeric_ops", 1988),
        2950 => (10_065, "uuid_ops", 2968),
        _ => (3126, "text_ops", 1994),
    }
}

pub(crate) fn opclass(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for type_oid in [16, 17, 20, 21, 23, 25, 700, 701, 1082, 1083, 1114, 1184, 1186, 1700, 2950] {
        let (oid, name, family) = operator_class(type_oid);
        rows.push([
            ("oid", oid.into()),
            ("opcmethod", BTREE.into()),
            ("opcname", name.into()),
            ("opcnamespace", PG_CATALOG.into()),
            ("opcowner", objects.owner_oid().into()),
            ("opcfamily", family.into()),
            ("opcintype", Cell::from(type_oid)),
            ("opcdefault", true.into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn tables(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    let owner = || Cell::from(objects.session.owner.as_str());
    for (_, _, system) in system(objects).filter(|(_, _, system)| system.kind == "r") {
        rows.push([
            ("schemaname", system.schema.into()),
            ("tablename", system.name.into()),
            ("tableowner", owner()),
            ("hasindexes", false.into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
    for relation in objects.relations.iter().filter(|relation| relation.kind == Kind::Table) {
        rows.push([
            ("schemaname", relation.name.schema().into()),
            ("tablename", relation.name.name().into()),
            ("tableowner", owner()),
            ("hasindexes", (!relation.key.is_empty()).into()),
            ("hasrules", false.into()),
            ("hastriggers", false.into()),
            ("rowsecurity", false.into()),
        ]);
    }
    rows.finish()
}

/// The tables, with no figures: those would tell of hidden rows.
pub(crate) fn statistics(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for relation in objects.relations.iter().filter(|relation| relation.kind == Kind::Table) {
        rows.push([
            ("relid", relation.oid.into()),
            ("schemaname", relation.name.schema().into()),
            ("relname", relation.name.name().into()),
        ]);
    }
    rows.finish()
}

/// System views are ours, not SQL: they have no definition.
pub(crate) fn views(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    let owner = || Cell::from(objects.session.owner.as_str());
    for (_, _, system) in system(objects).filter(|(_, _, system)| system.kind == "v") {
        rows.push([("schemaname", system.schema.into()), ("viewname", system.name.into()), ("viewowner", owner())]);
    }
    for relation in objects.relations.iter().filter(|relation| relation.kind == Kind::View) {
        rows.push([
            ("schemaname", relation.name.schema().into()),
            ("viewname", relation.name.name().into()),
            ("viewowner", owner()),
            ("definition", relation.definition.clone().into()),
        ]);
    }
    rows.finish()
}

pub(crate) fn indexes(layout: &'static Layout, objects: &Objects) -> Built {
    let mut rows = Rows::new(layout);
    for (relation, name) in keyed(objects) {
        rows.push([
            ("schemaname", relation.name.schema().into()),
            ("tablename", relation.name.name().into()),
            ("indexname", name.into()),
            ("indexdef", index_definition(relation).into()),
        ]);
    }
    rows.finish()
}

/// As `pg_get_indexdef` prints a whole index.
pub(crate) fn index_definition(relation: &Relation) -> Option<String> {
    let name = text::quote_identifier(&relation.key_name()?);
    let table = text::qualified(relation.name.schema(), relation.name.name());
    Some(format!("CREATE UNIQUE INDEX {name} ON {table} USING btree ({})", key_list(relation)))
}

pub(crate) fn key_list(relation: &Relation) -> String {
    let names: Vec<String> = relation.key_columns().map(|(_, column)| text::quote_identifier(&column.name)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use weir_model::{ColumnType, NAME_BYTES_MAX, ObjectName};

    use super::{super::objects::Attribute, *};

    #[test]
    fn long_key_names_are_cut_to_a_valid_name() {
        let column = Attribute { name: "id".into(), column_type: ColumnType::BigInt, not_null: true, default: None };
        let relation = |name: &str| Relation {
            oid: 16_400,
            name: ObjectName::new("public", name).unwrap(),
            kind: Kind::Table,
            columns: vec![column.clone()],
            key: vec![0],
            definition: None,
            actions: Vec::new(),
        };
        assert_eq!(relation("orders").key_name().as_deref(), Some("orders_pkey"));
        let cut = relation(&"ä".repeat(31)).key_name().unwrap();
        assert!(cut.len() <= NAME_BYTES_MAX && cut.ends_with("_pkey"), "{cut}");
        assert_eq!(
            index_definition(&relation("Odd Name")).as_deref(),
            Some("CREATE UNIQUE INDEX \"Odd Name_pkey\" ON public.\"Odd Name\" USING btree (id)")
        );
    }
}
