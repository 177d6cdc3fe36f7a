use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{
    absent, file,
    kinds::Kind,
    settings::{SETTINGS, Setting},
};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Environment(variable) => f.write_str(variable),
            Source::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One mistake in the configuration, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub place: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Every mistake found, one or more; each prints as `place: message` and, below it, what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, place: impl fmt::Display, message: impl Into<String>, hint: Option<String>) {
        self.0.push(Mistake { place: place.to_string(), message: message.into(), hint });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {}", mistake.place, mistake.message)?;
            if let Some(hint) = &mistake.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What flags gave: flag, setting's key, text.
pub(crate) type Flags = Vec<(&'static str, &'static str, String)>;

#[derive(Debug, Clone)]
pub(crate) struct Layered {
    pub text: String,
    pub source: Source,
}

/// The text of every setting, from the highest layer that gives one.
#[derive(Debug)]
pub(crate) struct Layers(BTreeMap<&'static str, Layered>);

/// The file read when none is named and it exists.
const FILE: &str = "weir.toml";
const FILE_VARIABLE: &str = "WEIR_CONFIG";
/// Variables that begin like settings and are none: what they hold is for one command.
const BESIDE: [&str; 2] = [FILE_VARIABLE, TOKEN_VARIABLE];
/// The token of `weir facts`.
pub(crate) const TOKEN_VARIABLE: &str = "WEIR_FACTS_TOKEN";

impl Layers {
    /// Reads the file, then the environment, then the flags; the later win.
    ///
    /// # Errors
    /// Unknown names anywhere, and a file that was named and cannot be read.
    pub fn gather(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Flags,
    ) -> Result<Layers, Mistakes> {
        let environment: BTreeMap<String, String> =
            environment.into_iter().filter(|(name, _)| name.starts_with("WEIR_")).collect();
        let mut mistakes = Mistakes::default();
        let mut layers = Layers::defaults();
        let named = file.map(Path::to_owned).or_else(|| environment.get(FILE_VARIABLE).map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(FILE));
        if named.is_some() || path.exists() {
            file::read(&path, &mut layers, &mut mistakes);
        }
        for (variable, text) in environment {
            if !BESIDE.contains(&variable.as_str()) {
                layers.variable(variable, text, &mut mistakes);
            }
        }
        for (flag, key, text) in flags {
            layers.set(key, text, Source::Flag(flag));
        }
        if mistakes.is_empty() { Ok(layers) } else { Err(mistakes) }
    }

    fn defaults() -> Layers {
        let default =
            |setting: &Setting| (setting.key, Layered { text: setting.default.to_owned(), source: Source::Default });
        Layers(SETTINGS.iter().map(default).collect())
    }

    /// Takes a value for a key; false when there is no such setting.
    pub fn set(&mut self, key: &str, text: String, source: Source) -> bool {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else { return false };
        self.0.insert(setting.key, Layered { text, source });
        true
    }

    fn variable(&mut self, variable: String, text: String, mistakes: &mut Mistakes) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == variable) {
            self.0.insert(setting.key, Layered { text, source: Source::Environment(variable) });
        } else if let Some(why) = absent::variable(&variable) {
            mistakes.add(&variable, why, Some("unset it".into()));
        } else {
            let known: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
            let hint = nearest(&variable, known.iter().map(String::as_str)).map_or_else(
                || "`weir config print` lists every setting".into(),
                |name| format!("did you mean `{name}`?"),
            );
            mistakes.add(&variable, "no setting has this name", Some(hint));
        }
    }

    /// The setting's value; none, and a mistake, when its text does not parse.
    pub fn value<T: Kind>(&self, key: &str, mistakes: &mut Mistakes) -> Option<T> {
        let layered = self.0.get(key)?;
        match T::parse(&layered.text) {
            Ok(value) => Some(value),
            Err(expected) => {
                let message = format!("`{key}` is `{}`; expected {expected}", layered.text);
                mistakes.add(&layered.source, message, None);
                None
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&Layered> {
        self.0.get(key)
    }
}

/// The known word that a person most likely meant.
pub(crate) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 5)
        .min()
        .map(|(_, word)| word)
}
