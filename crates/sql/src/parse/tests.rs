use weir_model::{Action, Code};

use crate::{CopyDirection, CopyFormat, FetchCount, Kind, parse};

/// The one statement's uses, as `action schema.name`.
fn uses(sql: &str) -> Vec<String> {
    let statements = parse(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
    assert_eq!(statements.len(), 1, "{sql}");
    let mut uses: Vec<String> =
        statements[0].uses().iter().map(|object| format!("{} {}", object.action, object.name)).collect();
    uses.sort();
    uses
}

fn refusal(sql: &str) -> weir_model::Refusal {
    parse(sql).map(|_| ()).expect_err(sql)
}

#[test]
fn uses_are_found_at_every_depth() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(uses(sql), expected, "{sql}");
    check("SELECT 1", &[]);
    check("SELECT * FROM Orders o, s.\"T x\"", &["select orders", "select s.T x"]);
    check(
        "SELECT (SELECT max(a) FROM t1) FROM t2 WHERE x IN (SELECT y FROM t3)",
        &["select t1", "select t2", "select t3"],
    );
    check("SELECT 1 FROM a UNION SELECT 2 FROM b EXCEPT TABLE c", &["select a", "select b"]);
    check("SELECT * FROM a JOIN LATERAL (SELECT * FROM b WHERE b.x = a.x) q ON true", &["select a", "select b"]);
    check("SELECT * FROM generate_series(1, 3) AS g, t", &["select t"]);
    check("SELECT * FROM t ORDER BY (SELECT count(*) FROM u)", &["select t", "select u"]);
    check("INSERT INTO t SELECT * FROM u", &["insert t", "select u"]);
    check("UPDATE t SET a = 1", &["update t"]);
    check("UPDATE t SET a = b", &["select t", "update t"]);
    check("UPDATE t SET a = 1 WHERE b IN (SELECT c FROM u)", &["select t", "select u", "update t"]);
    check("DELETE FROM t", &["delete t"]);
    check("DELETE FROM t x WHERE x.a = 1", &["delete t", "select t"]);
    check("TRUNCATE TABLE a, b", &["truncate a", "truncate b"]);
    check("CREATE TABLE n AS SELECT * FROM t", &["create n", "select t"]);
    check("CREATE VIEW v AS SELECT * FROM t", &["create v", "select t"]);
    check("DROP TABLE IF EXISTS a, s.b", &["drop a", "drop s.b"]);
    check("COPY t (a) FROM STDIN", &["insert t"]);
    check("COPY t TO STDOUT", &["select t"]);
    check("COPY (SELECT * FROM t) TO STDOUT WITH (FORMAT csv)", &["select t"]);
    check("EXPLAIN SELECT * FROM t", &["select t"]);
    check("PREPARE p AS DELETE FROM t", &["delete t"]);
    check("DECLARE c CURSOR FOR SELECT * FROM t", &["select t"]);
}

#[test]
fn cte_names_follow_postgres_scoping() {
    let check = |sql: &str, expected: &[&str]| assert_eq!(uses(sql), expected, "{sql}");
    check("WITH t AS (SELECT 1) SELECT * FROM t", &[]);
    check("WITH t AS (SELECT * FROM t) SELECT * FROM t", &["select t"]);
    check("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", &["select b"]);
    check("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", &[]);
    check("WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r) SELECT * FROM r", &[]);
    check("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) q, t", &["select t"]);
    check("WITH t AS (SELECT 1) SELECT * FROM public.t", &["select public.t"]);
    check("WITH t AS (SELECT 1) SELECT (SELECT count(*) FROM t)", &[]);
}

#[test]
fn what_would_be_ignored_is_refused() {
    for sql in [
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM (SELECT * FROM t FOR SHARE) q",
        "SELECT * INTO n FROM t",
        "INSERT INTO t VALUES (1, (SELECT max(x) FROM u))",
        "VALUES ((SELECT 1))",
        "SELECT 1 AS a UNION BY NAME SELECT 2 AS a",
        "SELECT a FROM (SELECT * FROM a FULL JOIN b USING (x)) q",
        "SELECT x FROM (a RIGHT JOIN b USING (x)) JOIN c USING (x)",
        "SELECT * FROM a FULL JOIN b USING (x)",
        "SELECT * FROM a NATURAL RIGHT JOIN b",
        "SELECT * FROM a RIGHT JOIN b USING (x)",
        "SELECT (1, 2) IN (SELECT 1, 2)",
        "SELECT (1, 2) = (SELECT 1, 2)",
        "SELECT (1, 2) IS DISTINCT FROM (1, 2)",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1) RETURNING a",
        "UPDATE t SET a = 1 FROM u",
        "DELETE FROM t USING u WHERE t.a = u.a",
        "DELETE FROM t RETURNING *",
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
        "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
        "SAVEPOINT a",
        "ROLLBACK TO SAVEPOINT a",
        "CREATE TEMPORARY TABLE t (a int)",
        "CREATE TABLE t (a int UNIQUE)",
        "CREATE TABLE t (a int CHECK (a > 0))",
        "CREATE TABLE t (a int REFERENCES u)",
        "CREATE TABLE t (a serial)",
        "CREATE INDEX i ON t (a)",
        "ALTER TABLE t ADD COLUMN b int",
        "GRANT SELECT ON t TO x",
        "VACUUM",
        "COPY t FROM '/etc/passwd'",
        "COPY t TO PROGRAM 'sh'",
        "DROP TABLE t CASCADE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SELECT a FROM t FETCH FIRST 1 ROWS WITH TIES",
        "EXPLAIN ANALYZE SELECT 1",
        "LISTEN x",
        "CALL f()",
        "DECLARE c SCROLL CURSOR FOR SELECT 1",
    ] {
        let refusal = refusal(sql);
        assert_eq!(refusal.code(), Code::Unsupported, "{sql}: {refusal}");
    }
    assert_eq!(refusal("SELECT __weir_row FROM t").code(), Code::UndefinedColumn);
    assert_eq!(refusal("SELECT * FROM other.public.t").code(), Code::SchemaViolation);
    assert_eq!(refusal("SET ROLE admin").code(), Code::PermissionDenied);
}

#[test]
fn statements_keep_their_own_text() {
    let statements = parse(" SELECT 1 ;; -- note\n select ';' ; /* ; */ COPY t FROM STDIN").unwrap();
    let texts: Vec<&str> = statements.iter().map(|statement| statement.text()).collect();
    assert_eq!(texts, ["SELECT 1", "select ';'", "COPY t FROM STDIN"]);
    assert!(parse(" ; -- nothing").unwrap().is_empty());
}

#[test]
fn errors_carry_a_character_position() {
    let check = |sql: &str, position: Option<u32>| {
        let refusal = refusal(sql);
        assert_eq!(refusal.code(), Code::SyntaxError, "{sql}: {refusal}");
        assert_eq!(refusal.position(), position, "{sql}: {refusal}");
    };
    check("SELEC 1", Some(1));
    check("SELECT 1;\nSELECT 'é', FROM t WHERE", Some(28));
    check("SELECT 1 1", Some(10));
    check("SELECT 'é';\nSELEC 2", Some(13));
    check("SELECT 'open", Some(8));
}

#[test]
fn limits_hold() {
    let deep = format!("SELECT {}1{}", "(".repeat(1_000_000), ")".repeat(1_000_000));
    assert!(matches!(refusal(&deep).code(), Code::StatementTooComplex | Code::ProgramLimitExceeded));
    let nested = format!("SELECT {}1{}", "(".repeat(100), ")".repeat(100));
    assert_eq!(refusal(&nested).code(), Code::StatementTooComplex);
    assert!(parse(&format!("SELECT {}1{}", "(".repeat(30), ")".repeat(30))).is_ok());
    assert_eq!(refusal(&format!("SELECT 1{}", "+1".repeat(100_000))).code(), Code::StatementTooComplex);
    assert!(parse(&format!("SELECT 1 WHERE true{}", " AND a = 1".repeat(500))).is_ok());
    assert!(parse(&format!("SELECT 1 WHERE a IN (1{})", ",2".repeat(10_000))).is_ok());
    assert_eq!(refusal(&format!("SELECT 1{}", " UNION SELECT 1".repeat(300))).code(), Code::StatementTooComplex);
    assert_eq!(refusal(&format!("SELECT {}1", "NOT ".repeat(5_000))).code(), Code::StatementTooComplex);
    assert_eq!(refusal(&format!("SELECT 1{}", ",1".repeat(1_000_000))).code(), Code::ProgramLimitExceeded);
    assert!(parse(&format!("SELECT '{}'", "x".repeat(10_000_000))).is_ok());
    assert_eq!(refusal("SELECT '\0'").code(), Code::InvalidByteSequence);
}

#[test]
fn fingerprints_ignore_literals_and_layout() {
    let print = |sql: &str| parse(sql).unwrap()[0].fingerprint();
    assert_eq!(print("SELECT a FROM t WHERE b = 1"), print("select  a from T where b = $1;"));
    assert_eq!(print("SELECT 'x'"), print("SELECT 'it''s secret'"));
    assert_ne!(print("SELECT a FROM t"), print("SELECT b FROM t"));
    assert_ne!(print("SELECT a FROM t"), print("SELECT a FROM \"T\""));
}

#[test]
fn kinds_carry_what_they_say() {
    let kind = |sql: &str| parse(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"))[0].kind().clone();
    assert!(matches!(kind("BEGIN READ ONLY"), Kind::Begin { read_only: Some(true) }));
    assert!(matches!(kind("START TRANSACTION READ WRITE"), Kind::Begin { read_only: Some(false) }));
    assert!(matches!(kind("START TRANSACTION ISOLATION LEVEL REPEATABLE READ"), Kind::Begin { read_only: None }));
    assert!(matches!(kind("END"), Kind::Commit));
    assert!(matches!(kind("ABORT"), Kind::Rollback));
    assert!(matches!(kind("SHOW TRANSACTION ISOLATION LEVEL"), Kind::Show(name) if name == "transaction_isolation"));
    assert!(matches!(kind("SHOW TIME ZONE"), Kind::Show(name) if name == "timezone"));
    assert!(matches!(kind("RESET ALL"), Kind::Reset(None)));
    assert!(matches!(kind("DEALLOCATE ALL"), Kind::Deallocate(None)));
    assert!(matches!(kind("FETCH FORWARD 100 FROM c"), Kind::Fetch(fetch) if fetch.count == FetchCount::Rows(100)));
    assert!(matches!(kind("FETCH ALL IN c"), Kind::Fetch(fetch) if fetch.count == FetchCount::All));
    assert!(matches!(kind("CLOSE c"), Kind::Close(Some(name)) if name == "c"));
    assert!(matches!(kind("UNLISTEN *"), Kind::Unlisten));
    let Kind::Set(set) = kind("SET statement_timeout TO '5s'") else { panic!() };
    assert_eq!((set.name.as_str(), set.value.as_deref()), ("statement_timeout", Some("5s")));
    let Kind::Set(set) = kind("SET search_path = a, \"B\"") else { panic!() };
    assert_eq!(set.value.as_deref(), Some("a, B"));
    let Kind::Set(set) = kind("SET TIME ZONE 'Europe/Berlin'") else { panic!() };
    assert_eq!((set.name.as_str(), set.value.as_deref()), ("timezone", Some("Europe/Berlin")));
    let Kind::Set(set) = kind("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY") else { panic!() };
    assert_eq!(set.name, "default_transaction_read_only");
    let Kind::Copy(copy) = kind("COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, NULL 'NA')") else { panic!() };
    assert!(matches!(copy.direction, CopyDirection::In { columns, .. } if columns == ["a", "b"]));
    assert_eq!((copy.options.format, copy.options.header, copy.options.null.as_str()), (CopyFormat::Csv, true, "NA"));
    let Kind::Copy(copy) = kind("COPY t FROM STDIN CSV HEADER DELIMITER ';'") else { panic!() };
    assert_eq!((copy.options.format, copy.options.delimiter), (CopyFormat::Csv, b';'));
}

#[test]
fn create_table_reads_columns_and_key() {
    let statements = parse(
        "CREATE TABLE IF NOT EXISTS s.t (id bigint PRIMARY KEY, n numeric(15,2) NOT NULL, v varchar(25) DEFAULT 'x', \
         ts timestamp with time zone DEFAULT now(), j jsonb)",
    )
    .unwrap();
    let Kind::CreateTable(table) = statements[0].kind() else { panic!() };
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{} {} {}", column.name, column.column_type.tag(), column.nullable))
        .collect();
    assert_eq!(
        columns,
        ["id bigint false", "n numeric(15,2) false", "v varchar(25) true", "ts timestamptz true", "j jsonb true"]
    );
    assert_eq!(table.primary_key, ["id"]);
    assert_eq!(statements[0].uses()[0].action, Action::Create);
    let composite = parse("CREATE TABLE t (a int, b text, PRIMARY KEY (b, a))").unwrap();
    let Kind::CreateTable(table) = composite[0].kind() else { panic!() };
    assert_eq!(table.primary_key, ["b", "a"]);
    assert_eq!(refusal("CREATE TABLE t (a int, a text)").code(), Code::DuplicateColumn);
    assert_eq!(refusal("CREATE TABLE t (a int, PRIMARY KEY (z))").code(), Code::UndefinedColumn);
    assert_eq!(refusal("CREATE TABLE t (a numeric(99,2))").code(), Code::InvalidParameter);
}

#[test]
fn signs_after_operators_are_signs() {
    for (sql, expected) in
        [("SELECT a>-5", "a > -5"), ("SELECT a<=-1 AND b<>-1", "a <= -1 AND b <> -1"), ("SELECT 2*-3", "2 * -3")]
    {
        let statements = parse(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal}"));
        assert!(statements[0].tree().to_string().ends_with(expected), "{}", statements[0].tree());
    }
}

#[test]
fn parameters_are_numbered_in_sixteen_bits() {
    assert!(parse("SELECT $65535").is_ok());
    for sql in ["SELECT $65536", "SELECT $100000000000", "SELECT $99999999999999999999999"] {
        assert_eq!(refusal(sql).code(), Code::ProgramLimitExceeded, "{sql}");
    }
}

#[test]
fn fetch_first_becomes_limit() {
    let statements = parse("SELECT a FROM t ORDER BY a OFFSET 2 FETCH FIRST 3 ROWS ONLY").unwrap();
    assert!(statements[0].tree().to_string().contains("LIMIT 3"), "{}", statements[0].tree());
}
