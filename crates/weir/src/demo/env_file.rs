use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::agents::DemoAgent;
use crate::{failure::Failure, keys::ApiKey, private_file};

/// `<data>/demo.env`: a connection string for each agent and a token for each service, for `psql`, `curl` and shells
/// (`set -a; . data/demo.env`).
#[derive(Debug)]
pub(crate) struct EnvFile {
    path: PathBuf,
    /// Where this machine reaches the listener.
    address: SocketAddr,
    urls: Vec<(String, String)>,
    /// Of the facts' sockets.
    tokens: Vec<(String, String)>,
}

impl EnvFile {
    pub fn new(data: &Path, listen: SocketAddr) -> EnvFile {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        EnvFile {
            path: data.join("demo.env"),
            address: SocketAddr::new(ip, listen.port()),
            urls: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// What an earlier start wrote; empty when there was none.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(data: &Path) -> Result<EnvFile, Failure> {
        let mut env = EnvFile::new(data, SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let text = match fs::read_to_string(&env.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::new(format!("{}: {error}", env.path.display()))),
        };
        let lines = text.lines().filter_map(|line| line.split_once("_URL="));
        env.urls = lines.map(|(name, url)| (name.to_owned(), url.to_owned())).collect();
        let tokens = text.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| name.ends_with("_TOKEN"));
        env.tokens = tokens.map(|(name, token)| (name.to_owned(), token.to_owned())).collect();
        Ok(env)
    }

    pub fn add(&mut self, demo: DemoAgent, key: &ApiKey) {
        let url = format!("postgres://{}:{}@{}/{}", demo.agent, key.text(), self.address, demo.org);
        self.urls.push((demo.name.to_owned(), url));
    }

    pub fn url(&self, name: &str) -> Option<&str> {
        self.urls.iter().find(|(known, _)| known == name).map(|(_, url)| url.as_str())
    }

    /// The key in an agent's connection string.
    pub fn key(&self, name: &str) -> Option<ApiKey> {
        let (_, rest) = self.url(name)?.strip_prefix("postgres://")?.split_once(':')?;
        ApiKey::parse(rest.split_once('@')?.0).ok()
    }

    pub fn add_token(&mut self, name: &str, token: String) {
        self.tokens.push((name.to_owned(), token));
    }

    pub fn token(&self, name: &str) -> Option<&str> {
        self.tokens.iter().find(|(known, _)| known == name).map(|(_, token)| token.as_str())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// # Errors
    /// The file system's.
    pub fn write(&self) -> Result<(), Failure> {
        let mut text =
            String::from("# Connection strings of the demo's agents. They are secrets of this data folder.\n");
        for (name, url) in &self.urls {
            text.extend([name.as_str(), "_URL=", url, "\n"]);
        }
        if !self.tokens.is_empty() {
            text.push_str("# Tokens of the facts' sockets: three services, an application, an administrator.\n");
        }
        for (name, token) in &self.tokens {
            text.extend([name.as_str(), "=", token, "\n"]);
        }
        private_file::replace(&self.path, text.as_bytes())
            .map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }
}
