//! Statements that concern the session, not the data: which a text is.
//!
//! Owns: telling them apart and reading their parts. Does not own: carrying them out (`session`), everything else that is
//! SQL (`query`).

use super::copy::{Copy, copy};
use super::error::{PgError, state};
use super::lex::{Lexer, Placed, Token};

/// Tokens looked at: what decides stands at the beginning.
const HEAD: usize = 4;

/// What a statement is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing.
    Empty,
    /// For the query engine.
    Run,
    /// BEGIN.
    Begin,
    /// COMMIT.
    Commit,
    /// ROLLBACK.
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO: accepted inside a transaction, with their tag.
    Savepoint(&'static str),
    /// SET of a name to a value, or to its default.
    Set(String, Option<String>),
    /// SET of what is accepted and changes nothing, such as a transaction's isolation: every statement reads as of one
    /// moment anyway.
    SetNothing,
    /// RESET; of all where there is no name.
    Reset(Option<String>),
    /// SHOW of a setting.
    Show(String),
    /// SHOW ALL.
    ShowAll,
    /// DISCARD, with its tag.
    Discard(&'static str),
    /// DEALLOCATE; of all where there is no name.
    Deallocate(Option<String>),
    /// CLOSE of a cursor; of all where there is no name.
    Close(Option<String>),
    /// DECLARE of a cursor for a query that begins at a byte.
    Declare(String, usize),
    /// FETCH so many rows, or all, from a cursor.
    Fetch(String, Option<u64>),
    /// MOVE, the same without showing them.
    Move(String, Option<u64>),
    /// UNLISTEN.
    Unlisten,
    /// COPY … TO STDOUT, or FROM STDIN.
    Copy(Box<Copy>),
}

/// What `text` is.
///
/// # Errors
/// Where it begins like one of them and does not go on so.
pub fn command(text: &str) -> Result<Command, PgError> {
    let head = Lexer::head(text, HEAD);
    let word = |i: usize| head.get(i).and_then(|placed| placed.token.word()).unwrap_or_default();
    Ok(match (word(0), word(1)) {
        ("", _) if head.is_empty() => Command::Empty,
        ("begin", _) | ("start", "transaction") => Command::Begin,
        ("commit" | "end", _) => Command::Commit,
        ("rollback", second) => {
            // ROLLBACK [WORK | TRANSACTION] TO …
            let third = word(2);
            if second == "to" || (third == "to" && matches!(second, "work" | "transaction")) {
                Command::Savepoint("ROLLBACK")
            } else {
                Command::Rollback
            }
        }
        ("abort", _) => Command::Rollback,
        ("savepoint", _) => Command::Savepoint("SAVEPOINT"),
        ("release", _) => Command::Savepoint("RELEASE"),
        ("set", _) => set(text)?,
        ("reset", "all") => Command::Reset(None),
        ("reset", "time") if word(2) == "zone" => Command::Reset(Some("TimeZone".to_owned())),
        ("reset", _) => Command::Reset(Some(setting_name(&mut rest(text, 1))?)),
        ("show", "all") => Command::ShowAll,
        // The engine's: what tables, columns and functions there are.
        ("show", "tables" | "columns" | "functions" | "create" | "databases" | "schemas") => Command::Run,
        ("show", "time") => Command::Show("TimeZone".to_owned()),
        ("show", "transaction") => Command::Show("transaction_isolation".to_owned()),
        ("show", "session") => Command::Show("session_authorization".to_owned()),
        ("show", _) => Command::Show(setting_name(&mut rest(text, 1))?),
        ("discard", "all") => Command::Discard("DISCARD ALL"),
        ("discard", "plans") => Command::Discard("DISCARD PLANS"),
        ("discard", "sequences") => Command::Discard("DISCARD SEQUENCES"),
        ("discard", "temp" | "temporary") => Command::Discard("DISCARD TEMP"),
        ("deallocate", second) => {
            let at = if second == "prepare" { 2 } else { 1 };
            Command::Deallocate(name_or_all(head.get(at))?)
        }
        ("close", _) => Command::Close(name_or_all(head.get(1))?),
        ("unlisten", _) => Command::Unlisten,
        ("declare", _) => declare(text)?,
        ("fetch", _) => {
            let (name, rows) = fetch(text)?;
            Command::Fetch(name, rows)
        }
        ("move", _) => {
            let (name, rows) = fetch(text)?;
            Command::Move(name, rows)
        }
        ("copy", _) => Command::Copy(Box::new(copy(text)?)),
        ("prepare" | "execute", _) => {
            let message =
                "PREPARE and EXECUTE are not SQL here: prepare with the extended protocol, as drivers do";
            return Err(PgError::new(state::UNSUPPORTED, message));
        }
        ("listen" | "notify", _) => {
            return Err(PgError::new(state::UNSUPPORTED, "there are no notifications"));
        }
        ("lock", _) => return Err(PgError::new(state::UNSUPPORTED, "there are no locks")),
        _ => Command::Run,
    })
}

fn rest(text: &str, skip: usize) -> impl Iterator<Item = Token> {
    Lexer::new(text).skip(skip).map(|placed| placed.token)
}

fn syntax(what: &str) -> PgError {
    PgError::new(state::SYNTAX, format!("syntax error: {what}"))
}

/// `a` or `a.b`.
fn setting_name(tokens: &mut impl Iterator<Item = Token>) -> Result<String, PgError> {
    let mut name = String::new();
    for token in tokens {
        match token {
            Token::Word(part) | Token::Name(part) if name.is_empty() || name.ends_with('.') => {
                name.push_str(&part)
            }
            Token::Mark('.') if !name.is_empty() => name.push('.'),
            _ => return Err(syntax("one name of a setting is expected")),
        }
    }
    if name.is_empty() { Err(syntax("the name of a setting is expected")) } else { Ok(name) }
}

fn name_or_all(token: Option<&Placed>) -> Result<Option<String>, PgError> {
    match token.map(|placed| &placed.token) {
        Some(Token::Word(word)) if word == "all" => Ok(None),
        Some(Token::Word(name) | Token::Name(name)) => Ok(Some(name.clone())),
        _ => Err(syntax("a name or ALL is expected")),
    }
}

/// `SET [SESSION | LOCAL] name {TO | =} value, …`, `SET TIME ZONE value`, and forms that change nothing here.
fn set(text: &str) -> Result<Command, PgError> {
    let mut tokens = rest(text, 1).peekable();
    let mut local = false;
    if tokens.peek().and_then(Token::word).is_some_and(|w| matches!(w, "session" | "local")) {
        local = tokens.next().as_ref().and_then(Token::word) == Some("local");
    }
    let first = tokens.next();
    match first.as_ref().and_then(Token::word) {
        // SET TRANSACTION …, SET SESSION CHARACTERISTICS AS TRANSACTION …
        Some("transaction" | "characteristics") => return Ok(Command::SetNothing),
        Some("constraints") => return Ok(Command::SetNothing),
        Some("authorization" | "role") => {
            return Err(PgError::new(state::UNSUPPORTED, "a session keeps the account it began with"));
        }
        Some("time") => {
            if tokens.next().as_ref().and_then(Token::word) != Some("zone") {
                return Err(syntax("SET TIME ZONE is expected"));
            }
            return Ok(Command::Set("TimeZone".to_owned(), value(&mut tokens)?));
        }
        Some("names") => return Ok(Command::Set("client_encoding".to_owned(), value(&mut tokens)?)),
        _ => {}
    }
    let mut name = match first {
        Some(Token::Word(name) | Token::Name(name)) => name,
        _ => return Err(syntax("SET needs the name of a setting")),
    };
    while tokens.next_if_eq(&Token::Mark('.')).is_some() {
        let part = tokens.next().ok_or_else(|| syntax("SET needs the name of a setting"))?;
        name = format!("{name}.{}", part.named().unwrap_or_default());
    }
    match tokens.next() {
        Some(Token::Mark('=')) => {}
        Some(Token::Word(to)) if to == "to" => {}
        _ => return Err(syntax("SET name = value is expected")),
    }
    // It would have to end with the transaction, and no setting here is worth that.
    if local && name.eq_ignore_ascii_case("statement_timeout") {
        let message = "SET LOCAL is not served for statement_timeout: use SET, and RESET afterwards";
        return Err(PgError::new(state::UNSUPPORTED, message));
    }
    Ok(Command::Set(name, value(&mut tokens)?))
}

/// A value, or several with commas between them; `None` for DEFAULT.
fn value(tokens: &mut impl Iterator<Item = Token>) -> Result<Option<String>, PgError> {
    let mut parts: Vec<String> = Vec::new();
    let mut sign = "";
    let mut expected = true;
    for token in tokens {
        match token {
            Token::Mark('-') if expected => sign = "-",
            Token::Mark('+') if expected => sign = "+",
            Token::Mark(',') if !expected => expected = true,
            Token::Word(text) | Token::Name(text) | Token::Text(text) if expected => {
                parts.push(format!("{sign}{text}"));
                sign = "";
                expected = false;
            }
            _ => return Err(syntax("a value is expected")),
        }
    }
    if expected {
        return Err(syntax("a value is expected"));
    }
    let value = parts.join(", ");
    Ok((value != "default").then_some(value))
}

/// `DECLARE name [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR query`
fn declare(text: &str) -> Result<Command, PgError> {
    let mut tokens = Lexer::new(text).skip(1);
    let name = match tokens.next().map(|placed| placed.token) {
        Some(Token::Word(name) | Token::Name(name)) => name,
        _ => return Err(syntax("DECLARE needs a name")),
    };
    let mut before = String::new();
    for placed in tokens.by_ref() {
        match placed.token.word() {
            Some("for") => {
                let query = tokens.next().ok_or_else(|| syntax("DECLARE needs a query after FOR"))?;
                return Ok(Command::Declare(name, query.at));
            }
            Some("scroll") if before != "no" => {
                return Err(PgError::new(state::UNSUPPORTED, "cursors go forward only: NO SCROLL"));
            }
            Some("binary") => return Err(PgError::new(state::UNSUPPORTED, "BINARY cursors are not served")),
            Some(
                word @ ("insensitive" | "asensitive" | "no" | "scroll" | "cursor" | "with" | "without"
                | "hold"),
            ) => {
                before = word.to_owned();
            }
            _ => break,
        }
    }
    Err(syntax("DECLARE name CURSOR FOR query is expected"))
}

/// `FETCH [NEXT | FORWARD [n | ALL] | n | ALL] [FROM | IN] name`
fn fetch(text: &str) -> Result<(String, Option<u64>), PgError> {
    let mut rows = Some(1);
    let mut name = None;
    for token in rest(text, 1) {
        match &token {
            Token::Word(word) if name.is_none() => match word.as_str() {
                "next" | "forward" | "from" | "in" => {}
                "all" => rows = None,
                "prior" | "first" | "last" | "absolute" | "relative" | "backward" => {
                    return Err(PgError::new(state::UNSUPPORTED, "cursors go forward only"));
                }
                word => match word.parse::<u64>() {
                    Ok(n) => rows = Some(n),
                    Err(_) => name = Some(word.to_owned()),
                },
            },
            Token::Name(quoted) if name.is_none() => name = Some(quoted.clone()),
            _ => return Err(syntax("FETCH n FROM cursor is expected")),
        }
    }
    Ok((name.ok_or_else(|| syntax("FETCH needs the name of a cursor"))?, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_the_session_are_told_from_queries() {
        let set = |name: &str, value: &str| Command::Set(name.to_owned(), Some(value.to_owned()));
        for (text, expected) in [
            ("", Command::Empty),
            (" -- nothing", Command::Empty),
            ("select 1", Command::Run),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", Command::Begin),
            ("start transaction", Command::Begin),
            ("/* x */ commit", Command::Commit),
            ("END", Command::Commit),
            ("rollback to savepoint a", Command::Savepoint("ROLLBACK")),
            ("rollback work", Command::Rollback),
            ("set TIME ZONE 'Europe/Berlin'", set("TimeZone", "Europe/Berlin")),
            ("set time zone -3", set("TimeZone", "-3")),
            ("set session datestyle to iso, mdy", set("datestyle", "iso, mdy")),
            ("set extra_float_digits = 3", set("extra_float_digits", "3")),
            ("SET application_name TO DEFAULT", Command::Set("application_name".to_owned(), None)),
            ("set my.own = 'A B'", set("my.own", "A B")),
            ("set session characteristics as transaction read only", Command::SetNothing),
            ("set transaction isolation level read committed", Command::SetNothing),
            ("show timezone", Command::Show("timezone".to_owned())),
            ("show transaction isolation level", Command::Show("transaction_isolation".to_owned())),
            ("show tables", Command::Run),
            ("discard all", Command::Discard("DISCARD ALL")),
            ("deallocate all", Command::Deallocate(None)),
            ("DEALLOCATE PREPARE \"_pg3_0\"", Command::Deallocate(Some("_pg3_0".to_owned()))),
            ("close all", Command::Close(None)),
            (
                "DECLARE \"c\" NO SCROLL CURSOR WITHOUT HOLD FOR select 1",
                Command::Declare("c".to_owned(), 46),
            ),
            ("FETCH FORWARD 100 FROM \"c\"", Command::Fetch("c".to_owned(), Some(100))),
            ("fetch all in c", Command::Fetch("c".to_owned(), None)),
            ("fetch c", Command::Fetch("c".to_owned(), Some(1))),
        ] {
            assert_eq!(command(text), Ok(expected), "{text}");
        }
        for text in
            ["set", "set x", "set x =", "set x = ,", "show", "deallocate", "fetch", "declare c", "listen x"]
        {
            assert!(command(text).is_err(), "{text}");
        }
    }
}
