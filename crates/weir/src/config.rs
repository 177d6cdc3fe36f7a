//! Configuration: `weir.toml` below the environment (`WEIR_*`) below flags. Unknown names are mistakes wherever they
//! stand, and every mistake is reported at once, with its place.

mod absent;
mod file;
mod kinds;
mod layers;
mod memory;
mod print;
mod settings;

pub(crate) use self::{
    kinds::{Durability, LogFormat, PeersMode, PeersStart, TlsMode},
    layers::{Flags, Layers, TOKEN_VARIABLE},
    print::print,
    settings::Config,
};

#[cfg(test)]
mod tests;
