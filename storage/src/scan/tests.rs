use super::*;

fn column(point: u32, rows: Rows, values: &[f64]) -> Column {
    Column { point: PointId(point), rows, values: Values::Float(values.to_vec()), quality: None }
}

#[test]
fn rows_without_a_wanted_value_are_dropped_where_asked() {
    let run = Run {
        times: vec![1, 2, 3, 4],
        columns: vec![
            column(0, Rows::Some(vec![1]), &[20.0]),
            column(1, Rows::Some(vec![1, 3]), &[21.0, 41.0]),
        ],
    };
    let kept = without_empty_rows(run);
    assert_eq!(kept.times, [2, 4]);
    assert_eq!(kept.columns[0].rows, Rows::Some(vec![0]));
    assert_eq!(kept.columns[1].rows, Rows::All);
}

#[test]
fn partitions_of_memtable_rows_are_found_whatever_their_age() {
    let run = Run { times: vec![-5, 3, 9, 25], columns: vec![] };
    let mut partitions = vec![(0, vec![4])];
    add_partitions(&mut partitions, &[run], 10);
    partitions.sort();
    assert_eq!(partitions, [(-10, vec![]), (0, vec![4]), (20, vec![])]);
}
