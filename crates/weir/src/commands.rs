//! The command line: one file for each command.

mod audit;
mod completions;
mod config;
mod facts;
mod keys;
mod policy;
mod table;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{Config, Flags, Layers},
    failure::Failure,
};

/// Gives AI agents and services governed SQL over your own data.
#[derive(Debug, Parser)]
#[command(name = "weir", version = env!("WEIR_VERSION"), propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Weir in local mode: every part in one process, no network needed
    Up(up::Up),
    /// Issue, list and revoke API keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Check and test policy directories
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Verify and export the audit journal
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Read, write and watch facts, and issue tokens for them
    #[command(subcommand)]
    Facts(facts::Facts),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

/// Where the configuration and the data are.
#[derive(Debug, Clone, Default, Args)]
struct Place {
    /// Configuration file [default: weir.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data folder [default: data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    fn layers(&self, mut flags: Flags) -> Result<Layers, Failure> {
        flags.extend(self.data.as_ref().map(|data| ("--data", "data", data.display().to_string())));
        // A variable that is not UTF-8 is none of ours.
        let environment =
            std::env::vars_os().filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        Ok(Layers::gather(self.config.as_deref(), environment, flags)?)
    }

    fn read(&self, flags: Flags) -> Result<Config, Failure> {
        Ok(Config::read(&self.layers(flags)?)?)
    }
}

/// Runs what the command line says. Exit codes: 0 done, 1 failed, 2 not understood.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // Nothing is left to do where stderr is closed.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match cli.command {
        Command::Up(up) => up.run(),
        Command::Keys(keys) => keys.run(),
        Command::Policy(policy) => policy.run(),
        Command::Audit(audit) => audit.run(),
        Command::Facts(facts) => facts.run(),
        Command::Config(config) => config.run(),
        Command::Completions(completions) => completions.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
