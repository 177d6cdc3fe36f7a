use std::fmt;

use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What a statement looks like without its literals: equal for statements that differ in values only. FNV-1a, 128 bits,
/// over the tokens; stable over versions of Weir, and no secret of the text can be read from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Fingerprint {
    pub(crate) fn of(tokens: &[TokenWithSpan]) -> Fingerprint {
        let mut hash = Hash(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        for token in tokens {
            match &token.token {
                Token::Whitespace(_) | Token::SemiColon | Token::EOF => continue,
                Token::Word(word) if word.quote_style.is_none() => hash.add(&word.value.to_ascii_lowercase()),
                Token::Word(word) => {
                    hash.add("\"");
                    hash.add(&word.value);
                }
                Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::EscapedStringLiteral(_)
                | Token::NationalStringLiteral(_)
                | Token::HexStringLiteral(_)
                | Token::UnicodeStringLiteral(_)
                | Token::DollarQuotedString(_)
                | Token::Placeholder(_) => hash.add("?"),
                other => hash.add(&other.to_string()),
            }
            hash.add("\u{1f}");
        }
        Fingerprint(hash.0)
    }
}

struct Hash(u128);

impl Hash {
    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}
