//! Tables of filters with the assets and times they must give, worked out by hand.

use datafusion::prelude::{cast, col, lit};

use super::*;

const ALL_START: i64 = i64::MIN;
const ALL_END: i64 = i64::MAX;

fn micros(value: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(value), Some("UTC".into())))
}

fn nanos(value: i64) -> Expr {
    lit(ScalarValue::TimestampNanosecond(Some(value), None))
}

fn nanos_of_time() -> Expr {
    cast(col("time"), ArrowType::Timestamp(TimeUnit::Nanosecond, None))
}

fn seconds_of_time() -> Expr {
    cast(col("time"), ArrowType::Timestamp(TimeUnit::Second, None))
}

fn seconds(value: i64) -> Expr {
    lit(ScalarValue::TimestampSecond(Some(value), None))
}

fn days(value: i32) -> Expr {
    lit(ScalarValue::Date32(Some(value)))
}

#[test]
fn times_become_ranges() {
    let time = || col("time");
    let day = || cast(col("time"), ArrowType::Date32);
    let table: Vec<(Expr, i64, i64, bool)> = vec![
        (time().gt_eq(micros(10)), 10, ALL_END, true),
        (time().gt(micros(10)), 11, ALL_END, true),
        (time().lt(micros(10)), ALL_START, 10, true),
        (time().lt_eq(micros(10)), ALL_START, 11, true),
        (time().eq(micros(10)), 10, 11, true),
        (micros(10).lt_eq(time()), 10, ALL_END, true),
        (micros(10).gt(time()), ALL_START, 10, true),
        (time().between(micros(10), micros(20)), 10, 21, true),
        (time().not_between(micros(10), micros(20)), ALL_START, ALL_END, false),
        (time().not_eq(micros(10)), ALL_START, ALL_END, false),
        (time().gt_eq(micros(10)).and(time().lt(micros(20))), 10, 20, true),
        // Overlapping and touching ranges unite exactly, others give their hull.
        (time().between(micros(1), micros(5)).or(time().between(micros(4), micros(9))), 1, 10, true),
        (time().between(micros(1), micros(3)).or(time().between(micros(4), micros(9))), 1, 10, true),
        (time().between(micros(1), micros(3)).or(time().between(micros(6), micros(9))), 1, 10, false),
        (time().in_list(vec![micros(5), micros(3)], false), 3, 6, false),
        (time().in_list(vec![micros(5)], true), ALL_START, ALL_END, false),
        // 1500 ns lies between 1 µs and 2 µs.
        (nanos_of_time().gt_eq(nanos(1_500)), 2, ALL_END, true),
        (nanos_of_time().gt(nanos(1_500)), 2, ALL_END, true),
        (nanos_of_time().lt(nanos(1_500)), ALL_START, 2, true),
        (nanos_of_time().lt_eq(nanos(1_500)), ALL_START, 2, true),
        (nanos_of_time().eq(nanos(2_000)), 2, 3, true),
        (nanos_of_time().gt(nanos(2_000)), 3, ALL_END, true),
        (nanos_of_time().lt(nanos(2_000)), ALL_START, 2, true),
        // Seconds are truncated before they are compared.
        (seconds_of_time().eq(seconds(3)), 3_000_000, 4_000_000, true),
        (seconds_of_time().gt(seconds(3)), 4_000_000, ALL_END, true),
        (seconds_of_time().lt_eq(seconds(3)), ALL_START, 4_000_000, true),
        (seconds_of_time().lt(seconds(3)), ALL_START, 3_000_000, true),
        // A bare column against another unit compares instants.
        (time().gt(seconds(3)), 3_000_001, ALL_END, true),
        (day().eq(days(1)), 86_400_000_000, 172_800_000_000, true),
        // Out of the representable: clamped, never wrapped.
        (time().gt_eq(seconds(i64::MAX)), ALL_END, ALL_END, true),
        (time().lt(seconds(i64::MIN)), ALL_START, ALL_START, true),
        // A cast literal in another unit than the column's cast is left alone.
        (nanos_of_time().gt(seconds(3)), ALL_START, ALL_END, false),
        ((time() + lit(0)).gt(micros(3)), ALL_START, ALL_END, false),
        (time().gt(lit(ScalarValue::TimestampMicrosecond(None, None))), ALL_START, ALL_END, false),
    ];
    for (filter, start, end, exact) in table {
        let pruned = prune(&filter);
        assert_eq!((pruned.range.start.0, pruned.range.end.0), (start, end), "{filter}");
        assert_eq!(pruned.exact, exact, "{filter}");
        assert_eq!(pruned.assets, AssetFilter::All, "{filter}");
    }
}

#[test]
fn an_instant_that_no_microsecond_tells_equals_nothing() {
    assert!(prune(&nanos_of_time().eq(nanos(1_500))).is_empty());
    let or = nanos_of_time().eq(nanos(1_500)).or(col("time").eq(micros(7)));
    assert_eq!(prune(&or).range, TimeRange::new(Timestamp(7), Timestamp(8)));
}

#[test]
fn assets_become_sets() {
    let asset = || col("asset_id");
    let view = |text: &str| lit(ScalarValue::Utf8View(Some(text.to_owned())));
    let null = || lit(ScalarValue::Utf8View(None));
    let table: Vec<(Expr, Option<&[&str]>, bool)> = vec![
        (asset().eq(view("a")), Some(&["a"]), true),
        (view("a").eq(asset()), Some(&["a"]), true),
        (asset().in_list(vec![view("b"), view("a"), null()], false), Some(&["a", "b"]), true),
        (asset().in_list(vec![view("b")], true), None, false),
        (asset().eq(view("a")).or(asset().eq(view("b"))), Some(&["a", "b"]), true),
        (asset().eq(view("a")).and(asset().eq(view("b"))), Some(&[]), true),
        (asset().not_eq(view("a")), None, false),
        (asset().gt(view("a")), None, false),
        (asset().eq(col("name")), None, false),
        (cast(asset(), ArrowType::Utf8).eq(lit("a")), Some(&["a"]), true),
        (cast(asset(), ArrowType::Int64).eq(lit(1_i64)), None, false),
        // A term that says nothing keeps the other side of an AND and spoils an OR.
        (asset().eq(view("a")).and(col("p").gt(lit(1))), Some(&["a"]), false),
        (asset().eq(view("a")).or(col("p").gt(lit(1))), None, false),
        (asset().in_list(vec![view("b"), col("name")], false), None, false),
    ];
    for (filter, assets, exact) in table {
        let pruned = prune(&filter);
        let expected = match assets {
            None => AssetFilter::All,
            Some(assets) => AssetFilter::Only(assets.iter().map(|&a| a.to_owned()).collect()),
        };
        assert_eq!(pruned.assets, expected, "{filter}");
        assert_eq!(pruned.exact, exact, "{filter}");
        assert_eq!(pruned.range, TimeRange::ALL, "{filter}");
    }
}

#[test]
fn boxes_unite_exactly_only_along_one_side() {
    let part = |asset: &str, from: i64, to: i64| {
        col("asset_id").eq(lit(asset)).and(col("time").between(micros(from), micros(to)))
    };
    let same_time = prune(&part("a", 1, 5).or(part("b", 1, 5)));
    assert!(same_time.exact);
    assert_eq!(same_time.range, TimeRange::new(Timestamp(1), Timestamp(6)));
    assert!(prune(&part("a", 1, 5).or(part("a", 4, 9))).exact);
    let corner = prune(&part("a", 1, 5).or(part("b", 4, 9)));
    assert!(!corner.exact, "asset a has no times after 5");
    assert_eq!(corner.range, TimeRange::new(Timestamp(1), Timestamp(10)));
}

#[test]
fn presence_follows_from_what_refuses_nulls() {
    let p = || col("p");
    let table: Vec<(Expr, bool)> = vec![
        (p().is_not_null(), true),
        (p().is_null(), false),
        (p().gt(lit(1.0)), true),
        ((p() * lit(2.0) + lit(1.0)).lt(lit(4.0)), true),
        (p().between(lit(1.0), lit(2.0)), true),
        (p().not_between(lit(1.0), lit(2.0)), true),
        (p().in_list(vec![lit(1.0)], false), true),
        (p().in_list(vec![lit(1.0)], true), true),
        (p(), true),
        (p().like(lit("x%")), true),
        (p().gt(lit(1.0)).and(col("q").is_null()), true),
        (p().gt(lit(1.0)).or(col("q").gt(lit(1.0))), true),
        (p().gt(lit(1.0)).or(col("q").is_null()), false),
        (p().gt(lit(1.0)).or(col("asset_id").eq(lit("a"))), false),
        (col("asset_id").not_eq(lit("a")), false),
        (col("time").not_eq(micros(1)), false),
        (col("asset_id").is_not_null(), false),
        (p().is_not_null().is_false(), false),
        (
            Expr::BinaryExpr(BinaryExpr::new(Box::new(p()), Operator::IsDistinctFrom, Box::new(lit(1.0)))),
            false,
        ),
    ];
    for (filter, present) in table {
        assert_eq!(prune(&filter).present, present, "{filter}");
        assert!(!prune(&filter).exact, "{filter}");
    }
}

#[test]
fn long_chains_do_not_recurse() {
    let terms = (0..1_000).map(|i| col("asset_id").eq(lit(format!("a{i}"))));
    let chain = terms.reduce(Expr::or).unwrap();
    let AssetFilter::Only(assets) = prune(&chain).assets else { panic!("read as a set") };
    assert_eq!(assets.len(), 1_000);
}

#[test]
fn several_filters_narrow_each_other() {
    let filters = [col("asset_id").eq(lit("a")), col("time").gt_eq(micros(5)), col("p").gt(lit(0.0))];
    let pruned = prune_all(&filters);
    assert_eq!(pruned.assets, AssetFilter::Only(BTreeSet::from(["a".to_owned()])));
    assert_eq!(pruned.range.start, Timestamp(5));
    assert!(pruned.present && !pruned.exact);
    assert!(prune_all(&[]).exact);
    assert!(prune(&lit(false)).is_empty());
}
