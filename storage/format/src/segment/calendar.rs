//! Blocks that end where an hour or a day does.
//!
//! Owns: where a run of one asset is cut into blocks so that each lies wholly inside a quarter of an hour, an hour, a
//! day. Does not own: runs that share a block, or what is written of a block (`writer`).
//!
//! What people ask for by time, they ask for by hours and days: of a block inside one of those the statistics are all
//! there is to read. A block of as many rows as fit would nearly always reach over the end of an hour.

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// What blocks may be cut by, since 1970 UTC. Each divides all longer ones, so a block by one of them lies inside any longer
/// one. There are none between a quarter of an hour, an hour and four, as the hour is what is asked for most.
const STEPS: [i64; 9] =
    [SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY];

/// Rows a block gets, in order, where strictly ascending `times` are cut at the ends of the longest step that leaves no
/// more than `rows_max` in a block; `None` where blocks would have fewer than `rows_min` on average, but for one.
pub(super) fn cuts(times: &[i64], rows_min: usize, rows_max: usize) -> Option<Vec<usize>> {
    let by = |&step: &i64| cut_by(times, step, rows_min);
    // From the longest on, until there are too few rows in a block; those of a shorter step would be fewer still.
    STEPS.iter().rev().map_while(by).find(|blocks| blocks.iter().all(|&rows| rows <= rows_max))
}

/// Rows by step; `None` where they are fewer than `rows_min` on average.
fn cut_by(times: &[i64], step: i64, rows_min: usize) -> Option<Vec<usize>> {
    let blocks_max = times.len() / rows_min + 1;
    let mut blocks = Vec::new();
    let mut left = times;
    while let Some(&first) = left.first() {
        if blocks.len() == blocks_max {
            return None;
        }
        let bucket = first.div_euclid(step);
        let rows = left.partition_point(|time| time.div_euclid(step) == bucket);
        blocks.push(rows);
        left = &left[rows..];
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(seconds: i64, from: i64, rows: usize) -> Vec<i64> {
        (0..rows as i64).map(|i| from + i * seconds * SECOND).collect()
    }

    /// What `cuts` gives for rows every so many seconds over two days from midnight: rows of the first block, and blocks.
    fn of_two_days(seconds: i64) -> Option<(usize, usize)> {
        let times = every(seconds, 20_000 * DAY, (172_800 / seconds) as usize);
        cuts(&times, 256, 1_024).map(|blocks| (blocks[0], blocks.len()))
    }

    #[test]
    fn common_steps_of_devices_give_blocks_inside_common_buckets() {
        assert_eq!(of_two_days(1), Some((900, 192)), "quarters of an hour");
        assert_eq!(of_two_days(5), Some((720, 48)), "hours");
        assert_eq!(of_two_days(10), Some((360, 48)), "hours");
        assert_eq!(of_two_days(15), Some((960, 12)), "four hours");
        assert_eq!(of_two_days(30), Some((480, 12)), "four hours");
        assert_eq!(of_two_days(60), Some((720, 4)), "half days");
        assert_eq!(of_two_days(180), Some((480, 2)), "days");
    }

    #[test]
    fn a_run_that_begins_and_ends_inside_an_hour_has_two_shorter_blocks() {
        let times = every(10, 20_000 * DAY + 30 * MINUTE, 3 * 360);
        assert_eq!(cuts(&times, 256, 1_024), Some(vec![180, 360, 360, 180]));
    }

    #[test]
    fn bursts_are_cut_by_the_step_that_holds_the_largest_or_not_at_all() {
        // 2,000 rows in one second, then a row an hour.
        let mut times: Vec<i64> = (0..2_000).map(|i| 20_000 * DAY + i * 500).collect();
        times.extend(every(3_600, 20_000 * DAY + HOUR, 500));
        assert_eq!(cuts(&times, 256, 1_024), None);
        // Times before 1970 and the ends of what times can be.
        assert_eq!(cuts(&every(10, -HOUR, 720), 256, 1_024), Some(vec![360, 360]));
        assert_eq!(cuts(&[i64::MIN, i64::MAX], 256, 1_024), None);
        assert_eq!(cuts(&[i64::MAX - 1, i64::MAX], 1, 1_024), Some(vec![2]));
        assert_eq!(cuts(&[], 256, 1_024), Some(vec![]));
    }
}
