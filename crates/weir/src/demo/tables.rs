use std::collections::HashSet;

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int64Type,
    error::ArrowError,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// One table of TPC-H (specification 3.0.1, section 1.4): keys as `integer` or `bigint`, decimals as `numeric(15,2)`,
/// fixed and variable text as `varchar`. No column is null.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DemoTable {
    pub name: &'static str,
    pub columns: &'static str,
    /// Rows at scale 1; none for a table of fixed size.
    per_scale: Option<u64>,
    fixed: u64,
    /// Generates one part of several of the rows at a scale.
    pub part: fn(f64, i32, i32) -> Batches,
}

/// Rows of one COPY, about: a commit each.
const ROWS_PER_COPY: u64 = 250_000;

impl DemoTable {
    /// About how many rows there are; exact except for `lineitem`, and `partsupp` at the smallest scales.
    pub fn rows(&self, scale: f64) -> u64 {
        // At scales of at most 100 and tables of at most six million, far within what an f64 holds exactly.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        self.per_scale.map_or(self.fixed, |rows| (rows as f64 * scale) as u64)
    }

    /// Into how many COPY statements the table is divided.
    pub fn parts(&self, scale: f64) -> i32 {
        i32::try_from(self.rows(scale).div_ceil(ROWS_PER_COPY)).unwrap_or(i32::MAX).max(1)
    }

    pub fn create(&self) -> String {
        format!("CREATE TABLE public.{} ({})", self.name, self.columns)
    }
}

macro_rules! part {
    ($arrow:ident, $generator:ident) => {
        |scale, part, parts| Box::new($arrow::new($generator::new(scale, part, parts)))
    };
}

/// Without rows whose key was there before. Below scale 0.024, TPC-H's formula for the suppliers of a part gives some
/// of them twice. Keys are the first two columns, and rows of one part are neighbours.
fn without_repeats(batches: PartSuppArrow) -> Batches {
    let (mut current, mut suppliers) = (None, HashSet::new());
    Box::new(batches.map(move |batch| {
        let batch = batch?;
        let (parts, keys) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        let first = |(part, supplier): (&i64, &i64)| {
            if current != Some(*part) {
                current = Some(*part);
                suppliers.clear();
            }
            Some(suppliers.insert(*supplier))
        };
        let kept: BooleanArray = parts.values().iter().zip(keys.values().iter()).map(first).collect();
        filter_record_batch(&batch, &kept)
    }))
}

/// Small tables first, so that there is something to see soon.
pub(crate) const TABLES: [DemoTable; 8] = [
    DemoTable {
        name: "region",
        columns: "r_regionkey integer NOT NULL PRIMARY KEY, r_name varchar(25) NOT NULL, \
                  r_comment varchar(152) NOT NULL",
        per_scale: None,
        fixed: 5,
        part: part!(RegionArrow, RegionGenerator),
    },
    DemoTable {
        name: "nation",
        columns: "n_nationkey integer NOT NULL PRIMARY KEY, n_name varchar(25) NOT NULL, \
                  n_regionkey integer NOT NULL, n_comment varchar(152) NOT NULL",
        per_scale: None,
        fixed: 25,
        part: part!(NationArrow, NationGenerator),
    },
    DemoTable {
        name: "supplier",
        columns: "s_suppkey bigint NOT NULL PRIMARY KEY, s_name varchar(25) NOT NULL, \
                  s_address varchar(40) NOT NULL, s_nationkey integer NOT NULL, s_phone varchar(15) NOT NULL, \
                  s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL",
        per_scale: Some(10_000),
        fixed: 0,
        part: part!(SupplierArrow, SupplierGenerator),
    },
    DemoTable {
        name: "customer",
        columns: "c_custkey bigint NOT NULL PRIMARY KEY, c_name varchar(25) NOT NULL, \
                  c_address varchar(40) NOT NULL, c_nationkey integer NOT NULL, c_phone varchar(15) NOT NULL, \
                  c_acctbal numeric(15,2) NOT NULL, c_mktsegment varchar(10) NOT NULL, \
                  c_comment varchar(117) NOT NULL",
        per_scale: Some(150_000),
        fixed: 0,
        part: part!(CustomerArrow, CustomerGenerator),
    },
    DemoTable {
        name: "part",
        columns: "p_partkey bigint NOT NULL PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr varchar(25) NOT NULL, \
                  p_brand varchar(10) NOT NULL, p_type varchar(25) NOT NULL, p_size integer NOT NULL, \
                  p_container varchar(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, \
                  p_comment varchar(23) NOT NULL",
        per_scale: Some(200_000),
        fixed: 0,
        part: part!(PartArrow, PartGenerator),
    },
    DemoTable {
        name: "partsupp",
        columns: "ps_partkey bigint NOT NULL, ps_suppkey bigint NOT NULL, ps_availqty integer NOT NULL, \
                  ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, \
                  PRIMARY KEY (ps_partkey, ps_suppkey)",
        per_scale: Some(800_000),
        fixed: 0,
        part: |scale, part, parts| without_repeats(PartSuppArrow::new(PartSuppGenerator::new(scale, part, parts))),
    },
    DemoTable {
        name: "orders",
        columns: "o_orderkey bigint NOT NULL PRIMARY KEY, o_custkey bigint NOT NULL, \
                  o_orderstatus varchar(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, \
                  o_orderpriority varchar(15) NOT NULL, o_clerk varchar(15) NOT NULL, \
                  o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL",
        per_scale: Some(1_500_000),
        fixed: 0,
        part: part!(OrderArrow, OrderGenerator),
    },
    DemoTable {
        name: "lineitem",
        columns: "l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, \
                  l_linenumber integer NOT NULL, l_quantity numeric(15,2) NOT NULL, \
                  l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, \
                  l_tax numeric(15,2) NOT NULL, l_returnflag varchar(1) NOT NULL, l_linestatus varchar(1) NOT NULL, \
                  l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, \
                  l_shipinstruct varchar(25) NOT NULL, l_shipmode varchar(10) NOT NULL, \
                  l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)",
        per_scale: Some(6_000_000),
        fixed: 0,
        part: part!(LineItemArrow, LineItemGenerator),
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn no_supplier_has_a_part_twice() {
        let table = TABLES.into_iter().find(|table| table.name == "partsupp").unwrap();
        for (scale, expected) in [(0.001, 700..800), (0.012, 9_000..9_600), (0.01, 8_000..8_001)] {
            let mut keys = HashSet::new();
            for batch in (table.part)(scale, 1, 1) {
                let batch = batch.unwrap();
                let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
                column(0).into_iter().zip(column(1)).for_each(|key| assert!(keys.insert(key), "{scale}: {key:?}"));
            }
            assert!(expected.contains(&keys.len()), "{scale}: {}", keys.len());
        }
    }

    #[test]
    fn parts_together_are_the_table() {
        let scale = 0.001;
        for table in TABLES {
            let count = |parts: i32| -> usize {
                (1..=parts)
                    .flat_map(|part| (table.part)(scale, part, parts))
                    .map(|batch| batch.unwrap().num_rows())
                    .sum()
            };
            let whole = count(1);
            if table.per_scale.is_some() {
                assert_eq!(count(3), whole, "{}", table.name);
            }
            if table.name != "lineitem" && table.name != "partsupp" {
                assert_eq!(table.rows(scale), whole as u64, "{}", table.name);
            }
        }
    }
}
