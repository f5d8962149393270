//! Types of parameters that nobody declared, told by where they stand.

use arrow::datatypes::DataType;

use crate::fixture::{Fixture, OPERATOR};

#[test]
fn places_tell_types() {
    let fixture = Fixture::of_scripts();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let types = |sql: &str| {
        let described = runtime.block_on(fixture.engine.describe(&OPERATOR, sql));
        described.unwrap_or_else(|e| panic!("{sql}: {e}")).parameters
    };
    let double = || Some(DataType::Float64);
    let instant = || {
        let unit = arrow::datatypes::TimeUnit::Microsecond;
        Some(DataType::Timestamp(unit, Some("UTC".into())))
    };
    assert_eq!(types("SELECT $1::double precision"), [double()]);
    assert_eq!(
        types("SELECT CAST($2 AS boolean), $1::bigint"),
        [Some(DataType::Int64), Some(DataType::Boolean)]
    );
    assert_eq!(types("SELECT 1 FROM meter WHERE energy < $1 AND $1 IS NOT NULL"), [double()]);
    assert_eq!(
        types("SELECT energy * $1 FROM meter LIMIT $2 OFFSET $3"),
        [double(), Some(DataType::Int64), Some(DataType::Int64)]
    );
    assert_eq!(types("SELECT 1 FROM meter WHERE time >= $1 AND time < $2"), [instant(), instant()]);
    let lists = types("SELECT 1 FROM meter WHERE asset_id = ANY($1) AND energy = ANY($2)");
    let items: Vec<_> = lists
        .iter()
        .map(|list| match list {
            Some(DataType::List(item)) => item.data_type().clone(),
            other => panic!("no list: {other:?}"),
        })
        .collect();
    assert_eq!(items, [DataType::Utf8, DataType::Float64]);
    // In a subquery as well; and nothing tells what is only given back.
    assert_eq!(types("SELECT 1 FROM meter WHERE energy > (SELECT max($1::double precision))"), [double()]);
    assert_eq!(types("SELECT $1"), [None]);
}
