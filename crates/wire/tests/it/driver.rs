//! A real driver, tokio-postgres, in both formats.

use std::time::{Duration, SystemTime};

use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, error::SqlState};

use crate::fake::{Running, options, start};

async fn connected() -> (Running, Client) {
    let running = start(options()).await;
    let url = format!("host=127.0.0.1 port={} user=ada password=right dbname=acme", running.address.port());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    (running, client)
}

#[tokio::test]
async fn values_of_every_type_in_binary() {
    let (_running, client) = connected().await;
    let types = "boolean|smallint|integer|bigint|real|double_precision|text|bytea|timestamp|timestamptz|jsonb|uuid";
    let statement = client.prepare(&format!("echo {types}")).await.unwrap();
    let moment = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap().and_hms_micro_opt(12, 0, 0, 5).unwrap();
    let instant = moment.and_utc();
    let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let uuid: uuid::Uuid = id.parse().unwrap();
    let json = "{\"a\":[1,2]}".to_owned();
    let row = client
        .query_one(
            &statement,
            &[
                &true,
                &-7_i16,
                &42_i32,
                &i64::MAX,
                &1.5_f32,
                &0.1_f64,
                &"grün",
                &vec![0_u8, 255],
                &moment,
                &instant,
                &RawJson(json.clone()),
                &uuid,
            ],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(row.get::<_, i16>(1), -7);
    assert_eq!(row.get::<_, i32>(2), 42);
    assert_eq!(row.get::<_, i64>(3), i64::MAX);
    assert_eq!(row.get::<_, f32>(4), 1.5);
    assert_eq!(row.get::<_, f64>(5), 0.1);
    assert_eq!(row.get::<_, &str>(6), "grün");
    assert_eq!(row.get::<_, &[u8]>(7), [0, 255]);
    assert_eq!(row.get::<_, chrono::NaiveDateTime>(8), moment);
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(9), instant);
    assert_eq!(row.get::<_, uuid::Uuid>(11), uuid);
    let _system: SystemTime = row.get(9);
}

#[tokio::test]
async fn nulls_are_nulls() {
    let (_running, client) = connected().await;
    let row = client.query_one("echo integer|text", &[&None::<i32>, &None::<&str>]).await.unwrap();
    assert_eq!((row.get::<_, Option<i32>>(0), row.get::<_, Option<&str>>(1)), (None, None));
}

#[tokio::test]
async fn a_million_rows_stream() {
    let (_running, client) = connected().await;
    let no_parameters: [i32; 0] = [];
    let rows = client.query_raw("rows 1000000 by 8192", no_parameters).await.unwrap();
    let sum = rows.try_fold(0_i64, |sum, row| async move { Ok(sum + i64::from(row.get::<_, i32>(0))) });
    assert_eq!(sum.await.unwrap(), 500_000_500_000);
}

#[tokio::test]
async fn portals_and_transactions() {
    let (_running, mut client) = connected().await;
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("rows 5 by 2").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    for expected in [3, 2, 0] {
        assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), expected);
    }
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn errors_carry_their_fields() {
    let (_running, client) = connected().await;
    let error = client.simple_query("fail").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code(), &SqlState::UNDEFINED_TABLE);
    assert_eq!(error.message(), "relation \"x\" does not exist");
    assert_eq!(error.detail(), Some("code=undefined_table"));
    assert_eq!(error.hint(), Some("make it"));
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(7)));
    let rows = client.simple_query("select 5").await.unwrap();
    assert!(matches!(&rows[1], SimpleQueryMessage::Row(row) if row.get(0) == Some("5")));
}

#[tokio::test]
async fn cancel_by_the_driver() {
    let (_running, client) = connected().await;
    let token = client.cancel_token();
    let (result, ()) = tokio::join!(client.simple_query("deaf rows"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
}

#[tokio::test]
async fn copy_both_ways() {
    let (_running, client) = connected().await;
    let sink = client.copy_in("copy from bigint|text text").await.unwrap();
    tokio::pin!(sink);
    let lines: String = (0..50_000).map(|n| format!("{n}\tline {n}\n")).collect();
    for chunk in lines.as_bytes().chunks(777) {
        sink.send(bytes::Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 50_000);
    let stream = client.copy_out("copy to bigint|text text").await.unwrap();
    let out: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(out.concat(), lines.as_bytes());
}

/// JSON text as the jsonb type sends it.
#[derive(Debug)]
struct RawJson(String);

impl tokio_postgres::types::ToSql for RawJson {
    fn to_sql(
        &self,
        _type: &tokio_postgres::types::Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&[1]);
        out.extend_from_slice(self.0.as_bytes());
        Ok(tokio_postgres::types::IsNull::No)
    }

    fn accepts(ty: &tokio_postgres::types::Type) -> bool {
        *ty == tokio_postgres::types::Type::JSONB
    }

    tokio_postgres::types::to_sql_checked!();
}
