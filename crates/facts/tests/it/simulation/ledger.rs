use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
};

use weir_facts::{Body, Cell, Dot, FactKey, Found, State, VersionVector};

/// What a client asked for, as it knows it itself.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A value of its own.
    Put {
        value: u64,
        expires_at: Option<u64>,
    },
    Delete,
    /// Elements of a set that it added and that it removed.
    Elements {
        added: Vec<u64>,
        removed: Vec<u64>,
    },
    /// What it added to a number.
    Count {
        by: i64,
        expires_at: Option<u64>,
    },
}

#[derive(Debug, Clone)]
pub struct Record {
    pub key: FactKey,
    pub kind: Kind,
    pub dot: Dot,
    pub acked: bool,
    /// Writes that its node knew of the key and that it took the place of.
    pub replaced: Vec<Dot>,
    /// All that its node knew.
    pub knew: VersionVector,
    /// Whether its node was removed before others had it: it then counts as written when the node returns.
    pub is_outdated: bool,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let replaced: Vec<String> = self.replaced.iter().map(ToString::to_string).collect();
        write!(f, "{:?} {} over {replaced:?}", self.kind, self.dot)
    }
}

/// A state's cells in one line.
pub fn brief(state: &State) -> String {
    let cells = state.cells().iter().map(|cell| {
        let end = cell.expires_at.map(|end| format!(" until {}", end.0)).unwrap_or_default();
        format!("{} at {} {:?}{end}", cell.dot, cell.hlc.millis().0, cell.body)
    });
    cells.collect::<Vec<_>>().join("; ")
}

/// All writes that replicas took, and which of them clients were told are durable. It knows nothing of how replicas
/// work, but for what a node showed when something was written there.
#[derive(Debug, Default)]
pub struct Ledger {
    pub records: Vec<Record>,
    /// Told as standing behind another write.
    pub lost: HashSet<Dot>,
    /// By value, as a write may be written anew by a replica.
    puts: HashMap<(FactKey, u64), Dot>,
    /// Keys whose held writes a person had written anew.
    pub restamped: BTreeSet<FactKey>,
    pub judged: u64,
    pub acked: u64,
}

impl Ledger {
    pub fn add(&mut self, record: Record) -> usize {
        if let Kind::Put { value, .. } = record.kind {
            self.puts.insert((record.key.clone(), value), record.dot.clone());
        }
        self.records.push(record);
        self.records.len() - 1
    }

    /// The writes whose cells these are, by whatever number they go now.
    pub fn dots(&self, key: &FactKey, state: &State) -> Vec<Dot> {
        let value = |cell: &Cell| if let Body::Value(json) = &cell.body { json.parse::<u64>().ok() } else { None };
        let put = |value| self.puts.get(&(key.clone(), value));
        let originals = state.cells().iter().filter_map(value).filter_map(put).cloned();
        state.cells().iter().map(|cell| cell.dot.clone()).chain(originals).collect()
    }

    pub fn ack(&mut self, number: usize) {
        self.records[number].acked = true;
        self.acked += 1;
    }

    /// Fails unless what is there at the end is what the acknowledged writes make.
    pub fn judge(&mut self, now: u64, state: impl Fn(&FactKey) -> State, view: impl Fn(&FactKey) -> Option<Found>) {
        let keys: BTreeSet<FactKey> = self.records.iter().map(|record| record.key.clone()).collect();
        for key in &keys {
            self.judged += 1;
            let records: Vec<&Record> = self.records.iter().filter(|record| record.key == *key).collect();
            let (state, found) = (state(key), view(key));
            match key.namespace() {
                "count" => judge_count(now, key, &records, found.as_ref()),
                "set" => judge_set(key, &records, found.as_ref()),
                _ => self.judge_register(now, key, &records, &state, found.is_some()),
            }
        }
        let stands = |record: &Record| match &record.kind {
            Kind::Count { .. } => false,
            Kind::Elements { .. } => true,
            Kind::Put { .. } | Kind::Delete => self.dots(&record.key, &state(&record.key)).contains(&record.dot),
        };
        let records: Vec<_> = self.records.iter().filter(|record| stands(record)).cloned().collect();
        self.records = settle(records, |key| elements_of(view(key).as_ref()));
        for key in keys.iter().filter(|key| key.namespace() == "count") {
            self.records.extend(shares(key, &state(key)));
        }
        let standing: HashSet<Dot> = self.records.iter().map(|record| record.dot.clone()).collect();
        self.lost.retain(|dot| standing.contains(dot));
    }

    fn judge_register(&self, now: u64, key: &FactKey, records: &[&Record], state: &State, is_visible: bool) {
        let cells = self.dots(key, state);
        let standing: HashSet<&Dot> = cells.iter().collect();
        let mut replacers: HashMap<&Dot, Vec<&Dot>> = HashMap::new();
        for record in records {
            record.replaced.iter().for_each(|dot| replacers.entry(dot).or_default().push(&record.dot));
        }
        let mut fine: HashSet<&Dot> = HashSet::new();
        // What replaces a write comes later.
        for record in records.iter().rev() {
            let is_replaced = replacers.get(&record.dot).is_some_and(|by| by.iter().any(|dot| fine.contains(dot)));
            let is_ok = standing.contains(&record.dot)
                || self.lost.contains(&record.dot)
                || is_replaced
                || match record.kind {
                    Kind::Put { expires_at, .. } => expires_at.is_some_and(|end| end <= now),
                    // What a person has written anew is a write that the deletion did not see.
                    Kind::Delete if self.restamped.contains(key) => true,
                    Kind::Delete => !record.replaced.iter().any(|dot| standing.contains(dot)),
                    Kind::Elements { .. } | Kind::Count { .. } => false,
                };
            if is_ok {
                fine.insert(&record.dot);
            }
            assert!(
                is_ok || !record.acked,
                "I2: {key}: {record} was acknowledged and is nowhere; there is {}",
                brief(state)
            );
        }
        if key.namespace() == "deny" && is_visible {
            judge_denials(key, records, &standing, &replacers, &fine);
        }
    }
}

/// A deletion that nobody who saw it wrote over must hold against every value that did not know of it.
fn judge_denials(
    key: &FactKey,
    records: &[&Record],
    standing: &HashSet<&Dot>,
    replacers: &HashMap<&Dot, Vec<&Dot>>,
    fine: &HashSet<&Dot>,
) {
    let deletes = records.iter().filter(|record| matches!(record.kind, Kind::Delete) && record.acked);
    for delete in
        deletes.filter(|delete| replacers.get(&delete.dot).is_none_or(|by| !by.iter().any(|d| fine.contains(d))))
    {
        let values = records
            .iter()
            .filter(|put| matches!(put.kind, Kind::Put { .. }) && !put.is_outdated && standing.contains(&put.dot));
        for put in values {
            let knew = put.knew.covers(&delete.dot);
            assert!(knew, "I2: {key}: {put} shows in spite of the denial {delete}");
        }
    }
}

/// Each addition counts for sure, or not, or perhaps: the sum has to be within.
fn judge_count(now: u64, key: &FactKey, records: &[&Record], found: Option<&Found>) {
    let bounds = |record: &&Record| {
        let Kind::Count { by, expires_at } = record.kind else { return (0, 0) };
        let after = |other: &&&Record| other.dot.origin == record.dot.origin && other.dot.seq > record.dot.seq;
        let deletes: Vec<&&Record> = records
            .iter()
            .filter(|other| matches!(other.kind, Kind::Delete) && other.knew.covers(&record.dot))
            .collect();
        // The node's later additions that did not know of the deletion bring its whole share.
        let holds = |delete: &&&Record| {
            delete.acked && records.iter().filter(after).all(|other| other.knew.covers(&delete.dot))
        };
        // A share ends as a whole, with the last of its ends.
        let end_of = |record: &Record| if let Kind::Count { expires_at, .. } = record.kind { expires_at } else { None };
        let of_share = records.iter().filter(|other| other.dot.origin == record.dot.origin);
        let last_end = of_share.filter_map(|other| end_of(other)).max();
        let is_over = expires_at.is_some() && last_end.is_some_and(|end| end + 2_000 <= now);
        if is_over || deletes.iter().any(holds) {
            (0, 0)
        } else if record.acked && deletes.is_empty() && expires_at.is_none_or(|end| end > now) {
            (by, by)
        } else {
            (by.min(0), by.max(0))
        }
    };
    let (least, most) = records.iter().map(bounds).fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    let count = found.map_or(0, |found| found.value.to_value().as_i64().unwrap());
    assert!((least..=most).contains(&count), "I2: {key} counts {count}, not {least} to {most}");
}

fn judge_set(key: &FactKey, records: &[&Record], found: Option<&Found>) {
    let elements = elements_of(found);
    let removers = |element: u64| {
        records
            .iter()
            .filter(move |record| matches!(&record.kind, Kind::Elements { removed, .. } if removed.contains(&element)))
    };
    for record in records {
        let Kind::Elements { added, removed } = &record.kind else { continue };
        for element in added.iter().filter(|_| record.acked) {
            let is_there = elements.contains(element) || removers(*element).next().is_some();
            assert!(is_there, "I2: {key}: {element} was added by {record} and is not among {elements:?}");
        }
        for element in removed.iter().filter(|_| record.acked) {
            assert!(!elements.contains(element), "I2: {key}: {element} was removed by {record} and is there");
        }
    }
}

/// Of sets what is there now, as if it had been written then.
fn settle(records: Vec<Record>, elements: impl Fn(&FactKey) -> BTreeSet<u64>) -> Vec<Record> {
    let mut done = BTreeSet::new();
    let mut settled = Vec::new();
    for mut record in records {
        if let Kind::Elements { .. } = record.kind {
            if !done.insert(record.key.clone()) {
                continue;
            }
            record.kind = Kind::Elements { added: elements(&record.key).into_iter().collect(), removed: Vec::new() };
            record.acked = true;
        }
        settled.push(record);
    }
    settled
}

pub fn elements_of(found: Option<&Found>) -> BTreeSet<u64> {
    let members = found.and_then(|found| found.value.to_value().get("members").cloned());
    let members = members.as_ref().and_then(serde_json::Value::as_array);
    members.into_iter().flatten().filter_map(serde_json::Value::as_u64).collect()
}

/// The shares there are now, as if they had been counted then.
fn shares(key: &FactKey, state: &State) -> Vec<Record> {
    let share = |cell: &Cell| {
        let Body::Count { added, taken } = cell.body else { return None };
        Some(Record {
            key: key.clone(),
            kind: Kind::Count { by: added as i64 - taken as i64, expires_at: cell.expires_at.map(|end| end.0) },
            dot: cell.dot.clone(),
            acked: true,
            replaced: Vec::new(),
            knew: state.context().clone(),
            is_outdated: false,
        })
    };
    state.cells().iter().filter_map(share).collect()
}
