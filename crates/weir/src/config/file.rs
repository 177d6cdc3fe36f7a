use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    absent,
    layers::{Layers, Mistakes, Source, nearest},
    settings::SETTINGS,
};

/// Longest `weir.toml`, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Lays the file's values over what is there.
pub(crate) fn read(path: &Path, layers: &mut Layers, mistakes: &mut Mistakes) {
    let text = match std::fs::metadata(path).and_then(|about| {
        if about.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is longer than 1 MiB"));
        }
        std::fs::read_to_string(path)
    }) {
        Ok(text) => text,
        Err(error) => return mistakes.add(path.display(), format!("cannot read the file: {error}"), None),
    };
    match DeTable::parse(&text) {
        Ok(table) => Reading { path, text: &text, layers, mistakes }.table("", table.get_ref()),
        Err(error) => {
            let line = line_of(&text, error.span().map_or(0, |span| span.start));
            mistakes.add(format!("{}:{line}", path.display()), error.message().replace('\n', "; "), None);
        }
    }
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    layers: &'a mut Layers,
    mistakes: &'a mut Mistakes,
}

impl Reading<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let line = line_of(self.text, name.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&key, inner),
                _ => self.value(&key, value, line),
            }
        }
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>, line: usize) {
        let place = format!("{}:{line}", self.path.display());
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            _ => {
                return self.mistakes.add(
                    place,
                    format!("`{key}` is neither text, nor number, nor true or false"),
                    None,
                );
            }
        };
        let source = Source::File { path: self.path.to_owned(), line };
        if self.layers.set(key, text, source) {
            return;
        }
        if let Some(why) = absent::key(key) {
            return self.mistakes.add(place, format!("`{key}`: {why}"), Some("remove the line".into()));
        }
        let hint = nearest(key, SETTINGS.iter().map(|setting| setting.key))
            .map_or_else(|| "`weir config print` lists every setting".into(), |name| format!("did you mean `{name}`?"));
        self.mistakes.add(place, format!("no setting is named `{key}`"), Some(hint));
    }
}

/// One-based line of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
