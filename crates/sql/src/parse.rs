use std::sync::Arc;

use sqlparser::{
    ast::Statement as Tree,
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError},
};
use weir_model::{Code, Refusal, Result};

use crate::{glance, limits, statement::Statement};

/// Parses what a client sent, once: PostgreSQL's dialect, statements split at top-level semicolons, empty ones
/// dropped. Each statement keeps its own slice of the text.
///
/// # Errors
/// `syntax_error` with a position, `unsupported`, `statement_too_complex`, `program_limit_exceeded`,
/// `invalid_byte_sequence` for a NUL character.
pub fn parse(text: &str) -> Result<Vec<Statement>> {
    if text.contains('\0') {
        return Err(Refusal::new(Code::InvalidByteSequence, "statement holds a NUL character"));
    }
    glance::check(text)?;
    let positions = Positions::new(text);
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .tokenize_with_location()
        .map_err(|error| token_error(&error, &positions))?;
    let tokens = split_signs(tokens);
    let mut statements = Vec::new();
    for run in tokens.split(|token| token.token == Token::SemiColon) {
        let mut words = run.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let (Some(first), Some(last)) = (words.clone().next(), words.next_back()) else { continue };
        limits::check_shape(run)?;
        let slice = positions.slice(first.span.start, last.span.end);
        statements.push(parse_one(slice.into(), run, first, &positions)?);
    }
    Ok(statements)
}

/// `a>-5`: an operator ends in + or - only if it has one of `~!@#%^&|`?`, as PostgreSQL's lexer rules; the tokenizer
/// takes it as one operator of its own.
fn split_signs(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut split = Vec::with_capacity(tokens.len());
    for token in tokens {
        let Token::CustomBinaryOperator(operator) = &token.token else {
            split.push(token);
            continue;
        };
        let front = match operator.strip_suffix('-') {
            Some("=") => Token::Eq,
            Some("<") => Token::Lt,
            Some(">") => Token::Gt,
            Some("<=") => Token::LtEq,
            Some(">=") => Token::GtEq,
            Some("<>") => Token::Neq,
            Some("*") => Token::Mul,
            Some("/") => Token::Div,
            Some("+") => Token::Plus,
            _ => {
                split.push(token);
                continue;
            }
        };
        split.push(TokenWithSpan::new(front, token.span));
        split.push(TokenWithSpan::new(Token::Minus, token.span));
    }
    split
}

fn parse_one(
    text: Arc<str>,
    run: &[TokenWithSpan],
    first: &TokenWithSpan,
    positions: &Positions<'_>,
) -> Result<Statement> {
    let keyword = match &first.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if keyword == Keyword::ABORT {
        let rollback = Tree::Rollback { chain: false, savepoint: None };
        return Statement::new(text, rollback, run);
    }
    let mut tokens = run.to_vec();
    if keyword == Keyword::COPY {
        // The parser wants COPY … FROM STDIN to end in a semicolon.
        tokens.push(TokenWithSpan::new(Token::SemiColon, Span::empty()));
    }
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(limits::NESTING_MAX + 16)
        .with_tokens_with_locations(tokens);
    let tree = parser.parse_statement().map_err(|error| parse_error(&error, positions))?;
    let rest = parser.next_token();
    if !matches!(rest.token, Token::EOF | Token::SemiColon) {
        let refusal =
            Refusal::new(Code::SyntaxError, format!("syntax error at or near \"{}\"", shorten(&rest.to_string())));
        return Err(positions.place(refusal, rest.span.start));
    }
    Statement::new(text, tree, run)
}

fn token_error(error: &TokenizerError, positions: &Positions<'_>) -> Refusal {
    let refusal = Refusal::new(Code::SyntaxError, format!("syntax error: {}", lower_first(&error.message)));
    positions.place(refusal, error.location)
}

/// The parser says `Expected: X, found: Y at Line: 1, Column: 2`; PostgreSQL's clients expect a position and the word.
fn parse_error(error: &ParserError, positions: &Positions<'_>) -> Refusal {
    let message = match error {
        ParserError::RecursionLimitExceeded => return limits::too_complex("nesting", limits::NESTING_MAX),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (message, location) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, read_location(place)),
        None => (message.as_str(), None),
    };
    let words = |expected: &str| shorten(expected.trim_start_matches([':', ' ']));
    let refusal = match message.strip_prefix("Expected").and_then(|rest| rest.rsplit_once(", found: ")) {
        Some((expected, "EOF")) => Refusal::new(Code::SyntaxError, "syntax error at end of input")
            .detail(format!("expected {}", words(expected))),
        Some((expected, found)) => {
            Refusal::new(Code::SyntaxError, format!("syntax error at or near \"{}\"", shorten(found)))
                .detail(format!("expected {}", words(expected)))
        }
        None => Refusal::new(Code::SyntaxError, format!("syntax error: {}", lower_first(&shorten(message)))),
    };
    match location {
        Some(location) => positions.place(refusal, location),
        None => refusal,
    }
}

fn read_location(text: &str) -> Option<Location> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? })
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(60).chain("…".chars()).collect() }
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// Lines and columns (one-based, in characters) of the text, and back to bytes.
struct Positions<'a> {
    text: &'a str,
    /// Byte and character offset of each line's start.
    lines: Vec<(usize, usize)>,
}

impl<'a> Positions<'a> {
    fn new(text: &'a str) -> Positions<'a> {
        let mut lines = vec![(0, 0)];
        for (characters, (bytes, character)) in text.char_indices().enumerate() {
            if character == '\n' {
                lines.push((bytes + 1, characters + 1));
            }
        }
        Positions { text, lines }
    }

    fn line(&self, location: Location) -> Option<(usize, usize)> {
        let index = usize::try_from(location.line).ok()?.checked_sub(1)?;
        self.lines.get(index).copied()
    }

    fn byte(&self, location: Location) -> Option<usize> {
        let (start, _) = self.line(location)?;
        let columns = usize::try_from(location.column).ok()?.checked_sub(1)?;
        let line = self.text.get(start..)?;
        Some(line.char_indices().nth(columns).map_or(self.text.len(), |(offset, _)| start + offset))
    }

    fn slice(&self, from: Location, to: Location) -> &'a str {
        let ends = self.byte(from).zip(self.byte(to));
        ends.and_then(|(from, to)| self.text.get(from..to)).unwrap_or(self.text).trim()
    }

    /// Adds the one-based character position that ErrorResponse carries.
    fn place(&self, refusal: Refusal, location: Location) -> Refusal {
        let position = self.line(location).zip(usize::try_from(location.column).ok());
        match position.and_then(|((_, characters), column)| u32::try_from(characters + column).ok()) {
            Some(position) if location.column > 0 => refusal.at(position),
            _ => refusal,
        }
    }
}

#[cfg(test)]
mod tests;
