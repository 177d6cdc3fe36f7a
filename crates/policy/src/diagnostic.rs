use std::fmt;

/// One mistake in a policy directory, with the place to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// As the reader would open it: the directory as it was given, and the file in it.
    pub file: String,
    /// One-based; 1:1 when the mistake is the whole file.
    pub line: u32,
    /// One-based, counted in characters.
    pub column: u32,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// A mistake whose file is not yet known to the code that found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub place: Place,
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    pub fn at(place: Place, message: impl Into<String>) -> Mistake {
        Mistake { place, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }

    pub fn hint_opt(mut self, hint: Option<String>) -> Mistake {
        self.hint = hint;
        self
    }

    pub fn in_file(self, file: &str) -> Diagnostic {
        Diagnostic {
            file: file.to_owned(),
            line: self.place.line,
            column: self.place.column,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// A one-based line and column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Place = Place { line: 1, column: 1 };

    /// The place of a byte offset; past the end, the end.
    pub fn of(text: &str, offset: usize) -> Place {
        let mut place = Place::START;
        for (at, character) in text.char_indices() {
            if at >= offset {
                break;
            }
            if character == '\n' {
                place.line = place.line.saturating_add(1);
                place.column = 1;
            } else {
                place.column = place.column.saturating_add(1);
            }
        }
        place
    }
}

/// "did you mean `x`?" when one of the known words is close to what was written.
pub(crate) fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, known).map(|word| format!("did you mean `{word}`?"))
}

fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&written.to_lowercase(), word), word))
        .filter(|(distance, word)| *distance <= 1 + word.chars().count() / 4)
        .min()
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_become_places_counted_in_characters() {
        let text = "a\nße\n";
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (2, 2, 1), (4, 2, 2), (99, 3, 1)] {
            assert_eq!(Place::of(text, offset), Place { line, column }, "{offset}");
        }
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["active", "suspended", "tier"];
        for (written, expected) in
            [("activ", Some("active")), ("Tier", Some("tier")), ("tire", Some("tier")), ("zzz", None)]
        {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
    }
}
