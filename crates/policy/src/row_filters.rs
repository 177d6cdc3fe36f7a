//! `row_filters.sql`: CREATE POLICY and ENABLE ROW LEVEL SECURITY, as PostgreSQL reads them.

use std::{collections::BTreeSet, ops::Range};

use sqlparser::{
    ast::{
        AlterTableOperation, CreatePolicy, CreatePolicyCommand, CreatePolicyType, Expr, Ident, ObjectName as SqlName,
        Owner, Statement,
    },
    dialect::PostgreSqlDialect,
    parser::{Parser, ParserError},
    tokenizer::{Span, Token, TokenWithSpan},
};
use weir_model::{ObjectName, fold_identifier};

use crate::{
    bundle::{BundleBody, Origin, RowPolicy, RowPolicyCommand},
    diagnostic::{Mistake, Place, did_you_mean},
    filter_expr::{FilterExpr, FilterMistake, TOKENS_MAX, tokenize},
    source::ROW_FILTERS_SQL,
};

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct RowFilters {
    pub tables: BTreeSet<ObjectName>,
    pub policies: Vec<RowPolicy>,
}

pub(crate) fn read(text: &str, body: &BundleBody) -> Result<RowFilters, Vec<Mistake>> {
    let tokens = tokenize(text).map_err(|error| vec![parse_mistake(&error, Place::START)])?;
    let mut reader = Reader { body, found: RowFilters::default(), mistakes: Vec::new(), at: Place::START };
    for range in statements(&tokens) {
        let Some(tokens) = tokens.get(range) else { continue };
        if let Err(mistake) = reader.statement(tokens) {
            reader.mistakes.push(mistake);
        }
    }
    if reader.mistakes.is_empty() { Ok(reader.found) } else { Err(reader.mistakes) }
}

/// The token ranges between semicolons that hold anything but blanks and comments.
fn statements(tokens: &[TokenWithSpan]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for (end, token) in tokens.iter().enumerate().chain([(tokens.len(), &TokenWithSpan::new_eof())]) {
        if !matches!(token.token, Token::SemiColon | Token::EOF) {
            continue;
        }
        let solid = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
        if tokens.get(start..end).is_some_and(|tokens| tokens.iter().any(solid)) {
            ranges.push(start..end);
        }
        start = end + 1;
    }
    ranges
}

struct Reader<'a> {
    body: &'a BundleBody,
    found: RowFilters,
    mistakes: Vec<Mistake>,
    /// Where the statement being read starts.
    at: Place,
}

impl Reader<'_> {
    fn statement(&mut self, tokens: &[TokenWithSpan]) -> Result<(), Mistake> {
        let solid = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
        self.at = tokens.iter().find(solid).map_or(Place::START, |token| place_of(token.span, Place::START));
        if tokens.len() > TOKENS_MAX {
            return Err(Mistake::at(self.at, format!("the statement has more than {TOKENS_MAX} tokens")));
        }
        let end = tokens.iter().rfind(solid).map_or(self.at, |token| Place {
            line: u32::try_from(token.span.end.line).unwrap_or(u32::MAX),
            column: u32::try_from(token.span.end.column).unwrap_or(u32::MAX),
        });
        let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens.to_vec());
        let statement = parser.parse_statement().map_err(|error| parse_mistake(&error, end))?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            let place = place_of(next.span, self.at);
            return Err(Mistake::at(place, format!("unexpected `{}`", next.token)).hint("statements end with `;`"));
        }
        match statement {
            Statement::CreatePolicy(policy) => self.policy(policy),
            Statement::AlterTable(alter) => {
                let enables = |operation: &AlterTableOperation| {
                    matches!(
                        operation,
                        AlterTableOperation::EnableRowLevelSecurity | AlterTableOperation::ForceRowLevelSecurity
                    )
                };
                if alter.operations.is_empty() || !alter.operations.iter().all(enables) {
                    let message = "only ENABLE and FORCE ROW LEVEL SECURITY are supported here";
                    return Err(Mistake::at(self.at, message));
                }
                let table = self.table(&alter.name)?;
                self.found.tables.insert(table);
                Ok(())
            }
            _ => {
                Err(Mistake::at(self.at, "only CREATE POLICY and ALTER TABLE … ENABLE ROW LEVEL SECURITY belong here"))
            }
        }
    }

    fn table(&self, name: &SqlName) -> Result<ObjectName, Mistake> {
        let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
        let folded = |ident: &Ident| fold_identifier(&ident.value, ident.quote_style.is_some());
        let (place, made) = match parts.as_deref() {
            Some([name]) => (place_of(name.span, self.at), ObjectName::new(ObjectName::DEFAULT_SCHEMA, &folded(name))),
            Some([schema, name]) => (place_of(schema.span, self.at), ObjectName::new(&folded(schema), &folded(name))),
            _ => {
                return Err(
                    Mistake::at(self.at, format!("`{name}` is not a table's name")).hint("write `schema.table`")
                );
            }
        };
        made.map_err(|invalid| Mistake::at(place, invalid.to_string()))
    }

    fn policy(&mut self, policy: CreatePolicy) -> Result<(), Mistake> {
        let table = self.table(&policy.table_name)?;
        // Even a policy that is refused below leaves the table under row security.
        self.found.tables.insert(table.clone());
        let name = fold_identifier(&policy.name.value, policy.name.quote_style.is_some());
        let named = place_of(policy.name.span, self.at);
        if let Some(other) = self.found.policies.iter().find(|other| other.table == table && *other.name == *name) {
            let line = other.origin.line;
            return Err(Mistake::at(
                named,
                format!("policy `{name}` for table {table} already exists, on line {line}"),
            ));
        }
        let command = match policy.command {
            None | Some(CreatePolicyCommand::All) => RowPolicyCommand::All,
            Some(CreatePolicyCommand::Select) => RowPolicyCommand::Select,
            Some(CreatePolicyCommand::Insert) => RowPolicyCommand::Insert,
            Some(CreatePolicyCommand::Update) => RowPolicyCommand::Update,
            Some(CreatePolicyCommand::Delete) => RowPolicyCommand::Delete,
        };
        if command == RowPolicyCommand::Insert && policy.using.is_some() {
            return Err(Mistake::at(named, "only WITH CHECK expression allowed for INSERT"));
        }
        if matches!(command, RowPolicyCommand::Select | RowPolicyCommand::Delete) && policy.with_check.is_some() {
            return Err(Mistake::at(named, "WITH CHECK cannot be applied to SELECT or DELETE"));
        }
        let roles = self.roles(policy.to.unwrap_or_default());
        let using = policy.using.and_then(|expr| self.expression(expr, &table));
        let check = policy.with_check.and_then(|expr| self.expression(expr, &table));
        self.found.policies.push(RowPolicy {
            name: name.into(),
            table,
            permissive: !matches!(policy.policy_type, Some(CreatePolicyType::Restrictive)),
            command,
            roles,
            using,
            check,
            origin: Origin { file: ROW_FILTERS_SQL.into(), line: self.at.line },
        });
        Ok(())
    }

    /// Empty for PUBLIC, which takes in everybody whatever else is named.
    fn roles(&mut self, owners: Vec<Owner>) -> Vec<String> {
        let mut roles = BTreeSet::new();
        let mut public = false;
        for owner in owners {
            let Owner::Ident(ident) = owner else {
                let message = format!("`TO {owner}` is not supported");
                self.mistakes.push(Mistake::at(self.at, message).hint("name a role, or compare with `current_user`"));
                continue;
            };
            let name = fold_identifier(&ident.value, ident.quote_style.is_some());
            if name == "public" {
                public = true;
            } else if self.body.roles.contains_key(&name) {
                roles.insert(name);
            } else {
                let hint = if self.body.agents.contains_key(&name) {
                    Some(format!("`{name}` is an agent: name one of its roles, or compare with `current_user`"))
                } else {
                    did_you_mean(&name, self.body.roles.keys().map(String::as_str))
                };
                let message = format!("role `{name}` is not declared in policy.toml");
                self.mistakes.push(Mistake::at(place_of(ident.span, self.at), message).hint_opt(hint));
            }
        }
        if public { Vec::new() } else { roles.into_iter().collect() }
    }

    /// The expression in the form that a bundle carries, which must read back as the same tree.
    fn expression(&mut self, expr: Expr, table: &ObjectName) -> Option<String> {
        match FilterExpr::check(expr, table) {
            Ok(checked) => {
                let text = checked.expr.to_string();
                if FilterExpr::parse(&text, table).is_ok_and(|again| again.expr == checked.expr) {
                    return Some(text);
                }
                let message = format!("`{text}` cannot be carried in a bundle: it does not read back as written");
                self.mistakes.push(Mistake::at(self.at, message).hint("write it in a simpler way"));
            }
            Err(mistakes) => {
                for FilterMistake { span, message, hint } in mistakes {
                    self.mistakes.push(Mistake::at(place_of(span, self.at), message).hint_opt(hint));
                }
            }
        }
        None
    }
}

fn place_of(span: Span, otherwise: Place) -> Place {
    match (u32::try_from(span.start.line), u32::try_from(span.start.column)) {
        (Ok(line), Ok(column)) if line > 0 && column > 0 => Place { line, column },
        _ => otherwise,
    }
}

/// The parser puts the place at the end of its message; at the end of the statement it has none.
fn parse_mistake(error: &ParserError, otherwise: Place) -> Mistake {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the expression is nested too deep".to_owned(),
    };
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return Mistake::at(otherwise, text) };
    let read = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let place = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Place { line: read(line)?, column: read(column)? }));
    Mistake::at(place.unwrap_or(otherwise), message)
}
