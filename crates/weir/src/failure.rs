use std::{error::Error, fmt, process::ExitCode};

/// Why a command did not do what it was asked: what a person reads on stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// The command was understood and failed: exit code 1.
    pub fn new(text: impl fmt::Display) -> Failure {
        Failure { text: text.to_string(), code: 1 }
    }

    /// The command line itself is wrong: exit code 2.
    pub fn usage(text: impl fmt::Display) -> Failure {
        Failure { text: text.to_string(), code: 2 }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl fmt::Display) -> Failure {
        self.text = format!("{}\n  hint: {hint}", self.text);
        self
    }

    /// Several failures as one; none when there are none.
    pub fn all(failures: Vec<Failure>) -> Option<Failure> {
        let code = failures.iter().map(|failure| failure.code).max()?;
        let text = failures.into_iter().map(|failure| failure.text).collect::<Vec<_>>().join("\n");
        Some(Failure { text, code })
    }

    pub fn report(&self) -> ExitCode {
        for (index, line) in self.text.lines().enumerate() {
            if index == 0 || !line.starts_with(' ') {
                eprintln!("error: {line}");
            } else {
                eprintln!("{line}");
            }
        }
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::new(error)
    }
}
