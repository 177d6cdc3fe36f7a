use clap::{Args, Subcommand, ValueEnum};
use weir_facts::Holder;

use super::{Place, lifetime, table};
use crate::{
    clock::{rfc3339, unix_now},
    facts::TokenFolder,
    failure::Failure,
};

const DAY: i64 = 86_400;

/// Issue, list and revoke tokens of the facts' sockets.
#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Token {
    /// Issue a token and print it: the only time it is shown
    Issue(Issue),
    /// List the tokens, without their secrets
    List(Place),
    /// Revoke a token; connections that were opened with it end within about a second
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Issue {
    #[command(flatten)]
    place: Place,
    /// What it is for: services write facts, apps ask for decisions, admins govern
    #[arg(long, value_enum)]
    kind: Kind,
    /// The service's or app's name; namespaces.toml says what a service may
    #[arg(long, value_name = "NAME", required_if_eq_any([("kind", "service"), ("kind", "app")]))]
    name: Option<String>,
    /// Time until it ends: 90s, 45m, 12h, 30d, or never [default: 30d for services, 24h for apps, 90d for admins]
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Ttl>,
}

#[derive(Debug, Args)]
pub(in crate::commands) struct Revoke {
    #[command(flatten)]
    place: Place,
    /// The token's id, as `weir facts token list` shows it, or its beginning
    id: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Service,
    App,
    Admin,
}

/// None: it does not end.
#[derive(Debug, Clone, Copy)]
struct Ttl(Option<i64>);

fn ttl(text: &str) -> Result<Ttl, String> {
    if text == "never" { Ok(Ttl(None)) } else { lifetime(text).map(|seconds| Ttl(Some(seconds))) }
}

impl Token {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Token::Issue(issue) => issue.run(),
            Token::List(place) => list(&place),
            Token::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Issue {
    fn run(self) -> Result<(), Failure> {
        let name = self.name.as_deref();
        let (holder, usual) = match (self.kind, name) {
            (Kind::Admin, None) => (Holder::Admin, 90 * DAY),
            (Kind::Admin, Some(_)) => return Err(Failure::usage("an admin's token has no name: leave --name out")),
            (Kind::Service, name) => (Holder::service(name.unwrap_or_default()).map_err(Failure::usage)?, 30 * DAY),
            (Kind::App, name) => (Holder::app(name.unwrap_or_default()).map_err(Failure::usage)?, DAY),
        };
        let config = self.place.read(Vec::new())?;
        if !config.data.is_dir() {
            let failure = Failure::new(format!("there is no data folder {}", config.data.display()));
            return Err(failure.hint("name the one that `weir up` serves with --data; its first start makes it"));
        }
        let lifetime = self.ttl.map_or(Some(usual), |ttl| ttl.0);
        let issued = TokenFolder::in_data(&config.data).issue(&holder, lifetime)?;
        let end = lifetime.map_or_else(
            || "It does not end".to_owned(),
            |lifetime| format!("It ends {}", rfc3339(unix_now().saturating_add(lifetime))),
        );
        eprintln!("Token {} of {holder}. {end}. It is shown this once:", issued.id);
        table::print(&format!("{}\n", issued.secret))
    }
}

fn list(place: &Place) -> Result<(), Failure> {
    let config = place.read(Vec::new())?;
    let now = unix_now();
    let mut rows = vec![["ID", "HOLDER", "EXPIRES", "STATE"].map(str::to_owned).to_vec()];
    for token in TokenFolder::in_data(&config.data).list()? {
        let holds = token.expires_at.is_none_or(|at| now < at);
        let expires = token.expires_at.map_or_else(|| "never".to_owned(), rfc3339);
        let state = if holds { "holds" } else { "expired" };
        rows.push(vec![token.id, token.holder.to_string(), expires, state.to_owned()]);
    }
    table::print(&table::aligned(&rows))
}

impl Revoke {
    fn run(self) -> Result<(), Failure> {
        let config = self.place.read(Vec::new())?;
        let holder = TokenFolder::in_data(&config.data).revoke(&self.id)?;
        eprintln!("Token {} of {holder} is revoked.", self.id);
        Ok(())
    }
}
