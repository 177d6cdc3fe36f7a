//! The demo, small.

use std::fs;

use crate::server::{Server, connect, described, one, refusal, rows, run, text, try_connect};

#[tokio::test]
async fn the_demo_shows_what_it_promises() {
    let mut server = Server::demo();
    let (eu, us) = (connect(&server.demo_url("ANALYST_EU")).await, connect(&server.demo_url("ANALYST_US")).await);
    let (admin, support) = (connect(&server.demo_url("ADMIN")).await, connect(&server.demo_url("SUPPORT")).await);
    for (table, key) in [
        ("region", "r_regionkey"),
        ("nation", "n_nationkey"),
        ("supplier", "s_suppkey"),
        ("customer", "c_custkey"),
        ("part", "p_partkey"),
        ("partsupp", "ps_partkey, ps_suppkey"),
        ("orders", "o_orderkey"),
        ("lineitem", "l_orderkey, l_linenumber"),
    ] {
        let question = format!("SELECT {key} FROM {table} ORDER BY {key}");
        let (theirs, ours, all) =
            (rows(&eu, &question).await, rows(&us, &question).await, rows(&admin, &question).await);
        assert!(!theirs.is_empty() && !ours.is_empty(), "{table}");
        assert!(theirs.iter().all(|row| !ours.contains(row)), "{table}: both see a row");
        assert_eq!(theirs.len() + ours.len(), all.len(), "{table}");
    }

    let masked = rows(&support, "SELECT c_name, c_phone, c_acctbal FROM customer LIMIT 20").await;
    assert!(masked.iter().all(|row| row[0] == "***REDACTED***" && row[2] == "NULL"), "{masked:?}");
    let (sqlstate, detail) = refusal(&support, "SELECT c_custkey FROM customer WHERE c_name = 'x'").await;
    assert_eq!(sqlstate, "42501");
    assert!(detail.contains("code=masked_predicate"), "{detail}");

    let globex = try_connect(&server.demo_url("GLOBEX")).await.map(drop).unwrap_err();
    assert!(described(&globex).1.contains("code=org_access_denied"));

    let broke = connect(&server.demo_url("BROKE")).await;
    let mut last = None;
    for _ in 0..20 {
        if let Err(error) = broke.batch_execute("SELECT * FROM orders").await {
            last = Some(described(&error));
            break;
        }
    }
    let (sqlstate, detail) = last.expect("five credits are not enough for twenty scans");
    assert_eq!(sqlstate, "53400");
    assert!(detail.contains("code=quota_exceeded") && detail.contains("balance"), "{detail}");

    let auditor = connect(&server.demo_url("AUDITOR")).await;
    let refused = "SELECT count(*) FROM weir.audit WHERE code = 'quota_exceeded'";
    assert!(one(&auditor, refused).await.parse::<u64>().unwrap() >= 1);
    drop((eu, us, admin, support, broke, auditor));

    // A second start loads nothing again, keeps the keys, and remembers what was spent.
    let url = server.demo_url("BROKE");
    server.stop();
    let mut server = server.start();
    assert_eq!(server.demo_url("BROKE"), url);
    assert_eq!(server.log().matches("Loaded lineitem").count(), 1);
    let broke = connect(&url).await;
    assert!(refusal(&broke, "SELECT * FROM orders").await.1.contains("code=quota_exceeded"));
    drop(broke);
    server.stop();
    let data = server.data();
    let verified = run(&["audit", "verify", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
}

#[tokio::test]
async fn an_interrupted_load_is_completed() {
    let mut server = Server::new().argument("--demo").argument("--scale").argument("0.001");
    server.launch();
    let marker = server.data().join("demo.json");
    while !fs::read_to_string(&marker).is_ok_and(|text| text.contains("supplier")) {
        assert!(server.is_running(), "{}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    server.kill();
    let server = server.start();
    let admin = connect(&server.demo_url("ADMIN")).await;
    let count = async |table: &str| one(&admin, &format!("SELECT count(*) FROM {table}")).await;
    assert_eq!(count("region").await, "5");
    assert_eq!(count("supplier").await, "10");
    assert_eq!(count("customer").await, "150");
    assert_eq!(count("orders").await, "1500");
    assert_eq!(count("lineitem").await, "6005");
}
