//! `kill -9` takes nothing that was acknowledged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::server::{Server, connect, execute, rows, run, text, try_connect};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_rows_survive_kill_9_once_each() {
    let (mut server, url) = Server::plain();
    execute(&connect(&url).await, "CREATE TABLE t (id bigint PRIMARY KEY, note text NOT NULL)").await;
    let mut acknowledged: Vec<i64> = Vec::new();
    let mut next = 0;
    for round in 0..3_u64 {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (url, stop, first) = (url.clone(), Arc::clone(&stop), next + writer * 1_000_000);
                tokio::spawn(async move {
                    let client = connect(&url).await;
                    let mut done = Vec::new();
                    for id in first.. {
                        let insert = format!("INSERT INTO t VALUES ({id}, 'row {id}')");
                        if stop.load(Ordering::Relaxed) || client.batch_execute(&insert).await.is_err() {
                            break;
                        }
                        done.push(id);
                    }
                    done
                })
            })
            .collect();
        next += 8_000_000;
        tokio::time::sleep(Duration::from_millis(400 + 170 * round)).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        server = server.start();
    }
    assert!(acknowledged.len() > 50, "{} rows", acknowledged.len());
    let client = connect(&url).await;
    let found: Vec<i64> =
        rows(&client, "SELECT id FROM t ORDER BY id").await.iter().map(|row| row[0].parse().unwrap()).collect();
    acknowledged.sort_unstable();
    let missing: Vec<_> = acknowledged.iter().filter(|id| found.binary_search(id).is_err()).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    assert!(found.is_sorted_by(|a, b| a < b), "a row is there twice");
    let torn = rows(&client, "SELECT id FROM t WHERE note <> 'row ' || id").await;
    assert!(torn.is_empty(), "{torn:?}");
    drop(client);
    server.stop();
    let data = server.data();
    let verified = run(&["audit", "verify", data.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    assert!(try_connect(&url).await.is_err());
}
