//! The built-in types, as `pg_type` has them: read from `types.tsv`, with an array type derived for each that has one.

use std::{collections::HashMap, sync::LazyLock};

use weir_model::ColumnType;

pub(crate) const TEXT: u32 = 25;
pub(crate) const INT4: u32 = 23;
pub(crate) const REGPROC: u32 = 24;
pub(crate) const TIMESTAMPTZ: u32 = 1184;

/// Collation `default`; `C` is the one of `name`.
pub(crate) const DEFAULT_COLLATION: u32 = 100;

/// One row of `pg_type`.
#[derive(Debug, Clone)]
pub(crate) struct PgType {
    pub(crate) oid: u32,
    pub(crate) name: String,
    /// As `format_type` prints it.
    pub(crate) sql_name: String,
    /// Bytes, −1 for a varlena, −2 for a C string.
    pub(crate) length: i16,
    pub(crate) by_value: bool,
    pub(crate) kind: &'static str,
    pub(crate) category: &'static str,
    pub(crate) preferred: bool,
    pub(crate) element: u32,
    pub(crate) array: u32,
    pub(crate) align: &'static str,
    pub(crate) storage: &'static str,
    pub(crate) collation: u32,
    /// input, output, receive, send.
    pub(crate) functions: [&'static str; 4],
}

fn parse(line: &'static str) -> Option<PgType> {
    let mut parts = line.split('\t');
    let mut next = || parts.next();
    Some(PgType {
        oid: next()?.parse().ok()?,
        name: next()?.to_owned(),
        sql_name: next()?.to_owned(),
        length: next()?.parse().ok()?,
        by_value: next()? == "t",
        kind: next()?,
        category: next()?,
        preferred: next()? == "t",
        element: next()?.parse().ok()?,
        array: next()?.parse().ok()?,
        align: next()?,
        storage: next()?,
        collation: next()?.parse().ok()?,
        functions: [next()?, next()?, next()?, next()?],
    })
}

fn array_of(element: &PgType) -> PgType {
    PgType {
        oid: element.array,
        name: format!("_{}", element.name),
        sql_name: format!("{}[]", element.sql_name),
        length: -1,
        by_value: false,
        kind: "b",
        category: "A",
        preferred: false,
        element: element.oid,
        array: 0,
        align: if element.align == "d" { "d" } else { "i" },
        storage: "x",
        collation: element.collation,
        functions: ["array_in", "array_out", "array_recv", "array_send"],
    }
}

static TYPES: LazyLock<Vec<PgType>> = LazyLock::new(|| {
    let plain: Vec<PgType> = include_str!("types.tsv").lines().filter_map(parse).collect();
    let arrays: Vec<PgType> = plain.iter().filter(|each| each.array != 0).map(array_of).collect();
    let mut all = [plain, arrays].concat();
    all.sort_by_key(|each| each.oid);
    all
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static PgType>> = LazyLock::new(|| {
    let mut names: HashMap<&'static str, &'static PgType> =
        TYPES.iter().map(|each| (each.sql_name.as_str(), each)).collect();
    names.extend(TYPES.iter().map(|each| (each.name.as_str(), each)));
    for (alias, name) in [("int", "int4"), ("decimal", "numeric"), ("\"char\"", "char")] {
        if let Some(found) = names.get(name).copied() {
            names.insert(alias, found);
        }
    }
    names
});

pub(crate) fn all() -> &'static [PgType] {
    &TYPES
}

pub(crate) fn by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.binary_search_by_key(&oid, |each| each.oid).ok().and_then(|index| TYPES.get(index))
}

/// By catalog name (`int4`, `_int4`) or SQL name (`integer`, `integer[]`).
pub(crate) fn by_name(name: &str) -> Option<&'static PgType> {
    BY_NAME.get(name).copied()
}

/// The type's oid and modifier (−1 for none) of a column of ours.
pub(crate) fn of_column(column_type: ColumnType) -> (u32, i32) {
    let modifier = match column_type {
        ColumnType::Varchar(length) => i32::try_from(length).map_or(-1, |length| length.saturating_add(4)),
        ColumnType::Numeric { precision, scale } => ((i32::from(precision) << 16) | i32::from(scale)) + 4,
        _ => -1,
    };
    let oid = match column_type {
        ColumnType::Boolean => 16,
        ColumnType::SmallInt => 21,
        ColumnType::Integer => INT4,
        ColumnType::BigInt => 20,
        ColumnType::Real => 700,
        ColumnType::Double => 701,
        ColumnType::Numeric { .. } => 1700,
        ColumnType::Text => TEXT,
        ColumnType::Varchar(_) => 1043,
        ColumnType::Bytea => 17,
        ColumnType::Date => 1082,
        ColumnType::Time => 1083,
        ColumnType::Timestamp => 1114,
        ColumnType::Timestamptz => TIMESTAMPTZ,
        ColumnType::Interval => 1186,
        ColumnType::Uuid => 2950,
        ColumnType::Json => 114,
        ColumnType::Jsonb => 3802,
    };
    (oid, modifier)
}

/// What `format_type` answers: `???` for a type that does not exist, as PostgreSQL.
pub(crate) fn format(oid: u32, modifier: Option<i64>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(found) = by_oid(oid) else { return "???".to_owned() };
    if found.category == "A"
        && let Some(element) = by_oid(found.element)
    {
        return format!("{}[]", with_modifier(element, modifier));
    }
    with_modifier(found, modifier)
}

fn with_modifier(found: &PgType, modifier: Option<i64>) -> String {
    let Some(modifier) = modifier.filter(|&modifier| modifier >= 0) else { return found.sql_name.clone() };
    let name = found.sql_name.as_str();
    match found.name.as_str() {
        "varchar" | "bpchar" if modifier >= 4 => format!("{name}({})", modifier - 4),
        "numeric" if modifier >= 4 => {
            let packed = modifier - 4;
            format!("{name}({},{})", (packed >> 16) & 0xffff, packed & 0x7ff)
        }
        "bit" | "varbit" => format!("{name}({modifier})"),
        "time" | "timestamp" | "timetz" | "timestamptz" => match name.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}"),
            None => format!("{name}({modifier})"),
        },
        _ => found.sql_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn every_line_is_read_and_every_oid_is_one_type() {
        let lines = include_str!("types.tsv").lines().count();
        assert_eq!(all().iter().filter(|each| each.category != "A" || !each.name.starts_with('_')).count(), lines);
        assert!(all().is_sorted_by(|left, right| left.oid < right.oid));
    }

    #[test]
    fn formats_as_postgres_does() {
        let check = |column_type: ColumnType, expected: &str| {
            let (oid, modifier) = of_column(column_type);
            assert_eq!(format(oid, Some(i64::from(modifier))), expected);
        };
        check(ColumnType::Varchar(25), "character varying(25)");
        check(ColumnType::Numeric { precision: 15, scale: 2 }, "numeric(15,2)");
        check(ColumnType::NUMERIC_DEFAULT, "numeric(38,10)");
        check(ColumnType::Timestamptz, "timestamp with time zone");
        check(ColumnType::SmallInt, "smallint");
        assert_eq!(format(1007, None), "integer[]");
        assert_eq!(format(0, None), "-");
        assert_eq!(format(999_999, None), "???");
        assert_eq!(by_name("integer").unwrap().oid, by_name("int4").unwrap().oid);
    }
}
