use std::{collections::BTreeMap, sync::Arc, time::Duration};

use weir_model::{Code, ObjectName, Refusal, Result};

use crate::options::PipelineOptions;

/// How a value is checked and which values a setting takes.
#[derive(Clone, Copy)]
enum Rule {
    /// Any text, so long.
    Text(usize),
    /// One of these, in lower case; the first is how it is shown.
    OneOf(&'static [&'static str]),
    Integer(i64, i64),
    Milliseconds,
    Switch,
    Zone,
    Path,
    DateStyle,
    /// Fixed for the session.
    Fixed,
}

struct Known {
    /// As shown to clients.
    name: &'static str,
    default: &'static str,
    rule: Rule,
    /// Told by ParameterStatus.
    reported: bool,
}

const fn known(name: &'static str, default: &'static str, rule: Rule, reported: bool) -> Known {
    Known { name, default, rule, reported }
}

/// PostgreSQL's version whose dialect and catalogs we keep to, and ours.
const SERVER_VERSION: &str = concat!("15.13 (Weir ", env!("CARGO_PKG_VERSION"), ")");

const KNOWN: &[Known] = &[
    known("application_name", "", Rule::Text(1024), true),
    known("client_encoding", "UTF8", Rule::OneOf(&["UTF8", "utf-8", "utf8", "unicode", "sql_ascii"]), true),
    known("DateStyle", "ISO, MDY", Rule::DateStyle, true),
    known("default_transaction_read_only", "off", Rule::Switch, true),
    known("in_hot_standby", "off", Rule::Fixed, true),
    known("integer_datetimes", "on", Rule::Fixed, true),
    known("IntervalStyle", "postgres", Rule::OneOf(&["postgres"]), true),
    known("is_superuser", "off", Rule::Fixed, true),
    known("scram_iterations", "4096", Rule::Fixed, true),
    known("server_encoding", "UTF8", Rule::Fixed, true),
    known("server_version", SERVER_VERSION, Rule::Fixed, true),
    known("session_authorization", "", Rule::Fixed, true),
    known("standard_conforming_strings", "on", Rule::OneOf(&["on", "true", "1", "yes"]), true),
    known("TimeZone", "UTC", Rule::Zone, true),
    known("bytea_output", "hex", Rule::OneOf(&["hex"]), false),
    known("client_min_messages", "notice", Rule::Text(16), false),
    known(
        "default_transaction_isolation",
        "repeatable read",
        Rule::OneOf(&["repeatable read", "read committed", "read uncommitted"]),
        false,
    ),
    known("extra_float_digits", "1", Rule::Integer(-15, 3), false),
    known("idle_in_transaction_session_timeout", "0", Rule::Milliseconds, false),
    known("jit", "off", Rule::OneOf(&["off", "false", "0", "no"]), false),
    known("lock_timeout", "0", Rule::Milliseconds, false),
    known("max_identifier_length", "63", Rule::Fixed, false),
    known("row_security", "on", Rule::OneOf(&["on", "true", "1", "yes"]), false),
    known("search_path", "\"$user\", public", Rule::Path, false),
    known("server_version_num", "150013", Rule::Fixed, false),
    known("statement_timeout", "0", Rule::Milliseconds, false),
    known(
        "transaction_isolation",
        "repeatable read",
        Rule::OneOf(&["repeatable read", "read committed", "read uncommitted"]),
        false,
    ),
    known("transaction_read_only", "off", Rule::Switch, false),
];

/// A session's settings: PostgreSQL's names, those that mean something here. None of them grants anything.
#[derive(Debug, Clone)]
pub struct Settings {
    /// By lower-case name, as shown.
    values: BTreeMap<String, String>,
    defaults: BTreeMap<String, String>,
    /// Values before SET LOCAL, put back at the transaction's end.
    local: BTreeMap<String, String>,
    changed: Vec<&'static str>,
    often: Often,
}

/// What every statement asks for, read once from the values.
#[derive(Debug, Clone, Default)]
struct Often {
    search_path: Arc<[String]>,
    time_zone: String,
    statement_timeout: Option<Duration>,
}

impl Settings {
    pub(crate) fn new(application_name: String, options: &PipelineOptions) -> Settings {
        let mut values: BTreeMap<String, String> =
            KNOWN.iter().map(|known| (known.name.to_ascii_lowercase(), known.default.to_owned())).collect();
        values.insert("application_name".into(), application_name.chars().take(1024).collect());
        for (name, timeout) in [
            ("statement_timeout", options.statement_timeout),
            ("idle_in_transaction_session_timeout", options.idle_in_transaction_timeout),
        ] {
            values.insert(name.into(), show_milliseconds(timeout.map_or(0, |timeout| timeout.as_millis())));
        }
        let mut settings = Settings {
            defaults: values.clone(),
            values,
            local: BTreeMap::new(),
            changed: Vec::new(),
            often: Often::default(),
        };
        settings.read();
        settings
    }

    /// Follows a change of the values. An equal search path stays the same one, by which it is known again.
    fn read(&mut self) {
        let path = split_path(self.value("search_path"));
        self.often = Often {
            search_path: if *path == *self.often.search_path { self.often.search_path.clone() } else { path.into() },
            time_zone: self.value("timezone").to_owned(),
            statement_timeout: self.milliseconds("statement_timeout"),
        };
    }

    fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// IANA name, or a fixed offset.
    #[must_use]
    pub fn time_zone(&self) -> &str {
        &self.often.time_zone
    }

    #[must_use]
    pub fn application_name(&self) -> &str {
        self.value("application_name")
    }

    #[must_use]
    pub fn idle_in_transaction_timeout(&self) -> Option<Duration> {
        self.milliseconds("idle_in_transaction_session_timeout")
    }

    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.often.statement_timeout
    }

    pub(crate) fn default_read_only(&self) -> bool {
        self.value("default_transaction_read_only") == "on"
    }

    pub(crate) fn search_path(&self) -> &Arc<[String]> {
        &self.often.search_path
    }

    fn milliseconds(&self, name: &str) -> Option<Duration> {
        let millis = read_milliseconds(self.value(name)).unwrap_or(0);
        (millis > 0).then(|| Duration::from_millis(millis))
    }

    pub(crate) fn reported(&self, user: &str) -> Vec<(&'static str, String)> {
        let shown = |known: &&Known| match known.name {
            "session_authorization" => (known.name, user.to_owned()),
            name => (name, self.value(&name.to_ascii_lowercase()).to_owned()),
        };
        KNOWN.iter().filter(|known| known.reported).map(|known| shown(&known)).collect()
    }

    pub(crate) fn take_changes(&mut self) -> Vec<(&'static str, String)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.dedup();
        changed.into_iter().map(|name| (name, self.value(&name.to_ascii_lowercase()).to_owned())).collect()
    }

    /// # Errors
    /// `undefined_object` for an unknown name.
    pub(crate) fn show(&self, name: &str, user: &str) -> Result<(&'static str, String)> {
        let known = find(name)?;
        let value = if known.name == "session_authorization" { user.to_owned() } else { self.value(name).to_owned() };
        Ok((known.name, value))
    }

    pub(crate) fn show_all(&self, user: &str) -> Vec<(&'static str, String)> {
        KNOWN.iter().filter_map(|known| self.show(&known.name.to_ascii_lowercase(), user).ok()).collect()
    }

    /// SET; None is DEFAULT.
    ///
    /// # Errors
    /// `undefined_object`, `invalid_parameter`, `unsupported`, `permission_denied` for an attribute of the principal.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        let known = find(&lower)?;
        let shown = match value {
            None => self.defaults.get(&lower).cloned().unwrap_or_default(),
            Some(value) => check(known, value)?,
        };
        if known.reported && self.value(&lower) != shown {
            self.changed.push(known.name);
        }
        self.values.insert(lower, shown);
        self.read();
        Ok(())
    }

    /// SET LOCAL.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub(crate) fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        let before = self.value(&lower).to_owned();
        self.set(&lower, value)?;
        self.local.entry(lower).or_insert(before);
        Ok(())
    }

    /// Puts back what SET LOCAL changed; whether there was anything.
    pub(crate) fn end_transaction(&mut self) -> bool {
        if self.local.is_empty() {
            return false;
        }
        let local = std::mem::take(&mut self.local);
        for (name, value) in &local {
            if let Ok(known) = find(name)
                && known.reported
            {
                self.changed.push(known.name);
            }
            self.values.insert(name.clone(), value.clone());
        }
        self.read();
        true
    }

    pub(crate) fn reset_all(&mut self) {
        for known in KNOWN.iter().filter(|known| !matches!(known.rule, Rule::Fixed)) {
            // A default always passes its own check.
            let _was_valid = self.set(known.name, None);
        }
    }
}

fn find(name: &str) -> Result<&'static Known> {
    if let Some(known) = KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name)) {
        return Ok(known);
    }
    if name.starts_with("agent.") || name.starts_with("weir.") {
        return Err(Refusal::new(Code::PermissionDenied, format!("\"{name}\" is bound to the credential"))
            .hint("attributes come from the key and the policy, never from a session"));
    }
    Err(Refusal::new(Code::UndefinedObject, format!("unrecognized configuration parameter \"{name}\"")))
}

fn check(known: &Known, value: &str) -> Result<String> {
    let invalid =
        || Refusal::new(Code::InvalidParameter, format!("invalid value for parameter \"{}\": \"{value}\"", known.name));
    let value = value.trim();
    Ok(match known.rule {
        Rule::Text(longest) if value.len() <= longest => value.to_owned(),
        Rule::Text(_) => return Err(invalid()),
        Rule::OneOf(values) => {
            let lower = value.to_ascii_lowercase();
            if !values.iter().any(|allowed| allowed.eq_ignore_ascii_case(&lower)) {
                return Err(Refusal::unsupported(format!("\"{value}\" for parameter \"{}\"", known.name))
                    .hint(format!("supported: {}", values.join(", "))));
            }
            match (known.rule, known.name) {
                (_, "default_transaction_isolation" | "transaction_isolation") => lower,
                (Rule::OneOf([first, ..]), _) => (*first).to_owned(),
                _ => lower,
            }
        }
        Rule::Integer(least, most) => {
            let number: i64 = value.parse().map_err(|_| invalid())?;
            if !(least..=most).contains(&number) {
                return Err(invalid().hint(format!("{least} to {most}")));
            }
            number.to_string()
        }
        Rule::Milliseconds => show_milliseconds(u128::from(read_milliseconds(value).ok_or_else(invalid)?)),
        Rule::Switch => match value.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => "on".into(),
            "off" | "false" | "no" | "0" => "off".into(),
            _ => return Err(invalid()),
        },
        Rule::Zone => zone(value).ok_or_else(invalid)?,
        Rule::Path => value.to_owned(),
        Rule::DateStyle => date_style(value).ok_or_else(|| {
            Refusal::unsupported(format!("DateStyle \"{value}\"")).hint("dates are written in ISO form")
        })?,
        Rule::Fixed => {
            return Err(Refusal::new(
                Code::InvalidParameter,
                format!("parameter \"{}\" cannot be changed", known.name),
            ));
        }
    })
}

/// The IANA name in its own spelling, or UTC for its aliases.
fn zone(value: &str) -> Option<String> {
    if matches!(value.to_ascii_uppercase().as_str(), "UTC" | "GMT" | "Z" | "ZULU" | "LOCAL" | "+00:00" | "0") {
        return Some("UTC".into());
    }
    let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(value));
    found.map(|zone| zone.name().to_owned())
}

fn date_style(value: &str) -> Option<String> {
    let words: Vec<String> = value.split(',').map(|word| word.trim().to_ascii_uppercase()).collect();
    let known = words.iter().all(|word| matches!(word.as_str(), "ISO" | "MDY" | "US" | "NONEURO" | "NONEUROPEAN"));
    known.then(|| "ISO, MDY".to_owned())
}

/// `500`, `500ms`, `5s`, `2min`, `1h`, `1d`.
fn read_milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let number: u64 = digits.parse().ok()?;
    let unit: u64 = match value.strip_prefix(digits)?.trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|millis| *millis <= i32::MAX.unsigned_abs().into())
}

fn show_milliseconds(millis: u128) -> String {
    match millis {
        0 => "0".into(),
        _ if millis.is_multiple_of(60_000) => format!("{}min", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// Schemas of a search path; `"$user"` has none here.
fn split_path(value: &str) -> Vec<String> {
    let mut path = Vec::new();
    for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let name = match part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => part.to_ascii_lowercase(),
        };
        if name != "$user" && !name.starts_with("pg_") {
            path.push(name);
        }
    }
    if path.is_empty() {
        path.push(ObjectName::DEFAULT_SCHEMA.to_owned());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_shown_as_postgres_does() {
        let check = |name: &str, value: &str, expected: Result<&str, Code>| {
            let mut settings = Settings::new(String::new(), &PipelineOptions::default());
            let shown = settings.set(name, Some(value)).and_then(|()| settings.show(&name.to_ascii_lowercase(), "a"));
            let shown = shown.map(|(_, value)| value).map_err(|refusal| refusal.code());
            assert_eq!(shown, expected.map(str::to_owned), "{name} = {value}");
        };
        check("statement_timeout", "1500", Ok("1500ms"));
        check("idle_in_transaction_session_timeout", "90s", Ok("90s"));
        check("statement_timeout", "5s", Ok("5s"));
        check("statement_timeout", "120s", Ok("2min"));
        check("statement_timeout", "-1", Err(Code::InvalidParameter));
        check("TimeZone", "europe/berlin", Ok("Europe/Berlin"));
        check("timezone", "Nowhere/None", Err(Code::InvalidParameter));
        check("client_encoding", "utf-8", Ok("UTF8"));
        check("client_encoding", "LATIN1", Err(Code::Unsupported));
        check("datestyle", "ISO", Ok("ISO, MDY"));
        check("datestyle", "German", Err(Code::Unsupported));
        check("row_security", "off", Err(Code::Unsupported));
        check("server_version", "9", Err(Code::InvalidParameter));
        check("agent.desk", "emea", Err(Code::PermissionDenied));
        check("no_such", "1", Err(Code::UndefinedObject));
        check("default_transaction_isolation", "READ COMMITTED", Ok("read committed"));
        check("default_transaction_isolation", "serializable", Err(Code::Unsupported));
    }

    #[test]
    fn local_values_go_back() {
        let mut settings = Settings::new("a".into(), &PipelineOptions::default());
        settings.set_local("search_path", Some("s, \"T x\"")).unwrap();
        assert_eq!(**settings.search_path(), ["s", "T x"]);
        assert!(settings.end_transaction());
        assert_eq!(**settings.search_path(), ["public"]);
        assert!(!settings.end_transaction());
    }
}
