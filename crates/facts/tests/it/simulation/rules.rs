use weir_facts::{NodeId, Rules, Strategy};

/// A namespace of each strategy, one whose keys are written in pairs, and one that only the first node may write.
#[derive(Debug)]
pub struct Namespaces {
    lww: Strategy,
    deny: Strategy,
    many: Strategy,
    set: Strategy,
    count: Strategy,
}

pub const SECRET: &str = "secret";

impl Namespaces {
    pub fn new() -> Namespaces {
        Namespaces {
            lww: Strategy::Lww,
            deny: Strategy::DenyWins,
            many: Strategy::MultiValue,
            set: Strategy::OrSet { path: ["members".to_owned()].into(), id: None },
            count: Strategy::Counter,
        }
    }
}

impl Rules for Namespaces {
    fn strategy(&self, namespace: &str) -> &Strategy {
        match namespace {
            "deny" => &self.deny,
            "many" => &self.many,
            "set" => &self.set,
            "count" => &self.count,
            _ => &self.lww,
        }
    }

    fn may_write(&self, node: &NodeId, namespace: &str) -> bool {
        namespace != SECRET || node.as_str() == "n0"
    }
}
