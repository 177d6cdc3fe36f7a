//! Bounds that keep a hostile text from costing memory or stack before any gate has seen it.
//!
//! A parser's tree is as deep as the text makes it, and trees are walked, cloned and dropped recursively; so nesting,
//! operator chains (left-deep trees) and the number of tokens are all bounded before a tree exists.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan},
};
use weir_model::{Code, Refusal, Result};

/// Tokens in one message, white space included. A token costs some 100 bytes, its place in the tree more.
pub const TOKENS_MAX: usize = 1_000_000;
/// Depth of parentheses, subqueries and CASE.
pub const NESTING_MAX: usize = 64;
/// Operators in one chain (`a AND b AND …`): a chain of n is a tree of depth n.
pub const CHAIN_LENGTH_MAX: usize = 2_500;
/// Joins and set operations in one statement.
pub const JOINS_MAX: usize = 256;

/// Bounds nesting, chains and joins of one statement's tokens.
pub(crate) fn check_shape(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut chains = vec![0usize];
    let mut joins = 0usize;
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace => {
                chains.pop();
                if chains.is_empty() {
                    chains.push(0);
                }
            }
            Token::Comma => reset(&mut chains),
            Token::Word(word) => match word.keyword {
                Keyword::JOIN | Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT => joins += 1,
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS | Keyword::LIKE | Keyword::ILIKE => {
                    count(&mut chains);
                }
                Keyword::SELECT | Keyword::FROM | Keyword::WHERE | Keyword::WHEN | Keyword::THEN => reset(&mut chains),
                _ => {}
            },
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            Token::Whitespace(_) | Token::SemiColon | Token::EOF => {}
            _ => count(&mut chains),
        }
        if chains.len() > NESTING_MAX {
            return Err(too_complex("nesting", NESTING_MAX));
        }
        if chains.last().is_some_and(|length| *length > CHAIN_LENGTH_MAX) {
            return Err(too_complex("operators in one chain", CHAIN_LENGTH_MAX));
        }
        if joins > JOINS_MAX {
            return Err(too_complex("joins and set operations", JOINS_MAX));
        }
    }
    Ok(())
}

pub(crate) fn too_long() -> Refusal {
    Refusal::new(Code::ProgramLimitExceeded, "statement is too long")
        .detail(format!("tokens_limit={TOKENS_MAX}"))
        .hint("load many rows with COPY, or split the statement")
}

pub(crate) fn too_complex(what: &str, limit: usize) -> Refusal {
    Refusal::new(Code::StatementTooComplex, format!("statement is too complex: too much {what}"))
        .detail(format!("limit={limit}"))
        .hint("use IN (…) for long lists, or split the statement")
}

fn count(chains: &mut [usize]) {
    if let Some(length) = chains.last_mut() {
        *length += 1;
    }
}

fn reset(chains: &mut [usize]) {
    if let Some(length) = chains.last_mut() {
        *length = 0;
    }
}
