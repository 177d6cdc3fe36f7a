use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use weir_model::{AttributeValue, Attributes, CredentialKind, OrgName};
use weir_policy::{Validity, compile, directory};

use super::{Place, table};
use crate::{
    clock::{rfc3339, unix_now},
    failure::Failure,
    keys::{KeyFile, KeyFileError, KeyRecord, KeyRequest, kind_name},
    serve,
};

/// Issue, list and revoke API keys.
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Issue a key and print it: the only time it is shown
    Issue(Issue),
    /// List the keys, without their secrets
    List(Place),
    /// Revoke a key; the sessions it opened end at their next statement
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Issue {
    #[command(flatten)]
    place: Place,
    /// Org that the key opens: the database in a connection string
    #[arg(long, value_parser = OrgName::new)]
    org: OrgName,
    /// Agent that the key is for: the user in a connection string
    #[arg(long)]
    agent: String,
    /// What the key's first letters say it is for
    #[arg(long, value_enum, default_value = "agent")]
    kind: Kind,
    /// An attribute that policies may ask for; the value is JSON (true, 7, ["EU","US"]) or else text
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, AttributeValue)>,
    /// A role; it counts where the org's policy knows it
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// Time until the key ends by itself: 90s, 45m, 12h, 30d [default: it does not]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<i64>,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    place: Place,
    /// The key's id, as `weir keys list` shows it
    id: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Live,
    Test,
    Agent,
}

impl Keys {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Keys::Issue(issue) => issue.run(),
            Keys::List(place) => list(&place),
            Keys::Revoke(revoke) => revoke.run(),
        }
    }
}

impl Issue {
    fn run(self) -> Result<(), Failure> {
        if self.agent.is_empty() || self.agent.len() > weir_model::NAME_BYTES_MAX {
            return Err(Failure::usage("an agent's name is 1 to 63 bytes"));
        }
        let config = self.place.read(Vec::new())?;
        if !config.data.is_dir() {
            let failure = Failure::new(format!("there is no data folder {}", config.data.display()));
            return Err(failure.hint("name the one that `weir up` serves with --data; its first start makes it"));
        }
        let now = unix_now();
        let kind = match self.kind {
            Kind::Live => CredentialKind::Live,
            Kind::Test => CredentialKind::Test,
            Kind::Agent => CredentialKind::Agent,
        };
        let request = KeyRequest {
            kind,
            org: self.org.clone(),
            agent: self.agent.clone(),
            roles: self.roles,
            attributes: Attributes::from_iter(self.attributes),
            expires_at: self.expires.map(|seconds| now.saturating_add(seconds)),
        };
        let (key, record) = KeyRecord::issue(request, now)?;
        KeyFile::in_data(&config.data).update(|keys| {
            keys.push(record);
            Ok::<_, KeyFileError>(())
        })?;
        eprintln!("Key {} for agent {} of org {}. It is shown this once:", key.id(), self.agent, self.org);
        table::print(&format!("{}\n", key.text()))?;
        let address = serve::last_address(&config.data).unwrap_or(config.listen);
        eprintln!("Connect with psql \"postgres://{}@{address}/{}\" and the key as password.", self.agent, self.org);
        let policies = config.policies_dir();
        if is_unknown(&self.org, &policies) {
            eprintln!(
                "Note: no policy in {} is of org {}; until one is, nobody can log in there.",
                policies.display(),
                self.org
            );
        }
        Ok(())
    }
}

/// Whether all policies in the folder can be read, and none is the org's.
fn is_unknown(org: &OrgName, policies: &Path) -> bool {
    let validity = Validity { version: 1, issued_at: 0, not_after: i64::MAX };
    let is_of_another = |folder: &PathBuf| {
        directory::read(folder).and_then(|source| compile(&source, validity)).is_ok_and(|body| body.org != *org)
    };
    directory::find(policies).is_ok_and(|folders| folders.iter().all(is_of_another))
}

fn list(place: &Place) -> Result<(), Failure> {
    let config = place.read(Vec::new())?;
    let now = unix_now();
    let heading = ["ID", "KIND", "ORG", "AGENT", "ROLES", "CREATED", "EXPIRES", "STATE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for key in KeyFile::in_data(&config.data).load()? {
        let state = match key.revoked_at {
            Some(at) => format!("revoked {}", rfc3339(at)),
            None if key.holds(now) => "holds".to_owned(),
            None => "expired".to_owned(),
        };
        rows.push(vec![
            key.id,
            kind_name(key.kind).to_owned(),
            key.org.to_string(),
            key.agent,
            if key.roles.is_empty() { "-".to_owned() } else { key.roles.join(",") },
            rfc3339(key.created_at),
            key.expires_at.map_or_else(|| "never".to_owned(), rfc3339),
            state,
        ]);
    }
    table::print(&table::aligned(&rows))
}

impl Revoke {
    fn run(self) -> Result<(), Failure> {
        let config = self.place.read(Vec::new())?;
        let agent = KeyFile::in_data(&config.data).update(|keys| {
            let found = keys.iter_mut().find(|key| key.id == self.id);
            let Some(key) = found else {
                return Err(Failure::new(format!("no key has the id `{}`", self.id)).hint("see `weir keys list`"));
            };
            key.revoked_at.get_or_insert_with(unix_now);
            Ok(format!("agent {} of org {}", key.agent, key.org))
        })?;
        eprintln!("Key {} of {agent} is revoked.", self.id);
        Ok(())
    }
}

fn attribute(text: &str) -> Result<(String, AttributeValue), String> {
    let (name, value) = text.split_once('=').ok_or("an attribute is written NAME=VALUE")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("an attribute's name is letters, digits and `_`".into());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| AttributeValue::Text(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// Seconds.
pub(super) fn lifetime(text: &str) -> Result<i64, String> {
    let wrong = || "a time is a whole number and s, m, h or d, such as 30d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let factor: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|seconds| *seconds > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn attributes_are_json_or_text() {
        let check = |text: &str, expected: AttributeValue| assert_eq!(attribute(text).unwrap().1, expected, "{text}");
        check("region=EU", AttributeValue::Text("EU".into()));
        check("level=3", AttributeValue::Integer(3));
        check("on_call=true", AttributeValue::Bool(true));
        check("code=\"007\"", AttributeValue::Text("007".into()));
        check("regions=[\"EU\",\"US\"]", AttributeValue::List(vec!["EU".into(), "US".into()]));
        check("note=a=b", AttributeValue::Text("a=b".into()));
        assert!(attribute("region").is_err() && attribute("=x").is_err() && attribute("a b=x").is_err());
    }

    #[test]
    fn lifetimes_have_a_unit() {
        for (text, expected) in [
            ("90s", Some(90)),
            ("2h", Some(7200)),
            ("30d", Some(2_592_000)),
            ("30", None),
            ("d", None),
            ("0d", None),
            ("-1d", None),
        ] {
            assert_eq!(lifetime(text).ok(), expected, "{text}");
        }
    }
}
