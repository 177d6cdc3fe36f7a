use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use weir_facts::{NodeId, PlaneName};
use weir_model::OrgName;

use super::memory;

/// A kind of value, read from the text of any layer.
pub(crate) trait Kind: Sized {
    /// # Errors
    /// What was expected, to stand after "expected".
    fn parse(text: &str) -> Result<Self, String>;
}

/// Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub Duration);

impl Seconds {
    /// None for 0, where 0 means no limit.
    pub fn limit(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub u64);

/// A size in bytes, or a percentage of the memory that this process may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory(pub u64);

/// A TPC-H scale factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale(pub f64);

/// Numbers of users of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Users(pub BTreeSet<u32>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    Batched,
    Strict,
}

/// How nodes hear of each other's facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeersMode {
    None,
    Gossip,
    Pubsub,
    Hybrid,
}

/// How a node begins that has no facts yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeersStart {
    Join,
    Found,
}

/// Words with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List(pub Vec<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Prefer,
    Required,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Kind for bool {
    fn parse(text: &str) -> Result<bool, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("true or false".into()),
        }
    }
}

impl Kind for usize {
    fn parse(text: &str) -> Result<usize, String> {
        text.parse().map_err(|_| "a whole number".into())
    }
}

impl Kind for String {
    fn parse(text: &str) -> Result<String, String> {
        if text.is_empty() { Err("a text that is not empty".into()) } else { Ok(text.to_owned()) }
    }
}

impl Kind for PathBuf {
    fn parse(text: &str) -> Result<PathBuf, String> {
        if text.is_empty() { Err("a path".into()) } else { Ok(PathBuf::from(text)) }
    }
}

impl Kind for OrgName {
    fn parse(text: &str) -> Result<OrgName, String> {
        OrgName::new(text).map_err(|error| format!("an org's name ({error})"))
    }
}

impl Kind for NodeId {
    fn parse(text: &str) -> Result<NodeId, String> {
        NodeId::new(text).map_err(|_| "1 to 63 letters, digits, `-` and `_`".into())
    }
}

impl Kind for SocketAddr {
    fn parse(text: &str) -> Result<SocketAddr, String> {
        text.parse().map_err(|_| "an address such as 127.0.0.1:5439 or [::1]:5439".into())
    }
}

impl Kind for Users {
    fn parse(text: &str) -> Result<Users, String> {
        let numbers: Result<BTreeSet<u32>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        numbers.map(Users).map_err(|_| "numbers of users such as \"0,1000\"".into())
    }
}

impl Kind for Seconds {
    fn parse(text: &str) -> Result<Seconds, String> {
        let whole: u32 = text.parse().map_err(|_| "a whole number of seconds".to_owned())?;
        Ok(Seconds(Duration::from_secs(whole.into())))
    }
}

impl Kind for Scale {
    fn parse(text: &str) -> Result<Scale, String> {
        match text.parse::<f64>() {
            Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(Scale(scale)),
            _ => Err("a number from 0.001 to 100".into()),
        }
    }
}

impl Kind for Bytes {
    fn parse(text: &str) -> Result<Bytes, String> {
        bytes(text).map(Bytes).ok_or_else(|| "a size such as 512MiB or 2GiB".into())
    }
}

impl Kind for Memory {
    fn parse(text: &str) -> Result<Memory, String> {
        let wrong = || "a size such as 512MiB, or a percentage of memory from 1% to 100%".to_owned();
        let Some(percent) = text.strip_suffix('%') else {
            return bytes(text).filter(|size| *size > 0).map(Memory).ok_or_else(wrong);
        };
        let percent: u64 = percent.trim().parse().map_err(|_| wrong())?;
        if (1..=100).contains(&percent) { Ok(Memory(memory::available() / 100 * percent)) } else { Err(wrong()) }
    }
}

impl Kind for Durability {
    fn parse(text: &str) -> Result<Durability, String> {
        match text {
            "batched" => Ok(Durability::Batched),
            "strict" => Ok(Durability::Strict),
            _ => Err("`batched` or `strict`".into()),
        }
    }
}

impl Kind for TlsMode {
    fn parse(text: &str) -> Result<TlsMode, String> {
        match text {
            "prefer" => Ok(TlsMode::Prefer),
            "required" => Ok(TlsMode::Required),
            _ => Err("`prefer` or `required`".into()),
        }
    }
}

impl Kind for PeersMode {
    fn parse(text: &str) -> Result<PeersMode, String> {
        match text {
            "none" => Ok(PeersMode::None),
            "gossip" => Ok(PeersMode::Gossip),
            "pubsub" => Ok(PeersMode::Pubsub),
            "hybrid" => Ok(PeersMode::Hybrid),
            _ => Err("`none`, `gossip`, `pubsub` or `hybrid`".into()),
        }
    }
}

impl Kind for PeersStart {
    fn parse(text: &str) -> Result<PeersStart, String> {
        match text {
            "join" => Ok(PeersStart::Join),
            "found" => Ok(PeersStart::Found),
            _ => Err("`join` or `found`".into()),
        }
    }
}

impl Kind for PlaneName {
    fn parse(text: &str) -> Result<PlaneName, String> {
        PlaneName::new(text).map_err(|_| "1 to 63 letters, digits, `-` and `_`".into())
    }
}

impl Kind for List {
    fn parse(text: &str) -> Result<List, String> {
        let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        match words.as_slice() {
            [only] if only.is_empty() => Ok(List(Vec::new())),
            words if words.iter().any(String::is_empty) => Err("words with commas between them".into()),
            _ => Ok(List(words)),
        }
    }
}

impl Kind for LogFormat {
    fn parse(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("`text` or `json`".into()),
        }
    }
}

/// Unset when the text is empty.
impl<T: Kind> Kind for Option<T> {
    fn parse(text: &str) -> Result<Option<T>, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
}

/// `512`, `512B`, `64KiB`, `64kB`, … : powers of 1024 with an `i`, of 1000 without.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}
