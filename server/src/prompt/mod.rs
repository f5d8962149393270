//! `wattline sql`: a prompt, one statement, or a script from standard input.
//!
//! Owns: the line editor, its commands, history. Does not own: SQL (the server has it).
//!
//! Reading order: this file → [`session`] → [`helper`], [`mod@split`].

pub mod helper;
pub mod session;
pub mod split;

use std::io::{IsTerminal as _, Read as _, stdin};
use std::path::PathBuf;
use std::time::Instant;

use rustyline::config::Builder;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{CompletionType, Editor};

use self::helper::PromptHelper;
use self::session::{Format, Session};
use self::split::split;
use crate::client::connection::{Client, ServerArgs};
use crate::client::output::print;
use crate::error::{Error, ErrorKind, Result};

/// Lines of history kept.
const HISTORY_MAX: usize = 10_000;

/// Bytes of a script: thousands of statements; more is a job for `wattline import`.
const SCRIPT_BYTES_MAX: u64 = 64 << 20;

const HELP: &str = "\
Statements end with a semicolon. Tab completes, Ctrl-C stops a statement, Ctrl-D leaves.
  \\d              tables
  \\d TABLE        columns of a table (latest.TABLE, system.shards too)
  \\l              models
  \\x              rows one below the other, on and off
  \\timing         number of rows and time, on and off
  \\format FORMAT  table, csv, json or ndjson
  \\?              this help
  \\q              leave
";

const TABLES: &str = "SELECT table_schema AS \"schema\", table_name AS \"table\" FROM information_schema.tables \
                      WHERE table_schema <> 'information_schema' ORDER BY 1, 2";

const COLUMNS: &str = "SELECT column_name AS \"column\", data_type AS \"type\" FROM information_schema.columns \
                       WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position";

const NAMES: &str = "SELECT DISTINCT column_name FROM information_schema.columns \
                     WHERE table_schema <> 'information_schema' UNION ALL \
                     SELECT CASE WHEN table_schema = 'public' THEN table_name \
                     ELSE table_schema || '.' || table_name END FROM information_schema.tables";

/// SQL against a running server.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Run these statements and leave
    #[arg(long, short, value_name = "SQL")]
    command: Option<String>,
    /// How answers are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Leave out the line with the number of rows and the time
    #[arg(long)]
    no_timing: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
///
/// # Errors
/// The first statement that fails, unless at a prompt.
pub fn run(args: &Args) -> Result<()> {
    let client = Client::new(&args.server)?;
    let mut session = Session { client, format: args.format, timing: !args.no_timing, expanded: false };
    if let Some(text) = &args.command {
        return script(&mut session, text);
    }
    if !stdin().is_terminal() {
        let mut text = String::new();
        let read = stdin().lock().take(SCRIPT_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|e| Error::failed(format!("standard input: {e}")))?;
        if text.len() as u64 > SCRIPT_BYTES_MAX {
            return Err(Error::failed(format!("standard input: more than {} MiB", SCRIPT_BYTES_MAX >> 20)));
        }
        return script(&mut session, &text);
    }
    interactive(&mut session, &args.server.server)
}

fn script(session: &mut Session, text: &str) -> Result<()> {
    if text.trim_start().starts_with('\\') {
        return command(session, text.trim()).map(drop);
    }
    let parts = split(text);
    for statement in parts.whole.iter().copied().chain(parts.rest) {
        session.run(statement)?;
    }
    Ok(())
}

fn interactive(session: &mut Session, server: &str) -> Result<()> {
    let failed = |e: ReadlineError| Error::failed(format!("terminal: {e}"));
    let config = Builder::new()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_MAX)
        .map_err(failed)?
        .auto_add_history(false)
        .build();
    let mut editor: Editor<PromptHelper, DefaultHistory> = Editor::with_config(config).map_err(failed)?;
    let helper = PromptHelper::default();
    *helper.names.borrow_mut() = names(session)?;
    editor.set_helper(Some(helper));
    let history = history_file();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    print(&format!("wattline {}, {server}. \\? for help.\n", env!("CARGO_PKG_VERSION")))?;
    loop {
        let text = match editor.readline("wattline> ") {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(failed(error)),
        };
        if text.trim().is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(text.trim());
        if let Some(path) = &history {
            // History is a comfort: where it cannot be kept, the prompt works without.
            let _ = editor.append_history(path);
        }
        if !answer(session, &text)? {
            break;
        }
        if text.trim_start().starts_with("\\d")
            && let Some(helper) = editor.helper()
        {
            *helper.names.borrow_mut() = names(session).unwrap_or_default();
        }
    }
    Ok(())
}

/// Runs what was typed and prints errors; `false` to leave.
fn answer(session: &mut Session, text: &str) -> Result<bool> {
    if text.trim_start().starts_with('\\') {
        return match command(session, text.trim()) {
            Ok(stay) => Ok(stay),
            Err(error) => {
                eprintln!("error: {error}");
                Ok(true)
            }
        };
    }
    let parts = split(text);
    for statement in parts.whole.iter().copied().chain(parts.rest) {
        match session.run(statement) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                eprintln!("cancelled");
                break;
            }
            Err(error) => {
                eprintln!("error: {error}");
                break;
            }
        }
    }
    Ok(true)
}

/// Runs a command that begins with a backslash; `false` to leave.
fn command(session: &mut Session, text: &str) -> Result<bool> {
    let text = text.trim_end_matches(';');
    let (word, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match (word, argument.trim()) {
        ("\\q", _) => return Ok(false),
        ("\\?" | "\\h", _) => print(HELP)?,
        ("\\x", _) => {
            session.expanded = !session.expanded;
            print(&format!(
                "rows are shown {}\n",
                if session.expanded { "one below the other" } else { "as a table" }
            ))?;
        }
        ("\\timing", _) => {
            session.timing = !session.timing;
            print(&format!("timing is {}\n", if session.timing { "on" } else { "off" }))?;
        }
        ("\\format", name) => {
            session.format = <Format as clap::ValueEnum>::from_str(name, true)
                .map_err(|_| Error::usage("\\format wants table, csv, json or ndjson"))?;
        }
        ("\\l", _) => show(session, "SELECT * FROM models", &[])?,
        ("\\d", "") => show(session, TABLES, &[])?,
        ("\\d", name) => {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            let begin = Instant::now();
            let rows = session.query(COLUMNS, &[schema, table.trim_matches('"')])?;
            if rows.is_empty() {
                return Err(Error::failed(format!("there is no table {name}")));
            }
            session.show(&rows.map_texts(1, type_name), begin.elapsed())?;
        }
        _ => return Err(Error::usage(format!("{word} is no command; \\? lists them"))),
    }
    Ok(true)
}

/// The catalog tells types in Arrow's words; these are the ones that answers carry.
fn type_name(arrow: &str) -> String {
    match arrow {
        "Utf8" | "LargeUtf8" | "Utf8View" => "text".to_owned(),
        _ if arrow.starts_with("Timestamp") && arrow.contains('"') => "timestamptz".to_owned(),
        _ if arrow.starts_with("Timestamp") => "timestamp".to_owned(),
        other => other.to_lowercase(),
    }
}

fn show(session: &Session, statement: &str, params: &[&str]) -> Result<()> {
    let begin = Instant::now();
    session.show(&session.query(statement, params)?, begin.elapsed())
}

/// Names for completion; asking for them also finds out at once whether the server is there.
fn names(session: &Session) -> Result<Vec<String>> {
    Ok(session.query(NAMES, &[])?.texts(0).map(str::to_owned).collect())
}

/// `$WATTLINE_HISTORY`, or `wattline/history` in the folder for state; created where it is missing.
fn history_file() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = variable("WATTLINE_HISTORY").or_else(|| {
        let state = variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")))?;
        Some(state.join("wattline").join("history"))
    })?;
    std::fs::create_dir_all(path.parent()?).ok()?;
    Some(path)
}
