use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use tracing::{error, info};
use weir_model::OrgName;
use weir_policy::{BundleBody, BundleKey, Diagnostic, Source, Validity, compile, directory, sign};

use super::{directory::WatchedDirectory, versions::Versions};

/// How long a bundle is valid; one that is not renewed ends by itself, whatever becomes of this process.
const VALID_SECONDS: i64 = 24 * 3600;
/// A bundle with less than this left is signed anew.
const RENEW_SECONDS: i64 = 12 * 3600;

/// The data plane, as the control plane sees it.
pub(crate) trait Recipient: Send + Sync {
    /// Takes a signed bundle, or says why not.
    fn offer(&self, org: &OrgName, jws: &str) -> Result<u64, String>;
    /// The bundle that the org holds is still the current one.
    fn confirm(&self, org: &OrgName);
    /// A policy was refused before it became a bundle.
    fn rejected(&self, org: Option<&OrgName>, why: &str);
}

/// How one policy directory stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DirectoryReport {
    pub path: PathBuf,
    /// The org whose policy it gave last, and the version that is served.
    pub serving: Option<(OrgName, u64)>,
    /// Why what stands there now is not what is served; empty when it is.
    pub problems: Vec<String>,
}

impl fmt::Display for DirectoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.serving {
            Some((org, version)) => write!(f, "version {version} of org {org} is served")?,
            None => f.write_str("nothing is served")?,
        }
        if self.problems.is_empty() {
            return Ok(());
        }
        f.write_str("; what stands there now is refused:")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}", problem.replace('\n', "\n  ")))
    }
}

/// Compiles, signs and offers what policy directories say.
#[derive(Debug)]
pub(crate) struct Control {
    root: PathBuf,
    key: BundleKey,
    versions: Versions,
    directories: BTreeMap<PathBuf, Governed>,
    /// Why the root holds no directory at all.
    rootless: Option<Diagnostic>,
}

#[derive(Debug)]
struct Governed {
    watched: WatchedDirectory,
    serving: Option<Serving>,
    problems: Vec<String>,
}

#[derive(Debug, Clone)]
struct Serving {
    org: OrgName,
    version: u64,
    not_after: i64,
    source: Source,
}

impl Control {
    /// # Errors
    /// The kept versions cannot be read.
    pub fn open(data: &Path, root: &Path, key: BundleKey) -> io::Result<Control> {
        let versions = Versions::open(data)?;
        Ok(Control { root: root.to_owned(), key, versions, directories: BTreeMap::new(), rootless: None })
    }

    /// Looks once: offers what changed, renews what runs out, confirms the rest.
    pub fn look(&mut self, recipient: &dyn Recipient, now: i64) {
        let found = match directory::find(&self.root) {
            Ok(found) => found,
            Err(diagnostic) => {
                if self.rootless.as_ref() != Some(&diagnostic) {
                    error!(%diagnostic, "no policy is found: all access ends with the grace period");
                    recipient.rejected(None, &diagnostic.to_string());
                    self.rootless = Some(diagnostic);
                }
                Vec::new()
            }
        };
        if !found.is_empty() {
            self.rootless = None;
        }
        self.directories.retain(|path, _| {
            let kept = found.contains(path);
            if !kept {
                error!(directory = %path.display(), "the policy directory is gone: access ends with the grace period");
            }
            kept
        });
        for path in found {
            let mut governed = self.directories.remove(&path).unwrap_or_else(|| Governed {
                watched: WatchedDirectory::new(&path),
                serving: None,
                problems: Vec::new(),
            });
            self.look_at(&mut governed, recipient, now);
            self.directories.insert(path, governed);
        }
    }

    fn look_at(&mut self, governed: &mut Governed, recipient: &dyn Recipient, now: i64) {
        let path = governed.watched.path().to_owned();
        if let Some(changed) = governed.watched.changed() {
            let taken = match changed.clone() {
                Ok(source)
                    if governed.serving.as_ref().is_some_and(|held| source.emptied_row_filters(&held.source)) =>
                {
                    Err(vec![format!(
                        "{}:1:1: the file became empty, which would open every row of every table; write `-- none` into \
                         it if that is meant",
                        path.join("row_filters.sql").display()
                    )])
                }
                Ok(source) => self.serve(&path, &source, recipient, now),
                Err(diagnostics) => Err(texts(&diagnostics)),
            };
            match taken {
                Ok(serving) => {
                    info!(org = %serving.org, version = serving.version, "the policy is served");
                    governed.problems.clear();
                    governed.serving = Some(serving);
                    return;
                }
                Err(problems) => {
                    let org = governed.serving.as_ref().map(|serving| &serving.org);
                    let directory = path.display();
                    for problem in &problems {
                        error!(%directory, problem, "the changed policy is refused; the old one stays");
                    }
                    metrics::counter!("weir_policy_rejected_total").increment(1);
                    recipient.rejected(org, &problems.join("\n"));
                    governed.problems = problems;
                }
            }
        }
        let Some(serving) = &governed.serving else { return };
        if serving.not_after - now < RENEW_SECONDS {
            let source = serving.source.clone();
            match self.serve(&path, &source, recipient, now) {
                Ok(renewed) => governed.serving = Some(renewed),
                Err(problems) => error!(org = %serving.org, ?problems, "the policy cannot be renewed"),
            }
        } else {
            recipient.confirm(&serving.org);
        }
    }

    fn serve(
        &mut self,
        path: &Path,
        source: &Source,
        recipient: &dyn Recipient,
        now: i64,
    ) -> Result<Serving, Vec<String>> {
        let one = |text: String| vec![text];
        // The version takes no part in what compiles, and none is spent on what does not.
        let not_after = now.saturating_add(VALID_SECONDS);
        let body =
            compile(source, Validity { version: 0, issued_at: now, not_after }).map_err(|found| texts(&found))?;
        let other =
            self.directories.iter().find(|(_, other)| other.serving.as_ref().is_some_and(|held| held.org == body.org));
        if let Some((other, _)) = other {
            return Err(one(format!(
                "{}: org `{}` has its policy in {} already",
                path.display(),
                body.org,
                other.display()
            )));
        }
        let version = self
            .versions
            .of(&body.org, &body.content_hash)
            .map_err(|error| one(format!("the version cannot be kept: {error}")))?;
        let body = BundleBody { version, ..body };
        let jws = sign(&body, &self.key).map_err(|error| one(error.to_string()))?;
        let version = recipient.offer(&body.org, &jws).map_err(one)?;
        Ok(Serving { org: body.org, version, not_after, source: source.clone() })
    }

    pub fn report(&self) -> Vec<DirectoryReport> {
        let report = |(path, governed): (&PathBuf, &Governed)| DirectoryReport {
            path: path.clone(),
            serving: governed.serving.as_ref().map(|serving| (serving.org.clone(), serving.version)),
            problems: governed.problems.clone(),
        };
        self.directories.iter().map(report).collect()
    }
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}
