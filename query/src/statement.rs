//! Text → one statement that only reads.
//!
//! Owns: the parse, the list of statements allowed, limits on length and nesting. Does not own: names and types
//! (planning resolves them), answers.
//!
//! Two guards stand before the planner. *What*: only statements that read the tables of the catalog; nothing here can
//! name a file, change a table or a setting. *How deep*: a chain of operators becomes a tree as deep as the chain is
//! long, and code that walks, copies or drops such a tree recurses; so chains are counted on the tokens, before any
//! tree exists. Parentheses are bounded by the parser itself.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, SetExpr, Visit, Visitor};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, ErrorKind};
use crate::pg::rewrite::rewrite;

/// Bytes of one statement: an IN list of 30,000 asset ids fits; megabytes of text would only cost planning time.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// Operators in one chain, over all levels of nesting: planned on [`crate::engine`]'s large stack, run and dropped on
/// an ordinary one. Longer lists of alternatives belong into an IN list, which has no depth.
pub const CHAIN_OPERATORS_MAX: usize = 500;

/// UNION, EXCEPT, INTERSECT, JOIN, further tables after FROM and queries named by WITH, in one statement; each may nest
/// the plan by one.
pub const COMBINED_QUERIES_MAX: usize = 100;

/// Tables in one statement once every query named by WITH is put in where its name stands, as planning does: thirty
/// names that each use the one before twice would be a billion.
pub const EXPANDED_TABLES_MAX: u64 = 1_000;

/// Checks the length of `text` and how deep its operators will nest; returns that and its tokens, none where it has
/// some that are not understood. To be asked before [`parse`].
///
/// # Errors
/// Limit where the text is too long or too deep.
pub(crate) fn depth(text: &str) -> Result<(usize, Vec<Token>), Error> {
    if text.len() > STATEMENT_BYTES_MAX {
        let message = format!("the statement has {} bytes, more than {STATEMENT_BYTES_MAX}", text.len());
        return Err(Error::new(ErrorKind::Limit, message));
    }
    // The parser will tell what is wrong, with the place.
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap_or_default();
    Ok((check_depth(&tokens)?, tokens))
}

/// Parses `text`, whose [`depth`] is known to be bearable, and lets only reading statements pass; `user` is who asks.
///
/// # Errors
/// Input, with the place where the parser knows it.
pub(crate) fn parse(state: &SessionState, text: &str, user: Option<&str>) -> Result<Statement, Error> {
    let mut statement = parse_any(state, text)?;
    check_reads_only(&statement)?;
    check_expansion(&statement)?;
    rewrite(&mut statement, text, user);
    Ok(statement)
}

/// A query within a statement that changes something: an INSERT's source.
///
/// # Errors
/// Input where it does not only read, Limit where it is too large.
pub(crate) fn check_source(query: &ast::Query) -> Result<(), Error> {
    check_query(query)?;
    check_named(query)
}

/// Parses `text`, whose [`depth`] is known to be bearable, whatever it does.
///
/// # Errors
/// Input, with the place where the parser knows it.
pub(crate) fn parse_any(state: &SessionState, text: &str) -> Result<Statement, Error> {
    let dialect = state.config_options().sql_parser.dialect;
    state.sql_to_statement(text, &dialect).map_err(|e| match Error::from(e) {
        e if e.message().starts_with("no SQL statements") => {
            Error::new(ErrorKind::Input, "there is no statement")
        }
        e if e.message().contains("single SQL statement") => {
            Error::new(ErrorKind::Input, "one statement at a time, please: there are several")
        }
        e => e,
    })
}

/// Bounds what named queries grow to. Scopes are not told apart: queries of one name count as if each use meant all.
fn check_expansion(statement: &Statement) -> Result<(), Error> {
    let mut sql = statement;
    while let Statement::Explain(explain) = sql {
        sql = &explain.statement;
    }
    let Statement::Statement(sql) = sql else { return Ok(()) };
    let ast::Statement::Query(query) = &**sql else { return Ok(()) };
    check_named(query)
}

fn check_named(query: &ast::Query) -> Result<(), Error> {
    let mut named = Named::default();
    if query.visit(&mut named).is_break() || named.0.is_empty() {
        return Ok(());
    }
    let mut sizes = HashMap::new();
    let tables =
        tables_of(query).iter().map(|t| size_of(t, &named.0, &mut sizes)).fold(0, u64::saturating_add);
    if tables > EXPANDED_TABLES_MAX {
        let message = format!("the queries named by WITH grow to more than {EXPANDED_TABLES_MAX} tables");
        return Err(Error::new(ErrorKind::Limit, message));
    }
    Ok(())
}

/// The tables that each query named by WITH uses, anywhere in it; names in lower case.
#[derive(Default)]
struct Named(HashMap<String, Vec<String>>);

impl Visitor for Named {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        for named in query.with.iter().flat_map(|with| &with.cte_tables) {
            let tables = tables_of(&named.query);
            self.0.entry(named.alias.name.value.to_lowercase()).or_default().extend(tables);
        }
        ControlFlow::Continue(())
    }
}

/// The tables named in the body of `query`: what its WITH defines counts only where it is used.
fn tables_of(query: &ast::Query) -> Vec<String> {
    let mut tables = Vec::new();
    let _ = ast::visit_relations(&query.body, |name| {
        if let [ast::ObjectNamePart::Identifier(name)] = &name.0[..] {
            tables.push(name.value.to_lowercase());
        }
        ControlFlow::<()>::Continue(())
    });
    tables
}

/// How many tables `name` stands for. A recursive query finds itself in `sizes` as one.
fn size_of(name: &str, named: &HashMap<String, Vec<String>>, sizes: &mut HashMap<String, u64>) -> u64 {
    let Some(tables) = named.get(name) else { return 1 };
    if let Some(&known) = sizes.get(name) {
        return known;
    }
    sizes.insert(name.to_owned(), 1);
    let size = tables.iter().map(|t| size_of(t, named, sizes)).fold(1, u64::saturating_add);
    sizes.insert(name.to_owned(), size);
    size
}

/// Refuses what is not on the list, by its leading words.
fn check_reads_only(statement: &Statement) -> Result<(), Error> {
    // EXPLAIN may wrap EXPLAIN; a loop, because the input decides how often.
    let mut statement = statement;
    let sql = loop {
        match statement {
            Statement::Explain(explain) => statement = &explain.statement,
            Statement::Statement(sql) => break sql,
            Statement::CreateExternalTable(_) => return Err(refused("CREATE EXTERNAL TABLE")),
            Statement::CopyTo(_) => return Err(refused("COPY")),
            Statement::Reset(_) => return Err(refused("RESET")),
        }
    };
    let mut sql = &**sql;
    loop {
        use ast::Statement::*;
        match sql {
            Explain { statement, .. } => sql = statement,
            Query(query) => return check_query(query),
            ExplainTable { .. }
            | ShowTables { .. }
            | ShowColumns { .. }
            | ShowVariable { .. }
            | ShowFunctions { .. }
            | ShowCreate { .. } => return Ok(()),
            other => {
                let text = other.to_string();
                let words: Vec<&str> = text.split_whitespace().take(2).collect();
                return Err(refused(&words.join(" ")));
            }
        }
    }
}

/// A query's body may be an INSERT or another change where its head is a WITH.
fn check_query(query: &ast::Query) -> Result<(), Error> {
    let mut open = vec![&*query.body];
    while let Some(body) = open.pop() {
        match body {
            SetExpr::Select(select) if select.into.is_some() => return Err(refused("SELECT INTO")),
            SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => {}
            SetExpr::Query(query) => open.push(&query.body),
            SetExpr::SetOperation { left, right, .. } => open.extend([&**left, &**right]),
            SetExpr::Insert(_) => return Err(refused("INSERT")),
            SetExpr::Update(_) => return Err(refused("UPDATE")),
            SetExpr::Delete(_) => return Err(refused("DELETE")),
            SetExpr::Merge(_) => return Err(refused("MERGE")),
        }
    }
    Ok(())
}

fn refused(what: &str) -> Error {
    let message = format!(
        "{what} is not allowed here: SQL reads (SELECT, EXPLAIN, SHOW, DESCRIBE) and writes by INSERT, DELETE, \
         CREATE TABLE and ALTER TABLE"
    );
    Error::new(ErrorKind::Input, message)
}

/// Counts operators that will nest. A list item starts a chain of its own; a parenthesis or CASE opens one on top of
/// the chain it stands in.
fn check_depth(tokens: &[Token]) -> Result<usize, Error> {
    let mut deepest = 0;
    let mut levels = vec![Level::default()];
    let mut sum = 0_usize;
    let mut combined = 0_usize;
    let mut before = Keyword::NoKeyword;
    for token in tokens {
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        let keyword = if let Token::Word(word) = token { word.keyword } else { Keyword::NoKeyword };
        let role = role_of(token);
        match role {
            TokenRole::Leaf => {}
            TokenRole::Open => {
                // WITH a AS (…)
                combined += usize::from(before == Keyword::AS);
                levels.push(Level::default());
            }
            TokenRole::Close if levels.len() > 1 => sum -= levels.pop().map_or(0, |level| level.operators),
            TokenRole::Close => {}
            TokenRole::Combine => combined += 1,
            TokenRole::Item | TokenRole::Operator => {}
        }
        if let Some(level) = levels.last_mut() {
            match role {
                TokenRole::Item => {
                    sum -= std::mem::take(&mut level.operators);
                    combined += usize::from(level.in_from);
                }
                TokenRole::Operator => {
                    sum += 1;
                    level.operators += 1;
                }
                _ => {}
            }
            level.enter(before, keyword);
        }
        before = keyword;
        deepest = deepest.max(sum + levels.len() + combined);
        if sum > CHAIN_OPERATORS_MAX {
            let message = format!(
                "more than {CHAIN_OPERATORS_MAX} operators in one expression; for long alternatives use IN (…)"
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if combined > COMBINED_QUERIES_MAX {
            let message = format!("more than {COMBINED_QUERIES_MAX} joined, united or named queries");
            return Err(Error::new(ErrorKind::Limit, message));
        }
    }
    Ok(deepest)
}

/// What is open at one level of parentheses.
#[derive(Default)]
struct Level {
    /// Operators since the last item began.
    operators: usize,
    /// Whether a comma brings another table.
    in_from: bool,
}

impl Level {
    fn enter(&mut self, before: Keyword, keyword: Keyword) {
        match keyword {
            // `IS DISTINCT FROM` is an operator.
            Keyword::FROM => self.in_from = before != Keyword::DISTINCT || self.in_from,
            Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::WINDOW
            | Keyword::SELECT => self.in_from = false,
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
enum TokenRole {
    Leaf,
    Open,
    Close,
    Item,
    Combine,
    Operator,
}

fn role_of(token: &Token) -> TokenRole {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => TokenRole::Open,
        Token::RParen | Token::RBracket | Token::RBrace => TokenRole::Close,
        Token::Comma => TokenRole::Item,
        Token::Word(word) => match word.keyword {
            Keyword::CASE => TokenRole::Open,
            Keyword::END => TokenRole::Close,
            Keyword::WHEN | Keyword::THEN | Keyword::ELSE => TokenRole::Item,
            Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => TokenRole::Combine,
            Keyword::AND
            | Keyword::OR
            | Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::RLIKE
            | Keyword::REGEXP
            | Keyword::DIV
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::EXPLAIN
            | Keyword::DESCRIBE
            | Keyword::DESC
            | Keyword::INTERVAL
            | Keyword::PRIOR => TokenRole::Operator,
            _ => TokenRole::Leaf,
        },
        Token::EOF
        | Token::Number(..)
        | Token::Whitespace(_)
        | Token::Period
        | Token::SemiColon
        | Token::Placeholder(_)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_) => TokenRole::Leaf,
        _ => TokenRole::Operator,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth_ok(text: &str) -> bool {
        depth(text).is_ok()
    }

    #[test]
    fn chains_are_counted_and_lists_are_not() {
        let ors = |n: usize| format!("SELECT 1 WHERE {}", vec!["a"; n + 1].join(" OR "));
        assert!(depth_ok(&ors(CHAIN_OPERATORS_MAX)));
        assert!(!depth_ok(&ors(CHAIN_OPERATORS_MAX + 1)));
        let list = vec!["'a'"; 10_000].join(", ");
        assert!(depth_ok(&format!("SELECT * FROM t WHERE a IN ({list})")));
        let sums = vec!["a + b"; 10_000].join(", ");
        assert!(depth_ok(&format!("SELECT {sums} FROM t")));
        let whens = "WHEN a = 1 THEN b + 1 ".repeat(10_000);
        assert!(depth_ok(&format!("SELECT CASE {whens} ELSE 0 END")));
    }

    #[test]
    fn nesting_adds_up() {
        let half = vec!["a"; CHAIN_OPERATORS_MAX / 2 + 2].join(" + ");
        assert!(depth_ok(&format!("SELECT {half}, {half}")));
        assert!(!depth_ok(&format!("SELECT {half} + ({half})")));
        for unary in ["NOT ", "- ", "+ ", "~ "] {
            assert!(!depth_ok(&format!("SELECT {}1", unary.repeat(CHAIN_OPERATORS_MAX + 1))), "{unary}");
        }
        assert!(!depth_ok(&format!("SELECT 1{}", "::int".repeat(CHAIN_OPERATORS_MAX + 1))));
        assert!(!depth_ok(&format!("SELECT 1{}", " IS NULL".repeat(CHAIN_OPERATORS_MAX + 1))));
        assert!(!depth_ok(&"EXPLAIN ".repeat(CHAIN_OPERATORS_MAX + 1)));
        assert!(!depth_ok(&vec!["SELECT 1, 2"; COMBINED_QUERIES_MAX + 2].join(" UNION ALL ")));
    }

    #[test]
    fn tables_and_named_queries_are_counted_and_columns_are_not() {
        let tables = |n: usize| format!("SELECT a, b FROM {} WHERE a IN (1, 2)", vec!["t"; n].join(", "));
        assert!(depth_ok(&tables(COMBINED_QUERIES_MAX)));
        assert!(!depth_ok(&tables(COMBINED_QUERIES_MAX + 2)));
        let named = |n: usize| {
            let named: Vec<String> = (0..n).map(|i| format!("q{} AS (SELECT * FROM q{i})", i + 1)).collect();
            format!("WITH {} SELECT * FROM q{n}", named.join(", "))
        };
        assert!(depth_ok(&named(COMBINED_QUERIES_MAX)));
        assert!(!depth_ok(&named(COMBINED_QUERIES_MAX + 1)));
        let columns = vec!["a IS DISTINCT FROM b"; 1_000].join(", ");
        assert!(depth_ok(&format!("SELECT {columns} FROM t ORDER BY {}", vec!["a"; 1_000].join(", "))));
    }

    #[test]
    fn unbalanced_text_is_left_to_the_parser() {
        for text in [")))", "END END", "(((", "'", ""] {
            assert!(depth_ok(text), "{text}");
        }
    }
}
