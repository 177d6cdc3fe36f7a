//! `namespaces.toml`: what concurrent writes of a namespace come to, who writes and who reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::Path,
    sync::Arc,
};

use serde::Deserialize;
use toml::Spanned;
use weir_facts::{Grants, Holder, NamespaceRule, Namespaces, NodeId, Pattern, Strategy};

use crate::failure::Failure;

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a first start lays out.
const STARTER: &str = include_str!("namespaces/starter.toml");
/// The same with the demo.
const DEMO: &str = include_str!("namespaces/demo.toml");

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Declared {
    pub(super) strategies: BTreeMap<String, Strategy>,
    /// Of namespaces that not every node may write, those that may.
    pub(super) nodes: BTreeMap<String, BTreeSet<NodeId>>,
    pub(super) rules: Vec<NamespaceRule>,
}

impl Declared {
    /// Namespaces that are not named have no writers, and no strategy but the default.
    pub(super) fn namespaces(&self) -> Namespaces {
        let nodes = self.nodes.clone();
        Namespaces { strategies: self.strategies.clone(), otherwise: Strategy::default(), nodes }
    }

    /// Namespaces that are named, by whatever rule.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let patterns = self.rules.iter().map(|rule| rule.pattern.to_string());
        let of_rules = patterns.filter_map(|pattern| pattern.split('.').next().map(str::to_owned));
        self.strategies.keys().cloned().chain(of_rules.filter(|name| name != "*")).collect()
    }

    pub(super) fn grants(&self) -> Grants {
        Grants { rules: self.rules.clone(), ..Grants::default() }
    }
}

/// Writes the file where there is none.
///
/// # Errors
/// The file system's.
pub(super) fn lay_out(path: &Path, is_demo: bool) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    crate::private_file::replace(path, if is_demo { DEMO } else { STARTER }.as_bytes())
}

/// # Errors
/// Every mistake, each with file and line.
pub(super) fn read(path: &Path) -> Result<Declared, Failure> {
    let named = |error: io::Error| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).map_err(named)?.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{}: it is longer than 1 MiB", path.display())));
    }
    parse(&fs::read_to_string(path).map_err(named)?).map_err(|mistakes| {
        let of = |mistake: &Mistake| Failure::new(format!("{}:{mistake}", path.display()));
        Failure::all(mistakes.iter().map(of).collect())
            .unwrap_or_else(|| Failure::new(format!("{}: it cannot be read", path.display())))
    })
}

/// Line and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    line: usize,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.what)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    namespace: Vec<NamespaceTable>,
    #[serde(default)]
    grant: Vec<GrantTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamespaceTable {
    name: Spanned<String>,
    strategy: Option<Spanned<String>>,
    /// Of `or_set`: where the array is, its members' names joined by dots.
    path: Option<Spanned<String>>,
    /// Of `or_set`: the member that tells elements apart.
    id: Option<Spanned<String>>,
    /// Nodes whose clients may write; left out: those of all.
    nodes: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    writers: Vec<Spanned<String>>,
    #[serde(default)]
    readers: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantTable {
    pattern: Spanned<String>,
    #[serde(default)]
    writers: Vec<Spanned<String>>,
    #[serde(default)]
    readers: Vec<Spanned<String>>,
}

fn parse(text: &str) -> Result<Declared, Vec<Mistake>> {
    let mut reading = Reading { text, mistakes: Vec::new(), declared: Declared::default() };
    match toml::from_str::<File>(text) {
        Ok(file) => {
            file.namespace.iter().for_each(|table| reading.namespace(table));
            file.grant.iter().for_each(|table| reading.grant(table));
        }
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            reading.mistake(at, error.message().replace('\n', "; "));
        }
    }
    if reading.mistakes.is_empty() { Ok(reading.declared) } else { Err(reading.mistakes) }
}

struct Reading<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
    declared: Declared,
}

impl Reading<'_> {
    fn mistake(&mut self, at: usize, what: impl Into<String>) {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        self.mistakes.push(Mistake { line, what: what.into() });
    }

    fn namespace(&mut self, table: &NamespaceTable) {
        let (name, at) = (table.name.get_ref(), table.name.span().start);
        let Some(pattern) = Pattern::new(&format!("{name}.*")).ok().filter(|_| !name.contains('.')) else {
            return self.mistake(at, format!("`{name}` is no namespace: the first part of keys, without a dot"));
        };
        if self.declared.strategies.contains_key(name) {
            return self.mistake(at, format!("namespace `{name}` is there twice"));
        }
        let Some(strategy) = self.strategy(table) else { return };
        self.declared.strategies.insert(name.clone(), strategy);
        if let Some(nodes) = &table.nodes {
            let nodes = self.nodes(nodes);
            self.declared.nodes.insert(name.clone(), nodes);
        }
        self.rule(pattern, &table.writers, &table.readers);
    }

    fn grant(&mut self, table: &GrantTable) {
        match Pattern::new(table.pattern.get_ref()) {
            Ok(pattern) => self.rule(pattern, &table.writers, &table.readers),
            Err(error) => {
                let what = format!("`{}` is no pattern of keys: {error}", table.pattern.get_ref());
                self.mistake(table.pattern.span().start, what);
            }
        }
    }

    fn strategy(&mut self, table: &NamespaceTable) -> Option<Strategy> {
        let written = table.strategy.as_ref();
        let (name, at) = written.map_or(("lww", table.name.span().start), |name| (name.get_ref(), name.span().start));
        let strategy = match name {
            "lww" => Strategy::Lww,
            "deny_wins" => Strategy::DenyWins,
            "multi_value" => Strategy::MultiValue,
            "counter" => Strategy::Counter,
            "or_set" => return self.or_set(table, at),
            other => {
                self.mistake(
                    at,
                    format!("no strategy is named `{other}`: `lww`, `deny_wins`, `multi_value`, `or_set` or `counter`"),
                );
                return None;
            }
        };
        if let Some(extra) = table.path.as_ref().or(table.id.as_ref()) {
            self.mistake(extra.span().start, format!("`path` and `id` are for `or_set`, not for `{name}`"));
            return None;
        }
        Some(strategy)
    }

    fn or_set(&mut self, table: &NamespaceTable, at: usize) -> Option<Strategy> {
        let Some(path) = &table.path else {
            self.mistake(at, "`or_set` needs the `path` of the array, such as \"approvers\"");
            return None;
        };
        let members: Arc<[String]> = path.get_ref().split('.').map(str::to_owned).collect();
        if members.iter().any(String::is_empty) {
            self.mistake(path.span().start, format!("`{}` is no path: names joined by dots", path.get_ref()));
            return None;
        }
        Some(Strategy::OrSet { path: members, id: table.id.as_ref().map(|id| id.get_ref().clone()) })
    }

    fn rule(&mut self, pattern: Pattern, writers: &[Spanned<String>], readers: &[Spanned<String>]) {
        let (writers, readers) = (self.services(writers), self.services(readers));
        self.declared.rules.push(NamespaceRule { pattern, writers, readers });
    }

    fn nodes(&mut self, names: &[Spanned<String>]) -> BTreeSet<NodeId> {
        let mut nodes = BTreeSet::new();
        for name in names {
            match NodeId::new(name.get_ref()) {
                Ok(node) => drop(nodes.insert(node)),
                Err(error) => self.mistake(name.span().start, error.to_string()),
            }
        }
        nodes
    }

    fn services(&mut self, names: &[Spanned<String>]) -> BTreeSet<String> {
        for name in names {
            if let Err(error) = Holder::service(name.get_ref()) {
                self.mistake(name.span().start, error.to_string());
            }
        }
        names.iter().map(|name| name.get_ref().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn what_is_laid_out_can_be_read() {
        assert_eq!(parse(STARTER).unwrap(), Declared::default());
        let demo = parse(DEMO).unwrap();
        let names: Vec<&str> = demo.strategies.keys().map(String::as_str).collect();
        assert_eq!(names, ["approvals", "counters", "rate_limits", "relationships"]);
        assert_eq!(demo.strategies["approvals"], Strategy::DenyWins);
        assert_eq!(demo.strategies["counters"], Strategy::Counter);
        assert!(demo.rules.iter().all(|rule| rule.writers.len() == 1), "{:?}", demo.rules);
    }

    #[test]
    fn each_strategy_has_its_name() {
        let check = |lines: &str, expected: Strategy| {
            let declared = parse(&format!("[[namespace]]\nname = \"a\"\n{lines}\n")).unwrap();
            assert_eq!(declared.strategies["a"], expected, "{lines}");
        };
        check("", Strategy::Lww);
        check("strategy = \"lww\"", Strategy::Lww);
        check("strategy = \"deny_wins\"", Strategy::DenyWins);
        check("strategy = \"multi_value\"", Strategy::MultiValue);
        check("strategy = \"counter\"", Strategy::Counter);
        let path: Arc<[String]> = ["meta", "approvers"].map(str::to_owned).into();
        check(
            "strategy = \"or_set\"\npath = \"meta.approvers\"",
            Strategy::OrSet { path: Arc::clone(&path), id: None },
        );
        let id = Some("user".to_owned());
        check("strategy = \"or_set\"\npath = \"meta.approvers\"\nid = \"user\"", Strategy::OrSet { path, id });
    }

    #[test]
    fn a_namespace_may_be_left_to_some_nodes() {
        use weir_facts::Rules;
        let text = "[[namespace]]\nname = \"a\"\nnodes = [\"n1\", \"n2\"]\n[[namespace]]\nname = \"b\"\n\
                    [[namespace]]\nname = \"c\"\nnodes = []\n";
        let namespaces = parse(text).unwrap().namespaces();
        let check = |node: &str, namespace: &str, expected: bool| {
            assert_eq!(namespaces.may_write(&NodeId::new(node).unwrap(), namespace), expected, "{node} {namespace}");
        };
        check("n1", "a", true);
        check("n2", "a", true);
        check("n3", "a", false);
        check("n3", "b", true);
        check("n3", "not-named", true);
        check("n1", "c", false);
        let mistakes = parse("[[namespace]]\nname = \"a\"\nnodes = [\"n1\",\n\"n 2\"]\n").unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].line == 4 && mistakes[0].what.contains("`n 2`"), "{mistakes:?}");
    }

    #[test]
    fn grants_may_be_finer_than_namespaces() {
        let text = "[[grant]]\npattern = \"approvals.prod.*\"\nwriters = [\"deploy\"]\nreaders = [\"board\"]\n";
        let rules = parse(text).unwrap().grants().rules;
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].pattern, Pattern::new("approvals.prod.*").unwrap());
        assert!(rules[0].writers.contains("deploy") && rules[0].readers.contains("board"));
    }

    #[test]
    fn mistakes_name_their_line() {
        let check = |text: &str, expected: &str| {
            let found = parse(text).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert_eq!(found, expected, "{text}");
        };
        check("\n[[namespace]]\nname = \"a.b\"\n", "3: `a.b` is no namespace: the first part of keys, without a dot");
        check("[[namespace]]\nname = \"a b\"\n", "2: `a b` is no namespace: the first part of keys, without a dot");
        check("[[namespace]]\nname = \"a\"\n[[namespace]]\nname = \"a\"\n", "4: namespace `a` is there twice");
        check(
            "[[namespace]]\nname = \"a\"\nstrategy = \"last\"\n",
            "3: no strategy is named `last`: `lww`, `deny_wins`, `multi_value`, `or_set` or `counter`",
        );
        check(
            "[[namespace]]\nname = \"a\"\nstrategy = \"or_set\"\n",
            "3: `or_set` needs the `path` of the array, such as \"approvers\"",
        );
        check(
            "[[namespace]]\nname = \"a\"\nstrategy = \"lww\"\nid = \"user\"\n",
            "4: `path` and `id` are for `or_set`, not for `lww`",
        );
        check(
            "[[namespace]]\nname = \"a\"\nwriters = [\"ok\", \"not ok\"]\n",
            "3: the name of a service or app is 1 to 63 letters, digits and `-`; `not ok` is not",
        );
        let unknown = parse("[[namespace]]\nname = \"a\"\nwriter = []\n").unwrap_err();
        assert_eq!(unknown[0].line, 3);
        assert!(unknown[0].what.contains("`writer`") && unknown[0].what.contains("`writers`"), "{unknown:?}");
        let both = "[[namespace]]\nname = \"a\"\nstrategy = \"x\"\n[[grant]]\npattern = \"..\"\n";
        assert_eq!(parse(both).unwrap_err().len(), 2);
    }
}
