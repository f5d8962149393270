use wattline_model::{Column, PointId, Quality, Rows, Values};

use super::*;

fn floats(point: u32, rows: Rows, values: &[f64]) -> Column {
    Column { point: PointId(point), rows, values: Values::Float(values.to_vec()), quality: None }
}

fn some(rows: &[u32]) -> Rows {
    Rows::Some(rows.to_vec())
}

fn run(times: &[i64], columns: Vec<Column>) -> Run {
    Run { times: times.to_vec(), columns }
}

#[test]
fn runs_apart_are_joined() {
    let merged = merge(vec![
        run(&[1, 2], vec![floats(0, Rows::All, &[1.0, 2.0])]),
        run(&[], vec![]),
        run(&[3], vec![floats(0, Rows::All, &[3.0]), floats(1, Rows::All, &[30.0])]),
    ]);
    let expected = run(
        &[1, 2, 3],
        vec![floats(0, Rows::All, &[1.0, 2.0, 3.0]), floats(1, some(&[2]), &[30.0])],
    );
    assert_eq!(merged, expected);
}

#[test]
fn promise_2_the_later_write_of_a_point_wins_and_other_points_stay() {
    let merged = merge(vec![
        run(&[10, 20], vec![floats(0, Rows::All, &[1.0, 2.0]), floats(1, Rows::All, &[5.0, 6.0])]),
        run(&[15, 20], vec![floats(0, Rows::All, &[1.5, 2.5])]),
    ]);
    let expected = run(
        &[10, 15, 20],
        vec![floats(0, Rows::All, &[1.0, 1.5, 2.5]), floats(1, some(&[0, 2]), &[5.0, 6.0])],
    );
    assert_eq!(merged, expected);
}

#[test]
fn a_quality_goes_with_its_value() {
    let bad = Quality::new(7).unwrap();
    let mut late = floats(0, Rows::All, &[9.0]);
    late.quality = Some(vec![bad]);
    let merged = merge(vec![run(&[1, 2], vec![floats(0, Rows::All, &[1.0, 2.0])]), run(&[2], vec![late])]);
    assert_eq!(merged.columns[0].values, Values::Float(vec![1.0, 9.0]));
    assert_eq!(merged.columns[0].quality, Some(vec![Quality::GOOD, bad]));
}

#[test]
fn slices_keep_rows_and_values_together() {
    let whole = run(&[1, 2, 3, 4], vec![floats(0, some(&[0, 2, 3]), &[1.0, 3.0, 4.0])]);
    assert_eq!(whole.slice(2, 4), run(&[3, 4], vec![floats(0, Rows::All, &[3.0, 4.0])]));
    assert_eq!(whole.slice(1, 3), run(&[2, 3], vec![floats(0, some(&[1]), &[3.0])]));
    assert_eq!(whole.slice(1, 2), run(&[2], vec![]));
}

#[test]
fn extending_counts_rows_on() {
    let mut first = run(&[1, 2], vec![floats(0, some(&[1]), &[2.0])]);
    first.extend(run(&[3], vec![floats(0, Rows::All, &[3.0])]));
    assert_eq!(first, run(&[1, 2, 3], vec![floats(0, some(&[1, 2]), &[2.0, 3.0])]));
}
