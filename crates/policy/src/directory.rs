//! Reading policy directories: the only I/O of this crate.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::Diagnostic,
    source::{
        ACCESS_CEDAR, DECISION_EXTENSION, DECISIONS, POLICY_TOML, ROW_FILTERS_SQL, Source, TESTS_TOML, decision_file,
    },
};

/// Longest policy file, in bytes.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most entries of the folder of decisions, and their files' length together, in bytes.
const DECISIONS_MAX: usize = 1_000;
const DECISION_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The files of one org's directory, whether they exist or not, with the folder of decisions, whose own stamp tells of
/// files that come, go or get another name: what a caller polls for changes.
#[must_use]
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        [POLICY_TOML, ACCESS_CEDAR, ROW_FILTERS_SQL, TESTS_TOML, DECISIONS].map(|file| directory.join(file)).into();
    let decisions = decision_paths(directory).unwrap_or_default();
    files.extend(decisions.iter().map(|path| directory.join(decision_file(path))));
    files
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
    let decisions = read_decisions(directory).unwrap_or_else(|more| {
        mistakes.extend(more);
        BTreeMap::new()
    });
    match (policy, access, row_filters) {
        (Some(policy), Some(access), Some(row_filters)) if mistakes.is_empty() => {
            Ok(Source { directory: directory.to_owned(), policy, access, row_filters, decisions, tests })
        }
        _ => Err(mistakes),
    }
}

/// The decisions by path; none when there is no such folder.
fn read_decisions(directory: &Path) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
    let paths = decision_paths(directory).map_err(|diagnostic| vec![diagnostic])?;
    let (mut texts, mut mistakes, mut bytes) = (BTreeMap::new(), Vec::new(), 0_usize);
    for path in paths {
        let file = directory.join(decision_file(&path));
        match read_text(&file) {
            Ok(Some(text)) => {
                bytes = bytes.saturating_add(text.len());
                if bytes > DECISION_BYTES_MAX {
                    let message = format!("the decisions are longer than {DECISION_BYTES_MAX} bytes together");
                    mistakes.push(whole_file(&directory.join(DECISIONS), message));
                    break;
                }
                texts.insert(path, text);
            }
            Ok(None) => mistakes.push(whole_file(&file, "the file went away while it was read".into())),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(texts) } else { Err(mistakes) }
}

/// The paths that the folder of decisions has, sorted. What an editor leaves there, hidden or with `~` at its end, is
/// passed over; anything else that is no decision is a mistake, as it may be one under a wrong name.
fn decision_paths(directory: &Path) -> Result<Vec<String>, Diagnostic> {
    let folder = directory.join(DECISIONS);
    let failed = |error: std::io::Error| whole_file(&folder, format!("cannot list the directory: {error}"));
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for (number, entry) in entries.enumerate() {
        if number >= DECISIONS_MAX {
            return Err(whole_file(&folder, format!("there are more than {DECISIONS_MAX} files")));
        }
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        match name.strip_suffix(DECISION_EXTENSION) {
            Some(path) if entry.path().is_file() => paths.push(path.to_owned()),
            _ => {
                let hint = "a decision is a file `<path>.cedar`, such as prod.deployment.approval.cedar";
                let message = "this is no decision".to_owned();
                return Err(Diagnostic { hint: Some(hint.into()), ..whole_file(&entry.path(), message) });
            }
        }
    }
    paths.sort();
    Ok(paths)
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
