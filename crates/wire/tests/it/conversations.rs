//! What is sent, and what comes back.

use crate::{
    client::{Client, bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, parse, query, sync},
    fake::{Running, options, start},
};

async fn opened() -> (Running, Client) {
    let running = start(options()).await;
    let client = Client::open(running.address).await;
    running.fake.events.lock().clear();
    (running, client)
}

fn events(running: &Running) -> Vec<String> {
    std::mem::take(&mut *running.fake.events.lock())
}

#[tokio::test]
async fn simple_queries() {
    let (running, mut client) = opened().await;
    let mut check = async |text: &str, expected: &[&str]| {
        assert_eq!(client.ask(&[query(text)]).await, expected, "{text}");
    };
    check("select 7", &["T c0:23/0", "D 7", "C SELECT 1", "Z Idle"]).await;
    check("", &["EmptyQueryResponse", "Z Idle"]).await;
    check(" ; ", &["EmptyQueryResponse", "Z Idle"]).await;
    check("fail", &["E ERROR 42P01 relation \"x\" does not exist", "Z Idle"]).await;
    check("late fail", &["T c0:23/0", "D 1", "D 2", "D 3", "E ERROR 22012 division by zero", "Z Idle"]).await;
    check("(", &["E ERROR 42601 syntax error at or near \"(\"", "Z Idle"]).await;
    check("zone Asia/Tokyo", &["C SET", "S TimeZone=Asia/Tokyo", "Z Idle"]).await;
    check("begin", &["C BEGIN", "Z Transaction"]).await;
    check("fail", &["E ERROR 42P01 relation \"x\" does not exist", "Z Error"]).await;
    check("select 1", &["E ERROR 25P02 current transaction is aborted", "Z Error"]).await;
    check("rollback", &["C ROLLBACK", "Z Idle"]).await;
    drop(running);
}

#[tokio::test]
async fn several_statements_are_one_transaction() {
    let (running, mut client) = opened().await;
    let answers = client.ask(&[query("insert; select 1; insert")]).await;
    assert_eq!(answers, ["C INSERT 0 1", "T c0:23/0", "D 1", "C SELECT 1", "C INSERT 0 1", "Z Idle"]);
    assert_eq!(events(&running), ["begin implicit", "run insert", "run select 1", "run insert", "end implicit"]);

    let answers = client.ask(&[query("insert; fail; insert")]).await;
    assert_eq!(answers, ["C INSERT 0 1", "E ERROR 42P01 relation \"x\" does not exist", "Z Idle"]);
    assert_eq!(events(&running), ["begin implicit", "run insert", "run fail", "failure", "end implicit"]);

    let answers = client.ask(&[query("begin; insert; commit")]).await;
    assert_eq!(answers, ["C BEGIN", "C INSERT 0 1", "C COMMIT", "Z Idle"]);
    assert_eq!(events(&running), ["run begin", "run insert", "run commit"]);

    // What came before a BEGIN belongs to its transaction; what comes after a COMMIT begins another one.
    let answers = client.ask(&[query("insert; begin; insert; rollback")]).await;
    assert_eq!(answers, ["C INSERT 0 1", "C BEGIN", "C INSERT 0 1", "C ROLLBACK", "Z Idle"]);
    assert_eq!(events(&running), ["begin implicit", "run insert", "run begin", "run insert", "run rollback"]);
    client.ask(&[query("begin; insert; commit; insert; insert")]).await;
    let expected = ["run commit", "begin implicit", "run insert", "run insert", "end implicit"];
    assert_eq!(events(&running)[2..], expected);
}

#[tokio::test]
async fn the_rows_of_a_statement_come_before_the_next_one_starts() {
    let (running, mut client) = opened().await;
    // 40,000 rows exceed the output buffer, so they are on their way while the second statement hangs.
    client.send(&[query("rows 40000; hang")]).await;
    let first = client.answers(2).await;
    assert_eq!(first, ["T c0:23/0", "D 1"]);
    drop(client);
    drop(running);
}

#[tokio::test]
async fn prepared_statements() {
    let (running, mut client) = opened().await;
    let answers = client
        .ask(&[
            parse("s", "echo integer|text", &[]),
            describe(b'S', "s"),
            bind("", "s", &[Some(b"42"), None], &[], &[]),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ])
        .await;
    assert_eq!(
        answers,
        [
            "ParseComplete",
            "t [23, 25]",
            "T c0:23/0 c1:25/0",
            "BindComplete",
            "T c0:23/0 c1:25/0",
            "D 42|∅",
            "C SELECT 1",
            "Z Idle",
        ]
    );
    // Alone before its Sync it commits by itself.
    assert_eq!(events(&running), ["run echo integer|text"]);

    let binary = [Some(&[0, 0, 0, 7][..]), Some(b"x")];
    let answers = client
        .ask(&[bind("", "s", &binary, &[1, 0], &[1]), describe(b'P', ""), execute("", 0), close(b'P', ""), sync()])
        .await;
    assert_eq!(
        answers,
        ["BindComplete", "T c0:23/1 c1:25/1", "D \\0\\0\\0\\u{7}|x", "C SELECT 1", "CloseComplete", "Z Idle"]
    );
    assert_eq!(events(&running), ["run echo integer|text"]);

    let answers = client.ask(&[parse("", "", &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()]).await;
    assert_eq!(answers, ["ParseComplete", "BindComplete", "EmptyQueryResponse", "Z Idle"]);
    let answers = client.ask(&[parse("n", "insert", &[]), describe(b'S', "n"), sync()]).await;
    assert_eq!(answers, ["ParseComplete", "t []", "NoData", "Z Idle"]);
}

#[tokio::test]
async fn a_pipeline_before_one_sync_is_one_transaction() {
    let (running, mut client) = opened().await;
    let insert = [parse("", "insert", &[]), bind("", "", &[], &[], &[]), execute("", 0)];
    let fail = [parse("", "nonsense", &[]), bind("", "", &[], &[], &[]), execute("", 0)];
    let messages: Vec<_> = insert.into_iter().chain(fail).chain([parse("never", "insert", &[]), sync()]).collect();
    let answers = client.ask(&messages).await;
    assert_eq!(answers[..3], ["ParseComplete", "BindComplete", "C INSERT 0 1"]);
    assert!(answers[5].starts_with("E ERROR"), "{answers:?}");
    assert_eq!(answers.last().unwrap(), "Z Idle");
    assert_eq!(answers.len(), 7);
    assert_eq!(events(&running), ["begin implicit", "run insert", "run nonsense", "failure", "end implicit"]);
    // A BEGIN among them makes their transaction an explicit one, which a ROLLBACK takes back as a whole.
    let pipelined = |texts: &[&str]| -> Vec<_> {
        let one = |text: &&str| [parse("", text, &[]), bind("", "", &[], &[], &[]), execute("", 0)];
        texts.iter().flat_map(one).chain([sync()]).collect()
    };
    let answers = client.ask(&pipelined(&["insert", "begin", "insert"])).await;
    assert_eq!(answers.last().unwrap(), "Z Transaction");
    assert_eq!(events(&running), ["begin implicit", "run insert", "run begin", "run insert"]);
    let answers = client.ask(&pipelined(&["rollback", "insert", "insert"])).await;
    assert_eq!(answers.last().unwrap(), "Z Idle");
    let expected = ["run rollback", "begin implicit", "run insert", "run insert", "end implicit"];
    assert_eq!(events(&running), expected);
    // What follows an error up to Sync was not done.
    let answers = client.ask(&[describe(b'S', "never"), sync()]).await;
    assert_eq!(answers, ["E ERROR 26000 prepared statement \"never\" does not exist", "Z Idle"]);
}

#[tokio::test]
async fn names_and_their_rules() {
    let (running, mut client) = opened().await;
    let mut check = async |messages: &[_], expected: &str| {
        let answers = client.ask(messages).await;
        let error = answers.iter().find(|answer| answer.starts_with('E')).expect("an error");
        assert_eq!(error, expected);
    };
    check(
        &[parse("a", "insert", &[]), parse("a", "insert", &[]), sync()],
        "E ERROR 42P05 prepared statement \"a\" already exists",
    )
    .await;
    check(&[bind("", "b", &[], &[], &[]), sync()], "E ERROR 26000 prepared statement \"b\" does not exist").await;
    check(&[execute("c", 0), sync()], "E ERROR 34000 portal \"c\" does not exist").await;
    check(
        &[bind("p", "a", &[], &[], &[]), bind("p", "a", &[], &[], &[]), sync()],
        "E ERROR 42P03 cursor \"p\" already exists",
    )
    .await;
    // Portals die with their transaction, here at Sync.
    check(&[execute("p", 0), sync()], "E ERROR 34000 portal \"p\" does not exist").await;
    check(
        &[bind("", "a", &[], &[], &[]), execute("", 0), execute("", 0), sync()],
        "E ERROR 34000 portal \"\" cannot be run again",
    )
    .await;
    check(
        &[parse("", "insert; insert", &[]), sync()],
        "E ERROR 42601 cannot insert multiple commands into a prepared statement",
    )
    .await;
    check(
        &[bind("", "a", &[Some(b"1")], &[], &[]), sync()],
        "E ERROR 08P01 bind message supplies 1 parameters, but prepared statement \"a\" requires 0",
    )
    .await;
    check(&[parse("", "echo integer", &[600]), sync()], "E ERROR 0A000 a parameter of type OID 600 is not supported")
        .await;
    check(
        &[parse("", "echo integer", &[]), bind("", "", &[Some(b"x")], &[], &[]), sync()],
        "E ERROR 22P02 invalid input syntax for type integer: \"x\"",
    )
    .await;
    // A failed unnamed Parse leaves no unnamed statement behind.
    check(&[parse("", "fail", &[]), sync()], "E ERROR 42P01 relation \"x\" does not exist").await;
    check(&[bind("", "", &[], &[], &[]), sync()], "E ERROR 26000 prepared statement \"\" does not exist").await;
    drop(running);
}

#[tokio::test]
async fn a_result_that_is_not_what_was_announced_is_not_sent() {
    let (_running, mut client) = opened().await;
    let answers = client.ask(&[parse("", "changed", &[]), bind("", "", &[], &[], &[]), execute("", 0), sync()]).await;
    assert_eq!(
        answers,
        ["ParseComplete", "BindComplete", "E ERROR 0A000 cached plan must not change result type", "Z Idle"]
    );
}

#[tokio::test]
async fn deallocate_in_sql_drops_protocol_statements() {
    let (running, mut client) = opened().await;
    client.ask(&[parse("a", "insert", &[]), parse("b", "insert", &[]), sync()]).await;
    assert_eq!(client.ask(&[query("deallocate a")]).await, ["C DEALLOCATE", "Z Idle"]);
    let answers = client.ask(&[describe(b'S', "a"), sync()]).await;
    assert_eq!(answers, ["E ERROR 26000 prepared statement \"a\" does not exist", "Z Idle"]);
    assert_eq!(client.ask(&[query("deallocate all")]).await, ["C DEALLOCATE ALL", "Z Idle"]);
    let answers = client.ask(&[describe(b'S', "b"), sync()]).await;
    assert_eq!(answers, ["E ERROR 26000 prepared statement \"b\" does not exist", "Z Idle"]);
    drop(running);
}

#[tokio::test]
async fn row_limits_suspend_and_resume() {
    let (running, mut client) = opened().await;
    client.ask(&[query("begin")]).await;
    let answers =
        client.ask(&[parse("", "rows 5 by 3", &[]), bind("p", "", &[], &[], &[]), execute("p", 2), sync()]).await;
    assert_eq!(answers, ["ParseComplete", "BindComplete", "D 1", "D 2", "PortalSuspended", "Z Transaction"]);
    assert!(events(&running).contains(&"suspend".to_owned()));
    assert_eq!(client.ask(&[execute("p", 2), sync()]).await, ["D 3", "D 4", "PortalSuspended", "Z Transaction"]);
    assert_eq!(client.ask(&[execute("p", 2), sync()]).await, ["D 5", "C SELECT 1", "Z Transaction"]);
    assert_eq!(client.ask(&[execute("p", 2), sync()]).await, ["C SELECT 0", "Z Transaction"]);
    // A suspended portal that is closed, or whose transaction ends, is given up.
    client.ask(&[bind("q", "", &[], &[], &[]), execute("q", 1), sync()]).await;
    events(&running);
    assert_eq!(client.ask(&[query("commit")]).await, ["C COMMIT", "Z Idle"]);
    assert_eq!(events(&running), ["run commit", "rows dropped"]);
}

#[tokio::test]
async fn flush_sends_without_ending_the_cycle() {
    let (running, mut client) = opened().await;
    client.send(&[parse("s", "echo text", &[]), describe(b'S', "s"), flush()]).await;
    assert_eq!(client.answers(3).await, ["ParseComplete", "t [25]", "T c0:25/0"]);
    client.send(&[bind("", "s", &[Some(b"x")], &[], &[]), execute("", 0), flush()]).await;
    assert_eq!(client.answers(3).await, ["BindComplete", "D x", "C SELECT 1"]);
    // An error does not wait for Sync either.
    client.send(&[parse("", "fail", &[]), describe(b'S', ""), flush()]).await;
    assert_eq!(client.answers(1).await, ["E ERROR 42P01 relation \"x\" does not exist"]);
    assert_eq!(client.ask(&[sync()]).await, ["Z Idle"]);
    assert_eq!(events(&running), ["begin implicit", "run echo text", "failure", "end implicit"]);
}

#[tokio::test]
async fn copy_in_and_out() {
    let (running, mut client) = opened().await;
    client.send(&[query("copy from integer|text csv")]).await;
    assert_eq!(client.answers(1).await, ["G 2"]);
    // Lines and messages do not have the same boundaries.
    let answers = client.ask(&[copy_data("1,\"a"), copy_data("\nb\"\n2,"), copy_data("\n"), copy_done()]).await;
    assert_eq!(answers, ["C COPY 2", "Z Idle"]);
    let answers = client.ask(&[query("copy to integer|text csv")]).await;
    assert_eq!(answers, ["H 2", "d 1,\\\"a\\nb\\\"\\n", "d 2,\\n", "CopyDone", "C SELECT 2", "Z Idle"]);
    let answers = client.ask(&[query("copy to integer|text text")]).await;
    assert_eq!(answers, ["H 2", "d 1\\ta\\\\nb\\n", "d 2\\t\\\\N\\n", "CopyDone", "C SELECT 2", "Z Idle"]);
    drop(running);
}

#[tokio::test]
async fn copy_in_that_fails() {
    let (_running, mut client) = opened().await;
    client.send(&[query("copy from integer text"), copy_data("1\nabc\n"), copy_done()]).await;
    let answers = client.until_ready().await;
    assert_eq!(answers, ["G 1", "E ERROR 22P02 invalid input syntax for type integer: \"abc\"", "Z Idle"]);
    client.send(&[query("copy from integer text"), copy_data("1\n"), copy_fail("no more")]).await;
    let answers = client.until_ready().await;
    assert_eq!(answers, ["G 1", "E ERROR 57014 COPY from stdin failed: no more", "Z Idle"]);
    client.send(&[query("copy from integer text"), query("select 1")]).await;
    let answers = client.until_ready().await;
    assert_eq!(answers, ["G 1", "E ERROR 08P01 unexpected message Query during COPY from stdin", "Z Idle"]);
    // Its time runs while it waits for its client.
    assert_eq!(client.ask(&[query("patience 50")]).await, ["C SET", "Z Idle"]);
    client.send(&[query("copy from integer text"), copy_data("1\n")]).await;
    let answers = client.until_ready().await;
    assert_eq!(answers, ["G 1", "E ERROR 57014 out of time", "Z Idle"]);
    client.send(&[copy_data("2\n"), copy_done()]).await;
    assert_eq!(client.ask(&[query("patience 60000")]).await, ["C SET", "Z Idle"]);
    // The session is still of use.
    assert_eq!(client.ask(&[query("select 1")]).await.len(), 4);

    let extended = [parse("", "copy from integer text", &[]), bind("", "", &[], &[], &[]), execute("", 0)];
    client.send(&extended).await;
    client.send(&[copy_data("x\n"), copy_done(), sync()]).await;
    let answers = client.until_ready().await;
    assert_eq!(answers[3], "E ERROR 22P02 invalid input syntax for type integer: \"x\"");
    assert_eq!(answers.len(), 5);
}
