//! The folder of tokens: `admin.token`, `service.<name>.token` and `app.<name>.token`, each with the tokens of one holder,
//! one a line, as their hashes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use weir_facts::{Holder, hashed_line, protocol::Bearer};

use crate::{clock::unix_now, failure::Failure, private_file};

const ENDING: &str = ".token";
/// Digits of a token's hash that name it to people.
const ID_DIGITS: usize = 12;
/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// See the module. A running server reads it again when it changes.
#[derive(Debug, Clone)]
pub(crate) struct TokenFolder {
    path: PathBuf,
}

/// A new token: the only time that it is known.
pub(crate) struct IssuedToken {
    pub id: String,
    pub secret: String,
}

/// A token as its file knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenLine {
    pub holder: Holder,
    pub id: String,
    /// Unix seconds.
    pub expires_at: Option<i64>,
}

impl TokenFolder {
    pub fn in_data(data: &Path) -> TokenFolder {
        TokenFolder { path: data.join("facts").join("tokens") }
    }

    /// The files there are, with the holder of each, or why it is nobody's.
    ///
    /// # Errors
    /// The file system's; a folder that is not there has no files.
    pub(super) fn files(&self) -> io::Result<Vec<(PathBuf, Result<Holder, String>)>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(ENDING)) else { continue };
            let holder = holder_of(stem);
            files.push((path, holder));
        }
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(files)
    }

    /// Makes a token of the holder, good for so many seconds or for ever.
    ///
    /// # Errors
    /// No randomness, or the file system's.
    pub fn issue(&self, holder: &Holder, lifetime: Option<i64>) -> Result<IssuedToken, Failure> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let token = holder.issue(&random);
        let mut line = hashed_line(&token);
        if let Some(lifetime) = lifetime {
            line.push_str(&format!(" expires={}", unix_now().saturating_add(lifetime)));
        }
        self.change(|| {
            let path = self.file_of(holder);
            let mut text = read_private(&path)?.unwrap_or_default();
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&line);
            text.push('\n');
            write(&path, &text)
        })?;
        Ok(IssuedToken { id: id_of(token.expose()), secret: token.expose().to_owned() })
    }

    /// Every token of every file, expired ones too.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn list(&self) -> Result<Vec<TokenLine>, Failure> {
        let mut lines = Vec::new();
        for (path, holder) in self.files()? {
            let holder = holder.map_err(|why| Failure::new(format!("{}: {why}", path.display())))?;
            let text = read_private(&path)?.unwrap_or_default();
            lines.extend(token_lines(&holder, &text));
        }
        Ok(lines)
    }

    /// Takes away the token whose id begins so; whose it was.
    ///
    /// # Errors
    /// None has it, or more than one; the file system's.
    pub fn revoke(&self, id: &str) -> Result<Holder, Failure> {
        let mut found = Vec::new();
        self.change(|| {
            found = self.list()?.into_iter().filter(|line| !id.is_empty() && line.id.starts_with(id)).collect();
            let [line] = found.as_slice() else {
                let failure = Failure::new(match found.len() {
                    0 => format!("no token has the id `{id}`"),
                    count => format!("{count} tokens have ids that begin with `{id}`"),
                });
                return Err(failure.hint("see `weir facts token list`"));
            };
            let path = self.file_of(&line.holder);
            let text = read_private(&path)?.unwrap_or_default();
            let is_other = |text: &&str| token_line(&line.holder, text).is_none_or(|other| other.id != line.id);
            let left: Vec<&str> = text.lines().filter(is_other).collect();
            if left.iter().any(|text| token_line(&line.holder, text).is_some()) {
                write(&path, &format!("{}\n", left.join("\n")))
            } else {
                fs::remove_file(&path).map_err(|error| named(&path, &error))
            }
        })?;
        found.pop().map(|line| line.holder).ok_or_else(|| Failure::new(format!("no token has the id `{id}`")))
    }

    /// Whether the token is in its holder's file and holds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn holds(&self, holder: &Holder, token: &str) -> Result<bool, Failure> {
        if Holder::of_token(token).as_ref() != Some(holder) {
            return Ok(false);
        }
        let text = read_private(&self.file_of(holder))?.unwrap_or_default();
        let (hash, now) = (hashed_line(&Bearer::new(token)), unix_now());
        Ok(text.lines().any(|line| {
            let is_it = line.split_whitespace().next().is_some_and(|word| word == hash || word == token);
            is_it && token_line(holder, line).is_some_and(|line| line.expires_at.is_none_or(|at| now < at))
        }))
    }

    fn file_of(&self, holder: &Holder) -> PathBuf {
        self.path.join(match holder {
            Holder::Admin => format!("admin{ENDING}"),
            Holder::Service(name) => format!("service.{name}{ENDING}"),
            Holder::App(name) => format!("app.{name}{ENDING}"),
        })
    }

    /// One change at a time, of the server and the command line.
    fn change<T>(&self, change: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        private_file::create_folder(&self.path).map_err(|error| named(&self.path, &error))?;
        let path = self.path.join("lock");
        let lock = fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|error| named(&path, &error))?;
        lock.lock().map_err(|error| named(&path, &error))?;
        change()
    }
}

/// The token of whoever owns the data folder: an administrator's, in a file of its own as it is. It is made when there is
/// none that holds, and for `weir facts` to find.
///
/// # Errors
/// The file system's, or no randomness.
pub(crate) fn operator_token(data: &Path, folder: &TokenFolder) -> Result<String, Failure> {
    let path = operator_file(data);
    let kept = read_private(&path)?.map(|text| text.trim().to_owned());
    if let Some(token) = kept
        && folder.holds(&Holder::Admin, &token)?
    {
        return Ok(token);
    }
    let issued = folder.issue(&Holder::Admin, None)?;
    write(&path, &format!("{}\n", issued.secret))?;
    Ok(issued.secret)
}

/// The operator's token as it was last made, if this process may read it.
pub(crate) fn kept_operator_token(data: &Path) -> Option<String> {
    read_private(&operator_file(data)).ok().flatten().map(|text| text.trim().to_owned())
}

fn operator_file(data: &Path) -> PathBuf {
    data.join("keys").join("facts_operator.token")
}

fn holder_of(stem: &str) -> Result<Holder, String> {
    let holder = match stem.split_once('.') {
        None if stem == "admin" => return Ok(Holder::Admin),
        Some(("service", name)) => Holder::service(name),
        Some(("app", name)) => Holder::app(name),
        _ => return Err("the file's name is none of admin.token, service.<name>.token and app.<name>.token".into()),
    };
    holder.map_err(|error| error.to_string())
}

/// What a holder's file says.
pub(super) fn token_lines(holder: &Holder, text: &str) -> impl Iterator<Item = TokenLine> {
    text.lines().filter_map(|line| token_line(holder, line))
}

fn token_line(holder: &Holder, line: &str) -> Option<TokenLine> {
    let mut words = line.split_whitespace();
    let word = words.next().filter(|word| !word.starts_with('#'))?;
    let id = match word.strip_prefix("sha256:") {
        Some(digits) => digits.chars().take(ID_DIGITS).collect(),
        None => id_of(word),
    };
    let expires_at = words.next().and_then(|word| word.strip_prefix("expires=")?.parse().ok());
    Some(TokenLine { holder: holder.clone(), id, expires_at })
}

fn id_of(token: &str) -> String {
    hex::encode(Sha256::digest(token)).chars().take(ID_DIGITS).collect()
}

/// None when there is no such file.
///
/// # Errors
/// A file that others may read, that is too long, or that cannot be read.
pub(super) fn read_private(path: &Path) -> Result<Option<String>, Failure> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
        Ok(about) if about.len() > FILE_BYTES_MAX => {
            return Err(Failure::new(format!("{}: it is longer than 64 KiB", path.display())));
        }
        Ok(_) => {}
    }
    if private_file::is_exposed(path).map_err(|error| named(path, &error))? {
        let shown = path.display();
        return Err(Failure::new(format!("{shown} can be read by others")).hint(format!("chmod 600 {shown}")));
    }
    fs::read_to_string(path).map(Some).map_err(|error| named(path, &error))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    private_file::replace(path, text.as_bytes()).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_kept_as_its_hash_until_it_is_revoked() {
        let data = tempfile::tempdir().unwrap();
        let folder = TokenFolder::in_data(data.path());
        let deploy = Holder::service("deployment-service").unwrap();
        let first = folder.issue(&deploy, None).unwrap();
        let second = folder.issue(&deploy, Some(60)).unwrap();
        let file = data.path().join("facts/tokens/service.deployment-service.token");
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&first.secret) && text.lines().count() == 2, "{text}");
        assert!(!private_file::is_exposed(&file).unwrap());
        assert!(folder.holds(&deploy, &first.secret).unwrap() && folder.holds(&deploy, &second.secret).unwrap());
        assert!(!folder.holds(&Holder::Admin, &first.secret).unwrap());
        let ids: Vec<String> = folder.list().unwrap().into_iter().map(|line| line.id).collect();
        assert_eq!(ids, [first.id.clone(), second.id.clone()]);

        assert_eq!(folder.revoke(&first.id).unwrap(), deploy);
        assert!(!folder.holds(&deploy, &first.secret).unwrap() && folder.holds(&deploy, &second.secret).unwrap());
        assert!(folder.revoke(&first.id).is_err() && folder.revoke("").is_err());
        folder.revoke(&second.id[..6]).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn expired_tokens_do_not_hold() {
        let data = tempfile::tempdir().unwrap();
        let folder = TokenFolder::in_data(data.path());
        let web = Holder::app("web").unwrap();
        let token = folder.issue(&web, Some(-1)).unwrap();
        assert!(!folder.holds(&web, &token.secret).unwrap());
    }

    #[test]
    fn the_operators_token_is_kept_while_it_holds() {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir(data.path().join("keys")).unwrap();
        let folder = TokenFolder::in_data(data.path());
        let first = operator_token(data.path(), &folder).unwrap();
        assert_eq!(operator_token(data.path(), &folder).unwrap(), first);
        assert_eq!(kept_operator_token(data.path()), Some(first.clone()));
        folder.revoke(&folder.list().unwrap()[0].id).unwrap();
        assert_ne!(operator_token(data.path(), &folder).unwrap(), first);
    }

    #[test]
    fn files_of_nobody_and_files_that_others_read_are_told() {
        let data = tempfile::tempdir().unwrap();
        let folder = TokenFolder::in_data(data.path());
        folder.issue(&Holder::Admin, None).unwrap();
        let inside = data.path().join("facts/tokens");
        for name in ["root.token", "service.a b.token", "service.token"] {
            fs::write(inside.join(name), "x").unwrap();
        }
        fs::write(inside.join("notes.txt"), "x").unwrap();
        let holders: Vec<bool> = folder.files().unwrap().into_iter().map(|(_, holder)| holder.is_ok()).collect();
        assert_eq!(holders, [true, false, false, false]);
        let admin = inside.join("admin.token");
        fs::set_permissions(&admin, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_private(&admin).unwrap_err().to_string().contains("can be read by others"));
    }
}
