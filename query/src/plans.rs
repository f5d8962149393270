//! Plans kept for the next statement of the same shape.
//!
//! Owns: which statements are of one shape, keeping a bounded number of plans, putting values into one. Does not own:
//! what of a scan depends on values (`template`), planning (`engine`).
//!
//! Planning is most of a small statement's time. Statements of a dashboard differ in assets and times only: texts that
//! `asset_id` and `time` are compared with become parameters, and the text that is left is the shape. A plan is made
//! for a shape when it comes the second time, and serves until the registry changes. What a plan cannot serve (system
//! tables, parameters elsewhere, the clock) is planned each time as before.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use parking_lot::Mutex;
use wattline_storage::Snapshot;

use crate::aggregate::{SeriesAggregate, StretchAggregate};
use crate::columns::{ASSET_ID, TIME};
use crate::scan::ModelScan;
use crate::tables::latest::LatestScan;
use crate::template::renewed;

/// Shapes remembered: a few dashboards' worth. A plan is some tens of kilobytes.
pub(crate) const SHAPES_MAX: usize = 512;
/// Bytes of a statement whose shape is remembered; longer ones take their time anyway.
const SHAPE_BYTES_MAX: usize = 8 << 10;

/// A statement without the texts that assets and times are compared with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shaped {
    /// The statement with `$n` in their place; numbers follow those of the caller's parameters.
    pub(crate) shape: String,
    /// The caller's parameters, then those texts.
    pub(crate) values: Vec<ScalarValue>,
}

/// What is known of a shape.
enum Known {
    /// It came once.
    Seen,
    /// It cannot be kept.
    Refused,
    /// Its plan, made when the registry was of this version.
    Plan(Arc<dyn ExecutionPlan>, u64),
}

/// What to do with a statement.
pub(crate) enum Found {
    /// Run this.
    Plan(Arc<dyn ExecutionPlan>),
    /// Plan its shape, and [`keep`](Plans::keep) the plan.
    Worth,
    /// Plan it as it is.
    Nothing,
}

/// The plans.
pub(crate) struct Plans {
    shapes_max: usize,
    known: Mutex<HashMap<String, Known>>,
    reused: AtomicU64,
}

impl Plans {
    /// No plans yet; at most so many shapes are remembered.
    pub(crate) fn new(shapes_max: usize) -> Plans {
        Plans { shapes_max, known: Mutex::default(), reused: AtomicU64::new(0) }
    }

    /// What is known of a statement of this shape; a plan with its values, as of `snapshot`.
    pub(crate) fn find(&self, shaped: &Shaped, version: u64, snapshot: &Snapshot) -> Found {
        let plan = {
            let mut known = self.known.lock();
            match known.get(&shaped.shape) {
                Some(Known::Plan(plan, of)) if *of == version => Arc::clone(plan),
                Some(Known::Plan(..) | Known::Seen) => return Found::Worth,
                Some(Known::Refused) => return Found::Nothing,
                None => {
                    if known.len() >= self.shapes_max {
                        // Shapes in use are back after two statements each.
                        known.clear();
                    }
                    known.insert(shaped.shape.clone(), Known::Seen);
                    return Found::Nothing;
                }
            }
        };
        let Some(plan) = with_values(&plan, &shaped.values, snapshot) else { return Found::Nothing };
        self.reused.fetch_add(1, Ordering::Relaxed);
        Found::Plan(plan)
    }

    /// How many statements a kept plan served.
    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    /// Keeps the plan of a shape, or that there cannot be one.
    pub(crate) fn keep(&self, shape: String, plan: Option<&Arc<dyn ExecutionPlan>>, version: u64) {
        let plan = plan.filter(|plan| is_renewable(plan));
        let known = plan.map_or(Known::Refused, |plan| Known::Plan(Arc::clone(plan), version));
        self.known.lock().insert(shape, known);
    }
}

/// Whether everything that is read in `plan` can be read anew.
fn is_renewable(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let own = if let Some(latest) = plan.downcast_ref::<LatestScan>() {
        latest.is_renewable()
    } else if let Some(scan) = plan.downcast_ref::<ModelScan>() {
        scan.spec().template.is_some()
    } else if let Some(aggregate) = plan.downcast_ref::<SeriesAggregate>() {
        aggregate.spec().template.is_some()
    } else if let Some(aggregate) = plan.downcast_ref::<StretchAggregate>() {
        aggregate.spec().template.is_some()
    } else {
        !plan.children().is_empty()
    };
    own && plan.children().into_iter().all(is_renewable)
}

/// `plan` with other values; `None` where it does not fit them. Operators above what is read are made anew with it, so
/// no two statements share any state.
fn with_values(
    plan: &Arc<dyn ExecutionPlan>,
    values: &[ScalarValue],
    snapshot: &Snapshot,
) -> Option<Arc<dyn ExecutionPlan>> {
    let mut fits = true;
    let renew = |node: Arc<dyn ExecutionPlan>| {
        let renewed: Option<Arc<dyn ExecutionPlan>> = if let Some(scan) = node.downcast_ref::<ModelScan>() {
            renewed(scan.spec(), values, snapshot.clone()).map(|spec| Arc::new(scan.over(spec)) as _)
        } else if let Some(aggregate) = node.downcast_ref::<SeriesAggregate>() {
            renewed(aggregate.spec(), values, snapshot.clone())
                .map(|spec| Arc::new(aggregate.over(spec)) as _)
        } else if let Some(aggregate) = node.downcast_ref::<StretchAggregate>() {
            renewed(aggregate.spec(), values, snapshot.clone())
                .map(|spec| Arc::new(aggregate.over(spec)) as _)
        } else if let Some(latest) = node.downcast_ref::<LatestScan>() {
            latest.renewed(values).map(|latest| Arc::new(latest) as _)
        } else {
            return node.reset_state().map(Transformed::yes);
        };
        fits &= renewed.is_some();
        Ok(renewed.map_or_else(|| Transformed::no(node), Transformed::yes))
    };
    let plan = Arc::clone(plan).transform_up(renew).ok()?.data;
    fits.then_some(plan)
}

/// The shape of a statement; `None` where it is none that could be kept.
pub(crate) fn shaped(text: &str, tokens: &[Token], params: &[ScalarValue]) -> Option<Shaped> {
    let tokens: Vec<&Token> = tokens.iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
    let starts = matches!(tokens.first(), Some(Token::Word(w)) if matches!(w.keyword, Keyword::SELECT | Keyword::WITH));
    let refused = |t: &&Token| depends_on_the_moment(t) || !can_be_written(t);
    if !starts || text.len() > SHAPE_BYTES_MAX || tokens.iter().any(refused) {
        return None;
    }
    let mut shaped = Shaped { shape: String::with_capacity(text.len()), values: params.to_vec() };
    let mut i = 0;
    while let Some(token) = tokens.get(i) {
        shaped.push(token);
        i += 1;
        if !matches!(token, Token::Word(w) if w.value == ASSET_ID || w.value == TIME) {
            continue;
        }
        i += shaped.compared(&tokens[i..]);
    }
    Some(shaped)
}

/// Words whose meaning the planner takes from the clock, from chance or from who asks.
fn depends_on_the_moment(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let words = [
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "localtime",
        "localtimestamp",
        "today",
        "random",
        "rand",
        "uuid",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "pg_postmaster_start_time",
        "pg_conf_load_time",
        "current_user",
        "session_user",
        "current_role",
    ];
    words.iter().any(|w| word.value.eq_ignore_ascii_case(w))
}

/// Whether [`Shaped::push`] writes the token as it was: others are rare enough to be planned each time.
fn can_be_written(token: &Token) -> bool {
    match token {
        Token::Word(word) => !word.value.contains(['"', '`', ']']),
        Token::SingleQuotedString(text) => !text.contains(['\'', '\\']),
        Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::DoubleQuotedString(_) => false,
        _ => true,
    }
}

impl Shaped {
    fn push(&mut self, token: &Token) {
        use std::fmt::Write as _;
        if !self.shape.is_empty() {
            self.shape.push(' ');
        }
        let _ = write!(self.shape, "{token}");
    }

    fn value(&mut self, text: &str) {
        self.values.push(ScalarValue::Utf8(Some(text.to_owned())));
        self.push(&Token::Placeholder(format!("${}", self.values.len())));
    }

    /// Takes what a column is compared with, behind which `rest` follows; returns how many tokens it took.
    fn compared(&mut self, rest: &[&Token]) -> usize {
        match rest {
            [op @ (Token::Eq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq), literal, rest @ ..] => {
                let Some(text) = text_of(literal).filter(|_| ends(rest)) else { return 0 };
                self.push(op);
                self.value(text);
                2
            }
            [between, low, and, high, rest @ ..]
                if is(between, Keyword::BETWEEN) && is(and, Keyword::AND) =>
            {
                let (Some(low), Some(high)) = (text_of(low), text_of(high).filter(|_| ends(rest))) else {
                    return 0;
                };
                self.push(between);
                self.value(low);
                self.push(and);
                self.value(high);
                4
            }
            [list, Token::LParen, rest @ ..] if is(list, Keyword::IN) => {
                let Some(end) = rest.iter().position(|t| matches!(t, Token::RParen)) else { return 0 };
                let items: Option<Vec<&str>> = rest[..end]
                    .chunks(2)
                    .map(|item| match item {
                        [literal] | [literal, Token::Comma] => text_of(literal),
                        _ => None,
                    })
                    .collect();
                let Some(items) = items else { return 0 };
                self.push(list);
                self.push(&Token::LParen);
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.push(&Token::Comma);
                    }
                    self.value(item);
                }
                self.push(&Token::RParen);
                end + 3
            }
            _ => 0,
        }
    }
}

fn is(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(w) if w.keyword == keyword)
}

fn text_of(token: &Token) -> Option<&str> {
    if let Token::SingleQuotedString(text) = token { Some(text) } else { None }
}

/// Whether a comparison ends before `rest`, and no operator goes on with its right side.
fn ends(rest: &[&Token]) -> bool {
    use Keyword::{AND, GROUP, HAVING, LIMIT, OR, ORDER, UNION};
    match rest.first() {
        None | Some(Token::EOF | Token::SemiColon | Token::RParen) => true,
        Some(Token::Word(w)) => matches!(w.keyword, AND | OR | GROUP | HAVING | LIMIT | ORDER | UNION),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn shape_of(text: &str) -> Option<(String, Vec<String>)> {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize().unwrap();
        let shaped = shaped(text, &tokens, &[ScalarValue::Int64(Some(7))])?;
        let texts = shaped.values[1..].iter().map(|v| v.try_as_str().flatten().unwrap().to_owned());
        Some((shaped.shape, texts.collect()))
    }

    #[test]
    fn what_assets_and_times_are_compared_with_becomes_a_parameter() {
        let (shape, values) = shape_of(
            "SELECT a  FROM t WHERE asset_id IN ('x', 'y') AND t.time >= '2026' AND b = 'z' AND n > $1
             AND (time BETWEEN '1' AND '2')",
        )
        .unwrap();
        assert_eq!(
            shape,
            "SELECT a FROM t WHERE asset_id IN ( $2 , $3 ) AND t . time >= $4 AND b = 'z' AND n > $1 AND ( time BETWEEN $5 AND $6 )"
        );
        assert_eq!(values, ["x", "y", "2026", "1", "2"]);
    }

    #[test]
    fn a_longer_expression_and_the_clock_stay_as_they_are() {
        let same = |text: &str| assert_eq!(shape_of(text).unwrap().1, Vec::<String>::new(), "{text}");
        same("SELECT 1 FROM t WHERE time >= '2026' || x");
        same("SELECT 1 FROM t WHERE time > '2026'::timestamp");
        same("SELECT 1 FROM t WHERE asset_id IN ('a', b)");
        same("SELECT 1 FROM t WHERE asset_id IN ('a' || 'b')");
        same("SELECT 1 FROM t WHERE asset_id LIKE 'a'");
        assert_eq!(shape_of("SELECT 1 FROM t WHERE time > now()"), None);
        assert_eq!(shape_of("SELECT 'it''s' FROM t"), None);
        assert_eq!(shape_of("EXPLAIN SELECT 1"), None);
        assert_eq!(shape_of("INSERT INTO t VALUES (1)"), None);
    }
}
