mod peers;
mod plane;
mod status;
mod token;

use std::io::Read;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use weir_facts::protocol::Plane;

use super::{Place, keys::lifetime, table};
use crate::{
    config::{Config, TOKEN_VARIABLE},
    facts::{FactsClient, kept_operator_token},
    failure::Failure,
};

/// Read, write and watch the facts of a running Weir, and issue tokens for them.
#[derive(Debug, Subcommand)]
pub(super) enum Facts {
    /// Print a fact's value
    Get(Get),
    /// Write a fact, and print its new version
    Put(Put),
    /// Delete a fact, and print the deletion's version
    Delete(Delete),
    /// Add to a counter, and print the number
    Incr(Incr),
    /// Print facts, one in a line
    Query(Query),
    /// Print changes of facts as they happen, one in a line
    Watch(Watch),
    /// Show what there is and how the node is
    Status(Asking),
    /// Show the other nodes, or forget one
    Peers(peers::Peers),
    /// Compare with all other nodes now
    Repair(peers::Repair),
    /// Seal the facts' files with a new data key from now on, and what is there within some time
    RotateKey(Asking),
    /// Make what nodes prove themselves to each other with
    #[command(subcommand)]
    Plane(plane::Plane),
    /// Issue, list and revoke tokens
    #[command(subcommand)]
    Token(token::Token),
}

/// Whom to ask, and as whom.
#[derive(Debug, Args)]
pub(super) struct Asking {
    #[command(flatten)]
    place: Place,
    /// Token [default: WEIR_FACTS_TOKEN, else that of the data folder's owner, who reads and does not write]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    asking: Asking,
    /// The key, such as approvals.deploy-123
    key: String,
    /// The whole entry: version, times and value
    #[arg(long)]
    entry: bool,
}

#[derive(Debug, Args)]
pub(super) struct Put {
    #[command(flatten)]
    asking: Asking,
    /// The key, such as approvals.deploy-123
    key: String,
    /// JSON; `-` reads it from stdin
    value: String,
    /// Time until the fact ends by itself: 90s, 45m, 12h, 30d [default: it does not]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    ttl: Option<i64>,
    #[command(flatten)]
    condition: Condition,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    asking: Asking,
    /// The key, such as approvals.deploy-123
    key: String,
    #[command(flatten)]
    condition: Condition,
}

#[derive(Debug, Args)]
struct Condition {
    /// Only if the fact has this version on this node; 0: only if there is none
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Incr {
    #[command(flatten)]
    asking: Asking,
    /// The key, such as counters.user-1
    key: String,
    /// How much to add; less than zero takes away
    #[arg(default_value = "1", allow_negative_numbers = true)]
    by: i64,
}

#[derive(Debug, Args)]
pub(super) struct Query {
    #[command(flatten)]
    asking: Asking,
    /// Which facts, such as approvals.* or *
    pattern: String,
    /// Only facts whose member has this value: required=2 (JSON, or else text)
    #[arg(long = "where", value_name = "NAME=VALUE", value_parser = member)]
    filter: Vec<(String, Value)>,
    /// At most so many
    #[arg(long, default_value = "1000")]
    limit: usize,
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    asking: Asking,
    /// Which facts, such as approvals.* or *
    pattern: String,
    /// What is there already comes first
    #[arg(long)]
    existing: bool,
    /// Go on from the cursor of a change that was printed
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl Facts {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Facts::Get(get) => get.run(),
            Facts::Put(put) => put.run(),
            Facts::Delete(delete) => delete.run(),
            Facts::Incr(incr) => incr.run(),
            Facts::Query(query) => query.run(),
            Facts::Watch(watch) => watch.run(),
            Facts::Status(asking) => status::run(&asking),
            Facts::Peers(peers) => peers.run(),
            Facts::Repair(repair) => repair.run(),
            Facts::RotateKey(asking) => line(&asking.client(Plane::Control)?.ask("rotate-key", &json!({}))?),
            Facts::Plane(plane) => plane.run(),
            Facts::Token(token) => token.run(),
        }
    }
}

impl Asking {
    fn config(&self) -> Result<Config, Failure> {
        self.place.read(Vec::new())
    }

    fn client(&self, plane: Plane) -> Result<FactsClient, Failure> {
        let config = self.config()?;
        let given = self.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()));
        let token = match given.or_else(|| kept_operator_token(&config.data)) {
            Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => token,
            Some(_) => return Err(Failure::usage("a token has no spaces and no control characters")),
            None => {
                let failure = Failure::new(format!("no token, and none can be read in {}", config.data.display()));
                return Err(failure.hint(format!("give one with --token or {TOKEN_VARIABLE}")));
            }
        };
        Ok(FactsClient::new(&config.socket_dir(), plane, token))
    }
}

impl Get {
    fn run(self) -> Result<(), Failure> {
        let entry = self.asking.client(Plane::Data)?.ask("get", &json!({ "key": self.key }))?;
        line(if self.entry { &entry } else { &entry["value"] })
    }
}

impl Put {
    fn run(self) -> Result<(), Failure> {
        let text = if self.value == "-" {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text)?;
            text
        } else {
            self.value
        };
        let value: Value = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("the value is not JSON: {error}")).hint("text is written with quotes: '\"yes\"'")
        })?;
        let mut params = json!({ "key": self.key, "value": value });
        params.add("ttl", self.ttl);
        params.add("if_version", self.condition.if_version);
        line(&self.asking.client(Plane::Data)?.ask("put", &params)?)
    }
}

impl Delete {
    fn run(self) -> Result<(), Failure> {
        let mut params = json!({ "key": self.key });
        params.add("if_version", self.condition.if_version);
        line(&self.asking.client(Plane::Data)?.ask("delete", &params)?)
    }
}

impl Incr {
    fn run(self) -> Result<(), Failure> {
        let counted = self.asking.client(Plane::Data)?.ask("incr", &json!({ "key": self.key, "by": self.by }))?;
        line(&counted["value"])
    }
}

impl Query {
    fn run(self) -> Result<(), Failure> {
        let client = self.asking.client(Plane::Data)?;
        let filter: Map<String, Value> = self.filter.into_iter().collect();
        let (mut left, mut after) = (self.limit, None);
        while left > 0 {
            let mut params = json!({ "pattern": self.pattern, "filter": filter, "limit": left.min(1_000) });
            params.add("after", after);
            let page = client.ask("query", &params)?;
            let entries = page["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            entries.iter().try_for_each(line)?;
            left = left.saturating_sub(entries.len());
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        Ok(())
    }
}

impl Watch {
    fn run(self) -> Result<(), Failure> {
        let mut params = json!({ "pattern": self.pattern, "include_existing": self.existing });
        params.add("after", self.after);
        self.asking.client(Plane::Data)?.subscribe(&params, line)
    }
}

trait Add {
    /// A member, if there is a value for it.
    fn add(&mut self, name: &str, value: Option<impl Into<Value>>);
}

impl Add for Value {
    fn add(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let (Value::Object(members), Some(value)) = (self, value) {
            members.insert(name.to_owned(), value.into());
        }
    }
}

/// Control characters in JSON are escaped, so that none reaches a terminal.
fn line(value: &Value) -> Result<(), Failure> {
    table::print(&format!("{value}\n"))
}

fn member(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write it NAME=VALUE")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}
