//! Filters → which assets, which time, and whether a row must have a value to matter.
//!
//! Owns: the reading of filter expressions; pure functions, no IO, no registry. Does not own: text ids → numbers and
//! the scan itself (`tables/model`, `scan`), evaluating what is left of a filter (DataFusion does).
//!
//! Every answer is a superset: a row the filter accepts is always inside. Where the answer is *exact* no row outside
//! the filter is inside either, and the filter need not run again.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use wattline_model::{TimeRange, Timestamp};

use crate::columns::{ASSET_ID, TIME};

/// Which assets a filter lets through, by text id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AssetFilter {
    /// Every asset.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// What a filter says about the rows it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// Their assets are among these.
    pub(crate) assets: AssetFilter,
    /// Their times are in this range.
    pub(crate) range: TimeRange,
    /// They have a value for at least one point the filter names.
    pub(crate) present: bool,
    /// Every row with such an asset and time is accepted.
    pub(crate) exact: bool,
}

impl Pruned {
    /// Says nothing.
    fn unknown() -> Pruned {
        Pruned { exact: false, ..Pruned::everything() }
    }

    /// Accepts every row.
    fn everything() -> Pruned {
        Pruned { assets: AssetFilter::All, range: TimeRange::ALL, present: false, exact: true }
    }

    fn of_assets(assets: BTreeSet<String>) -> Pruned {
        Pruned { assets: AssetFilter::Only(assets), ..Pruned::everything() }
    }

    fn of_range(start: i128, end: i128) -> Pruned {
        let clamp = |t: i128| Timestamp(t.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64);
        Pruned { range: TimeRange::new(clamp(start), clamp(end)), ..Pruned::everything() }
    }

    fn of_presence(present: bool) -> Pruned {
        Pruned { present, ..Pruned::unknown() }
    }

    /// Whether it says anything a scan can use.
    pub(crate) fn is_useful(&self) -> bool {
        self.exact || self.present || self.assets != AssetFilter::All || self.range != TimeRange::ALL
    }

    /// Whether no row can pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.range.is_empty() || matches!(&self.assets, AssetFilter::Only(assets) if assets.is_empty())
    }

    fn and(self, other: Pruned) -> Pruned {
        let assets = match (self.assets, other.assets) {
            (AssetFilter::All, assets) | (assets, AssetFilter::All) => assets,
            (AssetFilter::Only(a), AssetFilter::Only(b)) => {
                AssetFilter::Only(a.intersection(&b).cloned().collect())
            }
        };
        Pruned {
            assets,
            range: self.range.intersect(other.range),
            present: self.present || other.present,
            exact: self.exact && other.exact,
        }
    }

    fn or(self, other: Pruned) -> Pruned {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let same_assets = self.assets == other.assets;
        let same_range = self.range == other.range;
        let touching = self.range.start <= other.range.end && other.range.start <= self.range.end;
        let assets = match (self.assets, other.assets) {
            (AssetFilter::Only(a), AssetFilter::Only(b)) => {
                AssetFilter::Only(a.into_iter().chain(b).collect())
            }
            _ => AssetFilter::All,
        };
        let range =
            TimeRange::new(self.range.start.min(other.range.start), self.range.end.max(other.range.end));
        // The hull of two (assets × range) boxes is their union only where they differ in one direction at most.
        let exact = self.exact && other.exact && (same_range || (same_assets && touching));
        Pruned { assets, range, present: self.present && other.present, exact }
    }
}

/// What all of `filters` together say.
pub(crate) fn prune_all<'a>(filters: impl IntoIterator<Item = &'a Expr>) -> Pruned {
    filters.into_iter().map(prune).fold(Pruned::everything(), Pruned::and)
}

/// What `filter` says.
pub(crate) fn prune(filter: &Expr) -> Pruned {
    match filter {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
            let terms = chain(filter, *op);
            let parts = terms.into_iter().map(prune);
            let joined =
                if *op == Operator::And { parts.reduce(Pruned::and) } else { parts.reduce(Pruned::or) };
            joined.unwrap_or_else(Pruned::unknown)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => prune_comparison(left, *op, right),
        Expr::Between(Between { expr, negated: false, low, high }) => {
            prune_comparison(expr, Operator::GtEq, low).and(prune_comparison(expr, Operator::LtEq, high))
        }
        Expr::Between(Between { expr, .. }) => Pruned::of_presence(strict(expr)),
        Expr::InList(list) => prune_list(list),
        Expr::IsNotNull(expr) => Pruned::of_presence(strict(expr)),
        Expr::Like(like) | Expr::SimilarTo(like) => Pruned::of_presence(strict(&like.expr)),
        Expr::Not(expr) => Pruned::of_presence(strict(expr)),
        Expr::Column(_) => Pruned::of_presence(strict(filter)),
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => Pruned::everything(),
        Expr::Literal(ScalarValue::Boolean(Some(false)), _) => Pruned::of_range(0, 0),
        _ => Pruned::unknown(),
    }
}

/// The terms of a chain of `op`s, without recursion along the chain: generated statements chain thousands.
fn chain(filter: &Expr, op: Operator) -> Vec<&Expr> {
    let mut terms = Vec::new();
    let mut open = vec![filter];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryExpr(binary) if binary.op == op => open.extend([&*binary.right, &*binary.left]),
            _ => terms.push(expr),
        }
    }
    terms
}

fn prune_comparison(left: &Expr, op: Operator, right: &Expr) -> Pruned {
    let read = match (left, right) {
        (column, Expr::Literal(literal, _)) => compare(column, op, literal),
        (Expr::Literal(literal, _), column) => op.swap().and_then(|op| compare(column, op, literal)),
        _ => None,
    };
    let present = op.is_comparison_operator() && (strict(left) || strict(right));
    read.unwrap_or_else(|| Pruned::of_presence(present))
}

/// Comparisons that give null, and so refuse the row, where one side is null.
trait IsComparison {
    fn is_comparison_operator(&self) -> bool;
}

impl IsComparison for Operator {
    fn is_comparison_operator(&self) -> bool {
        use Operator::*;
        matches!(self, Eq | NotEq | Lt | LtEq | Gt | GtEq)
    }
}

fn compare(column: &Expr, op: Operator, literal: &ScalarValue) -> Option<Pruned> {
    if is_asset(column) {
        let text = text_of(literal)?;
        return (op == Operator::Eq).then(|| Pruned::of_assets(BTreeSet::from([text])));
    }
    let unit = unit_of(column)?;
    let (value, literal_unit) = instant_of(literal)?;
    // A bare column may meet a literal of any unit: an instant is an instant. A cast column is compared after
    // truncation to the cast's unit, so the literal must be in that unit.
    match column {
        Expr::Column(_) if unit != literal_unit => range_of_instant(op, value, literal_unit),
        _ if unit == literal_unit => range_in_unit(op, value, unit),
        _ => None,
    }
}

fn prune_list(list: &InList) -> Pruned {
    let unread = || Pruned::of_presence(strict(&list.expr));
    if list.negated {
        return unread();
    }
    if is_asset(&list.expr) {
        let mut assets = BTreeSet::new();
        for item in &list.list {
            match item {
                Expr::Literal(literal, _) if literal.is_null() => {}
                Expr::Literal(literal, _) => match text_of(literal) {
                    Some(text) => _ = assets.insert(text),
                    None => return unread(),
                },
                _ => return unread(),
            }
        }
        return Pruned::of_assets(assets);
    }
    let nothing = Pruned::of_range(0, 0);
    list.list.iter().map(|item| prune_comparison(&list.expr, Operator::Eq, item)).fold(nothing, Pruned::or)
}

/// Whether `expr` is `asset_id`, possibly cast between text types.
fn is_asset(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name == ASSET_ID,
        Expr::Cast(cast) => {
            use ArrowType::{LargeUtf8, Utf8, Utf8View};
            matches!(cast.field.data_type(), Utf8 | LargeUtf8 | Utf8View) && is_asset(&cast.expr)
        }
        _ => false,
    }
}

fn text_of(literal: &ScalarValue) -> Option<String> {
    literal.try_as_str().flatten().map(str::to_owned)
}

/// A unit of time: so many of the first are so many microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// 1,000 to the microsecond.
    Nanos,
    /// This many microseconds each.
    Micros(i128),
}

impl From<&TimeUnit> for Unit {
    fn from(unit: &TimeUnit) -> Unit {
        match unit {
            TimeUnit::Second => Unit::Micros(1_000_000),
            TimeUnit::Millisecond => Unit::Micros(1_000),
            TimeUnit::Microsecond => Unit::Micros(1),
            TimeUnit::Nanosecond => Unit::Nanos,
        }
    }
}

const DAY: Unit = Unit::Micros(86_400_000_000);

/// The unit in which `expr` tells the row's time, if it is `time` or a cast of it.
fn unit_of(expr: &Expr) -> Option<Unit> {
    let (inner, to) = match expr {
        Expr::Column(column) => return (column.name == TIME).then_some(Unit::Micros(1)),
        Expr::Cast(cast) => (&cast.expr, cast.field.data_type()),
        Expr::TryCast(cast) => (&cast.expr, cast.field.data_type()),
        _ => return None,
    };
    if !matches!(&**inner, Expr::Column(column) if column.name == TIME) {
        return None;
    }
    match to {
        ArrowType::Timestamp(unit, _) => Some(unit.into()),
        ArrowType::Date32 => Some(DAY),
        _ => None,
    }
}

/// The instant a literal tells. One without a zone is UTC: `time` is, and a cast between them moves nothing.
fn instant_of(literal: &ScalarValue) -> Option<(i128, Unit)> {
    let (value, unit) = match literal {
        ScalarValue::TimestampSecond(value, _) => (*value, (&TimeUnit::Second).into()),
        ScalarValue::TimestampMillisecond(value, _) => (*value, (&TimeUnit::Millisecond).into()),
        ScalarValue::TimestampMicrosecond(value, _) => (*value, (&TimeUnit::Microsecond).into()),
        ScalarValue::TimestampNanosecond(value, _) => (*value, (&TimeUnit::Nanosecond).into()),
        ScalarValue::Date32(value) => (value.map(i64::from), DAY),
        _ => return None,
    };
    Some((i128::from(value?), unit))
}

const EARLIEST: i128 = i64::MIN as i128;
const LATEST: i128 = i64::MAX as i128;

/// The times whose value in `unit`, truncated, compares with `value`. Times are never before 1970 (see the model's
/// limits), so truncation and rounding down are the same.
fn range_in_unit(op: Operator, value: i128, unit: Unit) -> Option<Pruned> {
    let Unit::Micros(micros) = unit else { return range_of_instant(op, value, unit) };
    let (first, after) = (value * micros, (value + 1) * micros);
    Some(match op {
        Operator::Eq => Pruned::of_range(first, after),
        Operator::Lt => Pruned::of_range(EARLIEST, first),
        Operator::LtEq => Pruned::of_range(EARLIEST, after),
        Operator::Gt => Pruned::of_range(after, LATEST),
        Operator::GtEq => Pruned::of_range(first, LATEST),
        _ => return None,
    })
}

/// The times that, as instants, compare with the instant `value` in `unit`.
fn range_of_instant(op: Operator, value: i128, unit: Unit) -> Option<Pruned> {
    let (floor, ceil) = match unit {
        Unit::Nanos => (value.div_euclid(1_000), -(-value).div_euclid(1_000)),
        Unit::Micros(micros) => (value * micros, value * micros),
    };
    Some(match op {
        Operator::Eq if floor == ceil => Pruned::of_range(floor, floor + 1),
        Operator::Eq => Pruned::of_range(0, 0),
        Operator::Lt => Pruned::of_range(EARLIEST, ceil),
        Operator::LtEq => Pruned::of_range(EARLIEST, floor + 1),
        Operator::Gt => Pruned::of_range(floor + 1, LATEST),
        Operator::GtEq => Pruned::of_range(ceil, LATEST),
        _ => return None,
    })
}

/// Whether `expr` is null wherever some point it names has no value.
fn strict(expr: &Expr) -> bool {
    match expr {
        Expr::Column(column) => column.name != ASSET_ID && column.name != TIME,
        Expr::Cast(cast) => strict(&cast.expr),
        Expr::Negative(expr) => strict(expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            use Operator::*;
            matches!(op, Plus | Minus | Multiply | Divide | Modulo) && (strict(left) || strict(right))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
