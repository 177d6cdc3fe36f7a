use clap::Args;

use super::Place;
use crate::{config::Flags, failure::Failure, serve};

/// Start Weir in local mode: every part in one process, no network needed.
#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    place: Place,
    /// Policy folder [default: policies in the data folder, laid out at the first start]
    #[arg(long, value_name = "DIR")]
    policies: Option<String>,
    /// Address that Postgres clients connect to [default: 127.0.0.1:5439]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Address of health, status and metrics [default: 127.0.0.1:5480]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// Load the demo once: an org with the TPC-H tables, eight agents and their keys
    #[arg(long)]
    demo: bool,
    /// TPC-H scale factor of the demo [default: 0.1]
    #[arg(long, value_name = "N")]
    scale: Option<String>,
    /// Certificate chain, PEM [default: a self-signed one, made at the first start]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
}

impl Up {
    pub fn run(self) -> Result<(), Failure> {
        let given = [
            ("--policies", "policies", self.policies),
            ("--listen", "listen", self.listen),
            ("--http", "http", self.http),
            ("--demo", "demo", self.demo.then(|| "true".to_owned())),
            ("--scale", "demo_scale", self.scale),
            ("--tls-cert", "tls.cert_file", self.tls_cert),
            ("--tls-key", "tls.key_file", self.tls_key),
        ];
        let flags: Flags = given.into_iter().filter_map(|(flag, key, text)| Some((flag, key, text?))).collect();
        serve::run(self.place.read(flags)?)
    }
}
