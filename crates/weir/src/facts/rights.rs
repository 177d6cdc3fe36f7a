//! Who may what, kept in step with the files that say so.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tracing::{info, warn};
use weir_facts::{Authority, Rights, Tokens};

use super::{
    namespaces::{self, Declared},
    tokens::{TokenFolder, TokenLine, read_private, token_lines},
};
use crate::private_file::{self, Stamp};

/// A file younger than this may change again without its stamp showing it, so it is read again.
const RACY: Duration = Duration::from_secs(2);

/// A file: what it was when it was looked at, and whether others might read it.
type Seen = (PathBuf, Option<Stamp>, bool);

/// The files, and what was last seen of them.
#[derive(Debug)]
pub(super) struct RightsFiles {
    namespaces: PathBuf,
    folder: TokenFolder,
    /// What holds of the namespaces' file.
    declared: Declared,
    /// Of the start: strategies change with a start only.
    started_with: Declared,
    stamps: Vec<Seen>,
    is_racy: bool,
    /// None before the first look: what is there then was there before.
    known: Option<BTreeSet<TokenLine>>,
    problems: Vec<String>,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenChange {
    Issued(TokenLine),
    Revoked(TokenLine),
}

impl RightsFiles {
    pub(super) fn new(namespaces: PathBuf, folder: TokenFolder, declared: Declared) -> RightsFiles {
        let started_with = declared.clone();
        RightsFiles {
            namespaces,
            folder,
            declared,
            started_with,
            stamps: Vec::new(),
            is_racy: true,
            known: None,
            problems: Vec::new(),
        }
    }

    /// Takes what changed, and tells which tokens came and went. Costs a `stat` for each file when nothing did.
    pub(super) fn refresh(&mut self, authority: &Authority) -> Vec<TokenChange> {
        let files = match self.folder.files() {
            Ok(files) => files,
            Err(error) => {
                self.tell(vec![format!("the folder of tokens cannot be read: {error}")]);
                return Vec::new();
            }
        };
        let paths = files.iter().map(|(path, _)| path).chain([&self.namespaces]);
        let stamps: Vec<Seen> = paths.map(|path| look(path)).collect();
        if stamps == self.stamps && !self.is_racy {
            return Vec::new();
        }
        self.is_racy = stamps.iter().any(|(path, ..)| is_young(path));
        let is_news = stamps != self.stamps;
        self.stamps = stamps;
        let mut problems = Vec::new();
        self.read_namespaces(&mut problems);
        let (mut tokens, mut known) = (Tokens::default(), BTreeSet::new());
        for (path, holder) in files {
            let taken = holder.and_then(|holder| {
                let text = read_private(&path).map_err(|failure| failure.to_string())?.unwrap_or_default();
                let lines: Vec<TokenLine> = token_lines(&holder, &text).collect();
                tokens.set(holder, &text).map_err(|error| format!("{}: {error}", path.display()))?;
                known.extend(lines);
                Ok(())
            });
            problems.extend(taken.err().map(|why: String| format!("a token file lets nobody in: {why}")));
        }
        authority.replace(Rights { tokens, grants: self.declared.grants() });
        if is_news {
            info!("took the facts' tokens and grants");
        }
        self.tell(problems);
        self.learn(known)
    }

    fn learn(&mut self, known: BTreeSet<TokenLine>) -> Vec<TokenChange> {
        let Some(before) = self.known.replace(known.clone()) else { return Vec::new() };
        let issued = known.difference(&before).cloned().map(TokenChange::Issued);
        issued.chain(before.difference(&known).cloned().map(TokenChange::Revoked)).collect()
    }

    fn read_namespaces(&mut self, problems: &mut Vec<String>) {
        match namespaces::read(&self.namespaces) {
            Ok(declared) => {
                if declared.strategies != self.started_with.strategies {
                    problems.push("the strategies of namespaces changed: that counts from the next start".to_owned());
                }
                self.declared = declared;
            }
            Err(failure) => problems.push(format!("the namespaces stay as they were: {failure}")),
        }
    }

    /// What a person should mend.
    pub(super) fn problems(&self) -> &[String] {
        &self.problems
    }

    fn tell(&mut self, problems: Vec<String>) {
        if problems == self.problems {
            return;
        }
        problems.iter().for_each(|why| warn!(why, "facts"));
        self.problems = problems;
    }
}

fn look(path: &Path) -> Seen {
    let is_exposed = private_file::is_exposed(path).unwrap_or(true);
    (path.to_owned(), Stamp::of(path).ok().flatten(), is_exposed)
}

fn is_young(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|about| about.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).map_or(true, |age| age < RACY))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::{fs, os::unix::fs::PermissionsExt};

    use weir_facts::{Holder, Millis, protocol::Bearer};

    use super::*;

    struct House {
        data: tempfile::TempDir,
        folder: TokenFolder,
        authority: Authority,
        files: RightsFiles,
    }

    impl House {
        fn new() -> House {
            let data = tempfile::tempdir().unwrap();
            let folder = TokenFolder::in_data(data.path());
            fs::create_dir_all(data.path().join("facts")).unwrap();
            let path = data.path().join("facts/namespaces.toml");
            namespaces::lay_out(&path, true).unwrap();
            let files = RightsFiles::new(path.clone(), folder.clone(), namespaces::read(&path).unwrap());
            House { data, folder, authority: Authority::default(), files }
        }

        fn is_known(&mut self, token: &str) -> bool {
            self.files.refresh(&self.authority);
            self.authority.current().tokens.verify(&Bearer::new(token), Millis(1)).is_some()
        }
    }

    #[test]
    fn tokens_come_and_go_with_their_files() {
        let mut house = House::new();
        let web = Holder::app("web").unwrap();
        let first = house.folder.issue(&web, None).unwrap();
        let second = house.folder.issue(&web, None).unwrap();
        assert!(house.is_known(&first.secret) && house.is_known(&second.secret));
        house.folder.revoke(&first.id).unwrap();
        let changes = house.files.refresh(&house.authority);
        assert!(matches!(&changes[..], [TokenChange::Revoked(line)] if line.id == first.id), "{changes:?}");
        assert!(!house.is_known(&first.secret) && house.is_known(&second.secret));
        let third = house.folder.issue(&web, None).unwrap();
        let changes = house.files.refresh(&house.authority);
        assert!(matches!(&changes[..], [TokenChange::Issued(line)] if line.id == third.id), "{changes:?}");
        assert_eq!(house.files.problems(), [""; 0]);
    }

    #[test]
    fn a_file_that_others_may_read_lets_nobody_in() {
        let mut house = House::new();
        let (admin, web) = (Holder::Admin, Holder::app("web").unwrap());
        let (first, second) = (house.folder.issue(&admin, None).unwrap(), house.folder.issue(&web, None).unwrap());
        let path = house.data.path().join("facts/tokens/admin.token");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(!house.is_known(&first.secret) && house.is_known(&second.secret));
        assert!(house.files.problems()[0].contains("can be read by others"), "{:?}", house.files.problems());
    }

    #[test]
    fn broken_namespaces_change_no_grant() {
        let mut house = House::new();
        house.files.refresh(&house.authority);
        let rules = house.authority.current().grants.rules.len();
        let path = house.data.path().join("facts/namespaces.toml");
        fs::write(&path, "[[namespace]]\nname = 1\n").unwrap();
        house.files.refresh(&house.authority);
        assert_eq!(house.authority.current().grants.rules.len(), rules);
        assert!(house.files.problems()[0].contains("namespaces.toml:2"), "{:?}", house.files.problems());
        fs::write(&path, "[[namespace]]\nname = \"approvals\"\nstrategy = \"deny_wins\"\n").unwrap();
        house.files.refresh(&house.authority);
        assert_eq!(house.authority.current().grants.rules.len(), 1);
        assert!(house.files.problems()[0].contains("next start"), "{:?}", house.files.problems());
    }
}
