use sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident};
use weir_model::{Code, Refusal, Result};

use crate::names::{RawName, fold, raw_name};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
}

/// COPY's options, PostgreSQL's defaults for the format filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    /// The text that stands for NULL.
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
    /// FORCE_QUOTE columns; `*` alone means all.
    pub force_quote: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyDirection {
    /// COPY table FROM STDIN.
    In { table: RawName, columns: Vec<String> },
    /// COPY table TO STDOUT.
    OutTable { table: RawName, columns: Vec<String> },
    /// COPY (query) TO STDOUT: the query is the tree's.
    OutQuery,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStatement {
    pub direction: CopyDirection,
    pub options: CopyOptions,
}

pub(crate) fn copy(
    source: &CopySource,
    to: bool,
    target: &CopyTarget,
    options: &[CopyOption],
    legacy: &[CopyLegacyOption],
) -> Result<CopyStatement> {
    match (to, target) {
        (false, CopyTarget::Stdin) | (true, CopyTarget::Stdout) => {}
        _ => {
            return Err(Refusal::unsupported("COPY with a file or a program")
                .hint("use COPY … FROM STDIN or TO STDOUT (psql: \\copy)"));
        }
    }
    let direction = match source {
        CopySource::Table { table_name, columns } => {
            let (table, columns) = (raw_name(table_name)?, columns.iter().map(fold).collect());
            if to { CopyDirection::OutTable { table, columns } } else { CopyDirection::In { table, columns } }
        }
        CopySource::Query(_) if to => CopyDirection::OutQuery,
        CopySource::Query(_) => return Err(Refusal::new(Code::SyntaxError, "COPY FROM needs a table, not a query")),
    };
    let mut given = Given::default();
    options.iter().try_for_each(|option| given.add(option))?;
    legacy.iter().try_for_each(|option| given.add_legacy(option))?;
    Ok(CopyStatement { direction, options: given.into_options(to)? })
}

#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    delimiter: Option<char>,
    null: Option<String>,
    header: bool,
    quote: Option<char>,
    escape: Option<char>,
    force_quote: Vec<String>,
}

impl Given {
    fn add(&mut self, option: &CopyOption) -> Result<()> {
        match option {
            CopyOption::Format(name) => self.format = Some(format(name)?),
            CopyOption::Delimiter(character) => self.delimiter = Some(*character),
            CopyOption::Null(text) => self.null = Some(text.clone()),
            CopyOption::Header(on) => self.header = *on,
            CopyOption::Quote(character) => self.quote = Some(*character),
            CopyOption::Escape(character) => self.escape = Some(*character),
            CopyOption::ForceQuote(columns) => self.force_quote = columns.iter().map(fold).collect(),
            CopyOption::Encoding(name) if is_utf8(name) => {}
            CopyOption::Encoding(name) => {
                return Err(Refusal::unsupported(format!("encoding `{name}`")).hint("send and read UTF8"));
            }
            CopyOption::Freeze(false) => {}
            CopyOption::Freeze(true) | CopyOption::ForceNotNull(_) | CopyOption::ForceNull(_) => {
                return Err(Refusal::unsupported(format!("COPY option {option}")));
            }
        }
        Ok(())
    }

    fn add_legacy(&mut self, option: &CopyLegacyOption) -> Result<()> {
        match option {
            CopyLegacyOption::Csv(details) => {
                self.format = Some(CopyFormat::Csv);
                details.iter().try_for_each(|detail| self.add_legacy_csv(detail))?;
            }
            CopyLegacyOption::Delimiter(character) => self.delimiter = Some(*character),
            CopyLegacyOption::Null(text) => self.null = Some(text.clone()),
            CopyLegacyOption::Header => self.header = true,
            other => return Err(Refusal::unsupported(format!("COPY option {other}"))),
        }
        Ok(())
    }

    fn add_legacy_csv(&mut self, option: &CopyLegacyCsvOption) -> Result<()> {
        match option {
            CopyLegacyCsvOption::Header => self.header = true,
            CopyLegacyCsvOption::Quote(character) => self.quote = Some(*character),
            CopyLegacyCsvOption::Escape(character) => self.escape = Some(*character),
            CopyLegacyCsvOption::ForceQuote(columns) => self.force_quote = columns.iter().map(fold).collect(),
            CopyLegacyCsvOption::ForceNotNull(_) => return Err(Refusal::unsupported("COPY option FORCE NOT NULL")),
        }
        Ok(())
    }

    fn into_options(self, to: bool) -> Result<CopyOptions> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        if !csv && (self.quote.is_some() || self.escape.is_some() || !self.force_quote.is_empty()) {
            return Err(invalid("QUOTE, ESCAPE and FORCE_QUOTE are for format csv only"));
        }
        if !to && !self.force_quote.is_empty() {
            return Err(invalid("FORCE_QUOTE is for COPY TO only"));
        }
        let quote = single_byte(self.quote.unwrap_or('"'), "QUOTE")?;
        let escape = self.escape.map_or(Ok(quote), |character| single_byte(character, "ESCAPE"))?;
        let delimiter = single_byte(self.delimiter.unwrap_or(if csv { ',' } else { '\t' }), "DELIMITER")?;
        let null = self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() });
        let bad_delimiter = if csv {
            delimiter == quote
        } else {
            delimiter == b'\\' || delimiter == b'.' || delimiter.is_ascii_alphanumeric()
        };
        if bad_delimiter || matches!(delimiter, b'\n' | b'\r') {
            return Err(invalid("this delimiter cannot be told from data"));
        }
        if null.contains(['\n', '\r']) || null.bytes().any(|byte| byte == delimiter) {
            return Err(invalid("the NULL text holds a line end or the delimiter"));
        }
        Ok(CopyOptions { format, delimiter, null, header: self.header, quote, escape, force_quote: self.force_quote })
    }
}

fn format(name: &Ident) -> Result<CopyFormat> {
    match name.value.to_ascii_lowercase().as_str() {
        "text" => Ok(CopyFormat::Text),
        "csv" => Ok(CopyFormat::Csv),
        other => Err(Refusal::unsupported(format!("COPY format `{other}`")).hint("use text or csv")),
    }
}

fn is_utf8(name: &str) -> bool {
    matches!(name.to_ascii_lowercase().as_str(), "utf8" | "utf-8" | "unicode")
}

fn single_byte(character: char, option: &str) -> Result<u8> {
    u8::try_from(character)
        .ok()
        .filter(|byte| byte.is_ascii() && *byte != 0)
        .ok_or_else(|| invalid(&format!("COPY {option} must be a single one-byte character")))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidParameter, message)
}
