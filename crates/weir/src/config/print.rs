use std::fmt::Write;

use super::{
    layers::{Layers, Source},
    settings::SETTINGS,
};

/// Every setting as a `weir.toml` that would give the same values: what it is, its variable, its default, its source.
pub(crate) fn print(layers: &Layers) -> String {
    let mut out = String::from("# Flags win over WEIR_* variables, these over weir.toml, this over defaults.\n");
    for setting in SETTINGS {
        let Some(layered) = layers.get(setting.key) else { continue };
        let default = if setting.default.is_empty() { "unset" } else { setting.default };
        // Writing to a String cannot fail.
        let _ = write!(out, "\n#{}\n# {}, default {default}\n", setting.doc, setting.variable());
        let value = quoted(&layered.text);
        let _ = match (&layered.source, layered.text.is_empty()) {
            (Source::Default, true) => writeln!(out, "# {} = \"\"", setting.key),
            (Source::Default, false) => writeln!(out, "{} = {value}", setting.key),
            (source, _) => writeln!(out, "{} = {value}  # from {source}", setting.key),
        };
    }
    out
}

/// As TOML writes it: numbers and booleans bare, everything else a basic string.
fn quoted(text: &str) -> String {
    let number = text.bytes().next().is_some_and(|byte| byte.is_ascii_digit())
        && text.parse::<f64>().is_ok()
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && (text.len() == 1 || !text.starts_with('0') || text.starts_with("0."));
    if number || text == "true" || text == "false" {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
