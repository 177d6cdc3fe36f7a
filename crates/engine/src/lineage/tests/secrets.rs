//! Non-interference: two databases that differ only in masked values answer every statement alike, errors included.
//!
//! Statements are made at random from small grammars; a seed names each. Both databases have the same NULLs and the
//! same equal values, which is what counting tells.

use std::fmt::Write as _;

use super::{Fixture, key};
use crate::mask::REDACTED;

const ONE: &str = "
    (1, 'Alice Secret', '25-989-741-2988', 100.00, 'regular', 'BUILDING', 'DE-secret-3456'),
    (2, 'Bob Secret',   '23-768-687-3665', 121.65, 'late',    'MACHINERY', 'FR-secret-7654'),
    (3, 'Carol Secret', '25-989-741-2988', 7498.12, '12',     'BUILDING', 'DE-secret-3456'),
    (4, NULL,           NULL,              NULL,    'new',     'BUILDING', NULL)";

const TWO: &str = "
    (1, '77',           '0',               -3.00,  'regular', 'BUILDING', 'XX-secret-3456'),
    (2, 'Zed Secret',   '99-999',          0.00,   'late',    'MACHINERY', 'YY-secret-7654'),
    (3, '12',           '0',               2.50,   '12',      'BUILDING', 'XX-secret-3456'),
    (4, NULL,           NULL,              NULL,    'new',     'BUILDING', NULL)";

/// Whether a made-up expression may read masked columns. Conditions mostly may not: they would be refused.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    Anything,
    Unmasked,
}

/// xorshift64*: statements must be the same on every machine.
struct Maker(u64);

impl Maker {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(mixed).unwrap() % bound
    }

    fn pick(&mut self, of: &[&str]) -> String {
        of[self.below(of.len())].to_owned()
    }

    fn number(&mut self, depth: usize, reads: Reads) -> String {
        if depth == 0 {
            return match reads {
                Reads::Anything => self.pick(&["c_acctbal", "c_acctbal", "c_custkey", "100", "0", "2.5"]),
                Reads::Unmasked => self.pick(&["c_custkey", "c_custkey", "1", "0", "2.5"]),
            };
        }
        let depth = depth - 1;
        match self.below(9) {
            0 => format!("({} + {})", self.number(depth, reads), self.number(depth, reads)),
            1 => format!("({} / ({} - 100))", self.number(depth, reads), self.number(depth, reads)),
            2 => format!("abs({})", self.number(depth, reads)),
            3 => format!("cast({} as int)", self.text(depth, reads)),
            4 => format!("length({})", self.text(depth, reads)),
            5 => {
                let condition = self.condition(depth, reads);
                format!(
                    "case when {condition} then {} else {} end",
                    self.number(depth, reads),
                    self.number(depth, reads)
                )
            }
            6 => format!("coalesce({}, {})", self.number(depth, reads), self.number(depth, reads)),
            7 => format!("(select max({}) from customer)", self.number(depth, reads)),
            _ => self.number(0, reads),
        }
    }

    fn text(&mut self, depth: usize, reads: Reads) -> String {
        if depth == 0 {
            return match reads {
                Reads::Anything => self.pick(&["c_name", "c_phone", "c_iban", "c_comment", "'12'"]),
                Reads::Unmasked => self.pick(&["c_comment", "c_mktsegment", "'12'"]),
            };
        }
        let depth = depth - 1;
        match self.below(8) {
            0 => format!("({} || {})", self.text(depth, reads), self.text(depth, reads)),
            1 => format!("upper({})", self.text(depth, reads)),
            2 => format!("substr({}, 1, {})", self.text(depth, reads), 1 + self.below(3)),
            3 => {
                let condition = self.condition(depth, reads);
                format!("case when {condition} then {} else {} end", self.text(depth, reads), self.text(depth, reads))
            }
            4 => format!("cast({} as varchar)", self.number(depth, reads)),
            5 => format!("coalesce({}, {})", self.text(depth, reads), self.text(depth, reads)),
            6 => format!("(select {} from customer where c_custkey = {})", self.text(depth, reads), 1 + self.below(4)),
            _ => self.text(0, reads),
        }
    }

    fn condition(&mut self, depth: usize, reads: Reads) -> String {
        let depth = depth.saturating_sub(1);
        match self.below(9) {
            0 => format!("{} < {}", self.number(depth, reads), self.number(depth, reads)),
            1 => format!("{} = {}", self.text(depth, reads), self.text(depth, reads)),
            2 => format!("{} like '%e%'", self.text(depth, reads)),
            3 => format!("{} is null", self.text(depth, reads)),
            4 => format!("({} and {})", self.condition(depth, reads), self.condition(depth, reads)),
            5 => format!("not {}", self.condition(depth, reads)),
            6 => format!("{} in (1, {})", self.number(depth, reads), self.number(depth, reads)),
            7 => format!("exists (select 1 from orders where o_custkey = {})", self.number(0, reads)),
            _ => format!("{} in (select {} from customer)", self.number(0, reads), self.number(depth, reads)),
        }
    }

    fn mostly_unmasked(&mut self) -> Reads {
        if self.below(6) == 0 { Reads::Anything } else { Reads::Unmasked }
    }

    fn aggregate(&mut self) -> String {
        let (number, text) = (self.number(2, Reads::Anything), self.text(1, Reads::Anything));
        let filter = self.mostly_unmasked();
        match self.below(6) {
            0 => format!("sum({number})"),
            1 => format!("max({text})"),
            2 => format!("count({text})"),
            3 => format!("count(distinct {text})"),
            4 => format!("count(*) filter (where {})", self.condition(1, filter)),
            _ => format!("avg(case when {} then {number} end)", self.condition(1, Reads::Anything)),
        }
    }

    fn statement(&mut self) -> String {
        let reads = self.mostly_unmasked();
        let (number, text) = (self.number(3, Reads::Anything), self.text(2, Reads::Anything));
        let condition = self.condition(2, reads);
        let key = self.number(1, reads);
        match self.below(11) {
            0 => format!("select {number}, {text}, {} from customer", self.condition(2, Reads::Anything)),
            1 => format!("select {number}, {text} from customer where {condition}"),
            2 => format!("select {number} as n, c_name from customer order by {key}, c_custkey"),
            3 => format!("select {}, {} from customer where {condition}", self.aggregate(), self.aggregate()),
            4 => {
                let key = self.text(1, reads);
                format!(
                    "select {key}, {}, {} from customer group by {key} order by 2",
                    self.aggregate(),
                    self.aggregate()
                )
            }
            5 => format!("select {text}, sum({number}) over (order by {key}) from customer"),
            6 => {
                format!("select {text} from customer union all select {} from customer", self.text(1, Reads::Anything))
            }
            7 => format!("select n, t from (select {number} n, {text} t, c_custkey from customer) x where {condition}")
                .replace("c_acctbal", "n")
                .replace("from customer) x", "from customer) x cross join customer c"),
            8 => format!("with w as (select {number} n, {text} t from customer) select max(n), count(t) from w"),
            9 => format!(
                "select o_orderkey, {number} from orders join customer on o_custkey = c_custkey and {condition}"
            ),
            _ => format!("select distinct {key}, {} from customer", self.text(1, reads)),
        }
    }
}

/// What a client sees of a statement, as text.
async fn seen(fixture: &Fixture, sql: &str) -> String {
    match fixture.run(sql).await {
        Err(error) => error,
        Ok(batch) => {
            let mut text = format!("{} rows\n", batch.num_rows());
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                writeln!(text, "{} {:?}", field.data_type(), column).unwrap();
            }
            text
        }
    }
}

/// Digests of different values differ, and are all that may: equal ones were made equal in both databases.
fn without_digests(text: &str) -> String {
    let is_digest = |word: &str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split('"').map(|word| if is_digest(word) { "digest" } else { word }).collect::<Vec<_>>().join("\"")
}

#[tokio::test]
async fn databases_that_differ_in_secrets_answer_alike() {
    let (one, two) = (Fixture::with_customers(ONE).await, Fixture::with_customers(TWO).await);
    let statements: u64 = std::env::var("WEIR_LINEAGE_STATEMENTS").map_or(400, |text| text.parse().unwrap());
    let (mut answered, mut refused, mut failed) = (0, 0, 0);
    for seed in 1..=statements {
        let mut maker = Maker(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let sql = maker.statement();
        let (first, second) = (seen(&one, &sql).await, seen(&two, &sql).await);
        assert_eq!(without_digests(&first), without_digests(&second), "seed {seed}: {sql}");
        assert!(!first.contains("Secret") && !first.contains("secret"), "seed {seed}: {sql}\n{first}");
        match first.as_str() {
            text if text.contains("masked_predicate") => refused += 1,
            text if text.contains(" rows\n") => answered += 1,
            _ => failed += 1,
        }
    }
    let enough = statements / 10;
    assert!(answered > enough && refused > enough, "{answered} answered, {refused} refused, {failed} failed");
    println!("{statements} statements: {answered} answered, {refused} refused, {failed} failed alike");
}

#[test]
fn masks_of_the_two_databases_can_be_told_from_their_secrets() {
    assert!(!ONE.contains(REDACTED) && !TWO.contains(REDACTED));
    assert_eq!(without_digests("a \"0123456789abcdef0123456789abcdef\" b"), "a \"digest\" b");
    assert_eq!(format!("{:?}", key()), "MaskKey(…)");
}
