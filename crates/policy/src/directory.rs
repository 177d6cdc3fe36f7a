//! Reading policy directories: the only I/O of this crate.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::Diagnostic,
    source::{ACCESS_CEDAR, POLICY_TOML, ROW_FILTERS_SQL, Source, TESTS_TOML},
};

/// Longest policy file, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The files of one org's directory, whether they exist or not: what a caller polls for changes.
#[must_use]
pub fn files(directory: &Path) -> Vec<PathBuf> {
    [POLICY_TOML, ACCESS_CEDAR, ROW_FILTERS_SQL, TESTS_TOML].map(|file| directory.join(file)).into()
}

/// The org directories below `root`: `root` itself when it holds `policy.toml`, else its folders that do, sorted.
///
/// # Errors
/// A [`Diagnostic`] when `root` cannot be listed or holds no policy at all.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    if root.join(POLICY_TOML).exists() {
        return Ok(vec![root.to_owned()]);
    }
    let whole = |message: String| whole_file(root, message);
    let entries = std::fs::read_dir(root).map_err(|error| whole(format!("cannot list the directory: {error}")))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| whole(format!("cannot list the directory: {error}")))?.path();
        if path.join(POLICY_TOML).exists() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        let hint =
            "give a directory with policy.toml, access.cedar and row_filters.sql, or one such folder for each org";
        return Err(Diagnostic { hint: Some(hint.into()), ..whole("no policy.toml here nor one level below".into()) });
    }
    Ok(found)
}

/// Reads one org's directory. The three policy files must all exist: an empty file states that there are no rules of
/// its kind, a missing one may be a mistake that opens a table. Files that change under the reading are refused, so
/// that no half-saved policy is taken.
///
/// # Errors
/// A [`Diagnostic`] for each file that cannot be read.
pub fn read(directory: &Path) -> Result<Source, Vec<Diagnostic>> {
    let first = read_once(directory)?;
    let second = read_once(directory)?;
    if first == second {
        Ok(first)
    } else {
        let message = "the policy changed while it was read";
        Err(vec![Diagnostic { hint: Some("read it again".into()), ..whole_file(directory, message.into()) }])
    }
}

fn read_once(directory: &Path) -> Result<Source, Vec<Diagnostic>> {
    let mut mistakes = Vec::new();
    let mut take = |file: &str| {
        read_text(&directory.join(file)).unwrap_or_else(|diagnostic| {
            mistakes.push(diagnostic);
            None
        })
    };
    let tests = take(TESTS_TOML);
    let [policy, access, row_filters] = [POLICY_TOML, ACCESS_CEDAR, ROW_FILTERS_SQL].map(&mut take);
    for (file, text) in [(POLICY_TOML, &policy), (ACCESS_CEDAR, &access), (ROW_FILTERS_SQL, &row_filters)] {
        let path = directory.join(file);
        let shown = path.display().to_string();
        if text.is_none() && !mistakes.iter().any(|mistake| mistake.file == shown) {
            let hint = "a policy has policy.toml, access.cedar and row_filters.sql; an empty file means no rules";
            mistakes.push(Diagnostic { hint: Some(hint.into()), ..whole_file(&path, "the file is missing".into()) });
        }
    }
    match (policy, access, row_filters) {
        (Some(policy), Some(access), Some(row_filters)) if mistakes.is_empty() => {
            Ok(Source { directory: directory.to_owned(), policy, access, row_filters, tests })
        }
        _ => Err(mistakes),
    }
}

/// The text of a file; none when it does not exist.
fn read_text(path: &Path) -> Result<Option<String>, Diagnostic> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(whole_file(path, format!("cannot open the file: {error}"))),
    };
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| whole_file(path, format!("cannot read the file: {error}")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole_file(path, format!("the file is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| whole_file(path, "the file is not UTF-8 text".into()))?;
    Ok(Some(text))
}

fn whole_file(path: &Path, message: String) -> Diagnostic {
    Diagnostic { file: path.display().to_string(), line: 1, column: 1, message, hint: None }
}
