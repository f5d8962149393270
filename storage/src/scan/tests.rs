use super::*;

#[test]
fn partitions_of_memtable_rows_are_found_whatever_their_age() {
    let run = Run { times: vec![-5, 3, 9, 25], columns: vec![] };
    let mut partitions = vec![(0, vec![4])];
    add_partitions(&mut partitions, &[run], 10);
    partitions.sort();
    assert_eq!(partitions, [(-10, vec![]), (0, vec![4]), (20, vec![])]);
}
