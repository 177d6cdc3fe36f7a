use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};
use weir_facts::{NodeId, protocol::Plane};

use super::{Asking, line, plane::node, table};
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::commands) struct Peers {
    #[command(flatten)]
    asking: Asking,
    /// Forget a node that does not come back: deletions are then no longer remembered for it
    #[arg(long, value_name = "NODE", value_parser = node)]
    remove: Option<NodeId>,
    /// Everything that is known of them, as JSON
    #[arg(long, conflicts_with = "remove")]
    json: bool,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Repair {
    #[command(flatten)]
    asking: Asking,
    /// Make writes anew, as of now, that wait since their time is far ahead of this node's clock
    #[arg(long)]
    restamp: bool,
}

impl Peers {
    pub fn run(self) -> Result<(), Failure> {
        let client = self.asking.client(Plane::Control)?;
        if let Some(node) = self.remove {
            return line(&client.ask("remove-peer", &json!({ "node": node.as_str() }))?);
        }
        let status = client.ask("peers", &json!({}))?;
        if self.json { line(&status) } else { table::print(&page(&status)) }
    }
}

impl Repair {
    pub fn run(self) -> Result<(), Failure> {
        line(&self.asking.client(Plane::Control)?.ask("repair", &json!({ "restamp": self.restamp }))?)
    }
}

fn page(status: &Value) -> String {
    let own = &status["node"];
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Node {}: {}", word(&own["node"]), standing(own));
    let _ = writeln!(text, "  root {} at {}; missing here: {}", word(&own["root"]), own["epoch"], lag(&own["lag"]));
    if let Some(broker) = status["broker"].as_object() {
        let connected = if broker.get("is_connected") == Some(&json!(true)) { "connected" } else { "not connected" };
        let _ = writeln!(text, "  broker: {connected}");
    }
    text.push('\n');
    let heading = ["NODE", "STATE", "HEARD", "MISSING THERE", "AGREES", "DROPPED"].map(str::to_owned).to_vec();
    let peers = status["peers"].as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(peers.map(|(name, peer)| row(name, peer))).collect();
    text.push_str(&table::aligned(&rows));
    text
}

fn row(name: &str, peer: &Value) -> Vec<String> {
    let member = &peer["member"];
    let is = |what: &str| peer[what].as_bool() == Some(true);
    let state = match (is("is_connected") || is("is_heard_over_broker"), is("is_alive"), member.is_null()) {
        (_, _, true) => "no member",
        (true, _, _) => "connected",
        (false, true, _) => "alive",
        (false, false, _) => "away",
    };
    let heard = member["heard_ms"].as_u64().map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms ago"));
    let dropped = peer["dropped"].as_u64().map_or_else(|| "-".to_owned(), |dropped| dropped.to_string());
    vec![name.to_owned(), state.to_owned(), heard, lag(&member["lag"]), word(&member["agreement"]), dropped]
}

fn standing(own: &Value) -> String {
    match (own["is_serving"].as_bool(), own["joining"].as_object()) {
        (Some(true), _) => "serving".to_owned(),
        (_, Some(joining)) => {
            let from = joining.get("from").map_or_else(|| "-".to_owned(), word);
            let keys = joining.get("keys").and_then(Value::as_u64).unwrap_or(0);
            format!("joining: {keys} facts so far, from {from}")
        }
        _ => "not complete yet".to_owned(),
    }
}

fn lag(lag: &Value) -> String {
    let lags: Vec<String> =
        lag.as_object().into_iter().flatten().map(|(node, numbers)| format!("{numbers} of {node}")).collect();
    if lags.is_empty() { "nothing".to_owned() } else { lags.join(", ") }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_who_is_there_and_who_lacks_what() {
        let status = json!({
            "node": { "node": "n1", "is_serving": true, "root": "ab", "epoch": 10, "lag": { "n2": 3 } },
            "peers": {
                "n2": {
                    "member": { "heard_ms": 120, "agreement": "same", "lag": {} },
                    "is_connected": true, "is_alive": true, "dropped": 0
                },
                "n3": {
                    "member": { "heard_ms": null, "agreement": "unknown", "lag": { "n1": 7 } },
                    "is_connected": false, "is_alive": false, "dropped": 2
                },
            },
        });
        let expected = "\
Node n1: serving
  root ab at 10; missing here: 3 of n2

NODE  STATE      HEARD       MISSING THERE  AGREES   DROPPED
n2    connected  120 ms ago  nothing        same     0
n3    away       never       7 of n1        unknown  2
";
        assert_eq!(page(&status), expected);
    }
}
