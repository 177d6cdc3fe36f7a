//! Health and metrics.

use crate::server::{Server, connect, execute};

#[tokio::test]
async fn probes_and_metrics_answer() {
    let (server, url) = Server::plain();
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(server.get(path).unwrap().0, 200, "{path}");
    }
    let client = connect(&url).await;
    execute(&client, "SELECT 1").await;
    assert!(client.batch_execute("SELECT * FROM absent").await.is_err());
    let (status, metrics) = server.get("/metrics").unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("weir_build_info{version="), "{metrics}");
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.starts_with("weir_"), "{line}");
    }
    let (_, told) = server.get("/status").unwrap();
    assert!(told.contains("acme: active, policy version 1"), "{told}");
    assert_eq!(server.get("/").unwrap().0, 404);
}
