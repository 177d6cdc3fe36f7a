use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An amount of credits, counted in thousandths so that sums are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credits(pub u64);

/// A text that is not an amount of credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidCredits;

impl fmt::Display for InvalidCredits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount of credits is digits with at most three decimals, such as `3.5`")
    }
}

impl std::error::Error for InvalidCredits {}

impl Credits {
    pub const ZERO: Credits = Credits(0);

    /// Whole credits; the largest amount instead of an overflow.
    #[must_use]
    pub const fn whole(credits: u64) -> Credits {
        Credits(credits.saturating_mul(1_000))
    }

    #[must_use]
    pub const fn milli(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn plus(self, other: Credits) -> Credits {
        Credits(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away, nothing below zero.
    #[must_use]
    pub const fn minus(self, other: Credits) -> Credits {
        Credits(self.0.saturating_sub(other.0))
    }

    #[must_use]
    pub const fn times(self, count: u64) -> Credits {
        Credits(self.0.saturating_mul(count))
    }
}

/// `3.5`: at least one decimal, at most three, none superfluous.
impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1_000, self.0 % 1_000);
        if thousandths % 100 == 0 {
            write!(f, "{whole}.{}", thousandths / 100)
        } else if thousandths % 10 == 0 {
            write!(f, "{whole}.{:02}", thousandths / 10)
        } else {
            write!(f, "{whole}.{thousandths:03}")
        }
    }
}

impl FromStr for Credits {
    type Err = InvalidCredits;

    fn from_str(text: &str) -> Result<Credits, InvalidCredits> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(InvalidCredits);
        }
        let whole: u64 = whole.parse().map_err(|_| InvalidCredits)?;
        let thousandths: u64 = format!("{decimals:0<3}").parse().map_err(|_| InvalidCredits)?;
        whole.checked_mul(1_000).and_then(|milli| milli.checked_add(thousandths)).map(Credits).ok_or(InvalidCredits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_and_read_back() {
        let check = |milli: u64, text: &str| {
            assert_eq!(Credits(milli).to_string(), text);
            assert_eq!(text.parse(), Ok(Credits(milli)));
        };
        check(0, "0.0");
        check(1, "0.001");
        check(50, "0.05");
        check(1_250, "1.25");
        check(3_500, "3.5");
        check(1_000_000, "1000.0");
        assert_eq!("7".parse(), Ok(Credits::whole(7)));
        for bad in ["", ".", "1.", ".5", "-1", "1.0000", "1e3", "99999999999999999999"] {
            assert_eq!(bad.parse::<Credits>(), Err(InvalidCredits), "{bad}");
        }
    }
}
