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
    let expected =
        run(&[1, 2, 3], vec![floats(0, Rows::All, &[1.0, 2.0, 3.0]), floats(1, some(&[2]), &[30.0])]);
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

/// Against a plain map, over random runs with gaps, overlaps and sparse columns.
#[test]
fn merging_equals_a_map_that_is_written_in_order() {
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    type Cells = BTreeMap<(i64, u32), f64>;

    let cell = ((0..40_i64), (0..3_u32), (0..1_000_u32));
    let write = prop::collection::vec(cell, 0..60);
    proptest!(ProptestConfig::with_cases(300), |(writes in prop::collection::vec(write, 0..5))| {
        let mut expected: Cells = BTreeMap::new();
        let mut runs = Vec::new();
        for write in &writes {
            let cells: Cells = write.iter().map(|&(t, p, v)| ((t, p), f64::from(v))).collect();
            let times: Vec<i64> = cells.keys().map(|k| k.0).collect::<BTreeSet<_>>().into_iter().collect();
            let columns = (0..3).filter_map(|point| {
                let found: Vec<(u32, f64)> = times
                    .iter()
                    .enumerate()
                    .filter_map(|(row, t)| cells.get(&(*t, point)).map(|v| (row as u32, *v)))
                    .collect();
                let dense = found.len() == times.len();
                let rows = if dense { Rows::All } else { Rows::Some(found.iter().map(|f| f.0).collect()) };
                let values: Vec<f64> = found.iter().map(|f| f.1).collect();
                (!values.is_empty()).then(|| floats(point, rows, &values))
            });
            runs.push(Run { columns: columns.collect(), times: times.clone() });
            expected.extend(cells);
        }
        let merged = merge(runs);
        prop_assert!(merged.times.is_sorted_by(|a, b| a < b));
        let mut found: Cells = BTreeMap::new();
        for column in &merged.columns {
            let Values::Float(values) = &column.values else { panic!("floats went in") };
            for (row, value) in rows_of(column).zip(values) {
                found.insert((merged.times[row as usize], column.point.0), *value);
            }
        }
        prop_assert_eq!(found, expected);
    });
}

#[test]
fn rows_without_a_wanted_value_are_dropped_where_asked() {
    let run = Run {
        times: vec![1, 2, 3, 4],
        columns: vec![floats(0, some(&[1]), &[20.0]), floats(1, Rows::Some(vec![1, 3]), &[21.0, 41.0])],
    };
    let kept = without_empty_rows(run);
    assert_eq!(kept.times, [2, 4]);
    assert_eq!(kept.columns[0].rows, Rows::Some(vec![0]));
    assert_eq!(kept.columns[1].rows, Rows::All);
}

#[test]
fn runs_that_take_turns_by_stretches_are_joined_as_if_row_by_row() {
    // Three writers; each has every third hundred of the rows, the last one no value of point 1 and qualities.
    let bad = Quality::new(7).unwrap();
    let of = |writer: i64| {
        let times: Vec<i64> = (0..900).filter(|t| t / 100 % 3 == writer).collect();
        let values: Vec<f64> = times.iter().map(|&t| t as f64).collect();
        let mut columns = vec![floats(0, Rows::All, &values)];
        if writer < 2 {
            let even: Vec<u32> = (0..times.len() as u32).filter(|i| i % 2 == 0).collect();
            let values: Vec<f64> = even.iter().map(|&i| times[i as usize] as f64 * 10.0).collect();
            columns.push(floats(1, some(&even), &values));
        } else {
            columns[0].quality = Some(vec![bad; times.len()]);
        }
        run(&times, columns)
    };
    let runs = vec![of(0), of(1), of(2)];
    assert_eq!(stretches(&runs).map(|s| s.len()), Some(9));
    let merged = merge(runs);
    assert_eq!(merged.times, (0..900).collect::<Vec<i64>>());
    assert_eq!(merged.columns[0].values, Values::Float((0..900).map(f64::from).collect()));
    let quality = |t: i64| if t / 100 % 3 == 2 { bad } else { Quality::GOOD };
    assert_eq!(merged.columns[0].quality, Some((0..900).map(quality).collect()));
    let listed: Vec<u32> = (0..900).filter(|t| t / 100 % 3 < 2 && t % 2 == 0).collect();
    assert_eq!(
        merged.columns[1].values,
        Values::Float(listed.iter().map(|&t| f64::from(t) * 10.0).collect())
    );
    assert_eq!(merged.columns[1].rows, Rows::Some(listed));
}

#[test]
fn runs_that_share_a_time_or_take_turns_row_by_row_are_no_stretches() {
    let every = |from: i64, step: usize, rows: usize| {
        let times: Vec<i64> = (from..).step_by(step).take(rows).collect();
        let values = vec![from as f64; rows];
        run(&times, vec![floats(0, Rows::All, &values)])
    };
    assert_eq!(stretches(&[every(0, 2, 100), every(1, 2, 100)]), None);
    assert_eq!(stretches(&[every(0, 1, 100), every(99, 1, 100)]), None);
    assert_eq!(stretches(&[every(0, 1, 100), every(100, 1, 100)]), Some(vec![(0, 0, 100), (1, 0, 100)]));
}
