use clap::Subcommand;

use super::{Place, table};
use crate::{
    config::{self, Config},
    failure::Failure,
};

/// Show the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print every setting, its value, where that came from, and its default
    ///
    /// The output is a weir.toml. No setting holds a secret: those are files that a setting names.
    Print(Place),
}

impl ConfigCommand {
    pub fn run(self) -> Result<(), Failure> {
        let ConfigCommand::Print(place) = self;
        let layers = place.layers(Vec::new())?;
        Config::read(&layers)?;
        table::print(&config::print(&layers))
    }
}
