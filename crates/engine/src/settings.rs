use std::collections::HashMap;

use weir_model::text::zone::Zone;

/// What a session set, as its expressions read it. Names are lower case.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    values: HashMap<String, String>,
    /// Of `timezone`, looked up when it is set and not for each statement.
    zone: Zone,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { values: HashMap::new(), zone: Zone::utc() }
    }
}

impl Settings {
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) {
        let name = name.to_ascii_lowercase();
        if name == "timezone" {
            self.zone = value.and_then(Zone::named).unwrap_or_else(Zone::utc);
        }
        match value {
            Some(value) => self.values.insert(name, value.to_owned()),
            None => self.values.remove(&name),
        };
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn zone(&self) -> &Zone {
        &self.zone
    }
}
