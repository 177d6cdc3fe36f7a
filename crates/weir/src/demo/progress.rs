use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;

/// A bar on a terminal; a line for each table elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// # Errors
    /// Never: the template is constant.
    pub fn start(rows: u64) -> Result<Progress, Failure> {
        if !std::io::stderr().is_terminal() {
            return Ok(Progress { bar: None });
        }
        let template = "Loading {msg:9} [{bar:32}] {human_pos}/{human_len} rows, {per_sec}, {eta} left";
        let bar = ProgressBar::new(rows).with_style(ProgressStyle::with_template(template)?.progress_chars("=> "));
        Ok(Progress { bar: Some(bar) })
    }

    pub fn table(&self, name: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(name);
        }
    }

    pub fn rows(&self, rows: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(rows);
        }
    }

    pub fn loaded(&self, name: &str, rows: u64) {
        if self.bar.is_none() {
            eprintln!("Loaded {name}: {rows} rows");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
