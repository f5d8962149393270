use wattline_model::{Deletion, PointId, Quality, Values};

use super::*;

fn column(point: u32, rows: Rows, values: &[i64]) -> Column {
    let quality =
        (point == 1).then(|| values.iter().map(|&v| Quality::new((v % 10) as u8).unwrap()).collect());
    Column { point: PointId(point), rows, values: Values::Int(values.to_vec()), quality }
}

fn run() -> Run {
    Run {
        times: vec![10, 20, 30, 40],
        columns: vec![column(0, Rows::All, &[1, 2, 3, 4]), column(1, Rows::Some(vec![0, 2]), &[11, 13])],
    }
}

fn tombstones(points: Option<&[u32]>, range: (i64, i64)) -> Tombstones {
    let deletion = Deletion {
        target: DeletionTarget::History,
        model: ModelId(1),
        points: points.map(|list| list.iter().copied().map(PointId).collect()),
        assets: Some(vec![AssetId(5)]),
        range: TimeRange::new(Timestamp(range.0), Timestamp(range.1)),
    };
    let all = [Arc::new(Tombstone { seqno: Seqno(9), deletion })];
    let none = Tombstones::of(&all, ModelId(1), Seqno(9), ANY_TIME);
    assert!(none.0.is_empty(), "what reflects it is not meant");
    assert!(Tombstones::of(&all, ModelId(2), Seqno(8), ANY_TIME).0.is_empty());
    assert!(Tombstones::of(&all, ModelId(1), Seqno(8), (range.1, range.1 + 5)).0.is_empty());
    Tombstones::of(&all, ModelId(1), Seqno(8), ANY_TIME)
}

#[test]
fn rows_in_the_range_go() {
    let erased = tombstones(None, (20, 40)).erase(AssetId(5), run());
    assert_eq!(erased.times, [10, 40]);
    assert_eq!(erased.columns, [column(0, Rows::All, &[1, 4]), column(1, Rows::Some(vec![0]), &[11])]);
    assert_eq!(tombstones(None, (20, 40)).erase(AssetId(6), run()), run(), "another asset");
    assert_eq!(tombstones(None, (41, 50)).erase(AssetId(5), run()), run());
    assert_eq!(tombstones(None, (0, 50)).erase(AssetId(5), run()).rows(), 0);
}

#[test]
fn points_go_and_rows_stay_while_they_have_others() {
    let erased = tombstones(Some(&[0]), (20, 40)).erase(AssetId(5), run());
    assert_eq!(erased.times, [10, 30, 40], "the row at 20 had nothing else");
    let expected = [column(0, Rows::Some(vec![0, 2]), &[1, 4]), column(1, Rows::Some(vec![0, 1]), &[11, 13])];
    assert_eq!(erased.columns, expected);
    let erased = tombstones(Some(&[0, 1]), (0, 25)).erase(AssetId(5), run());
    assert_eq!(erased.times, [30, 40]);
    assert_eq!(erased.columns, [column(0, Rows::All, &[3, 4]), column(1, Rows::Some(vec![0]), &[13])]);
}
