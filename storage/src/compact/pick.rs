//! What to do next with the segments of a shard: a pure function from what there is to what to do.
//!
//! Levels: a flush makes level 0; merging `fanout` neighbours of one level makes one of the next. So a partition of
//! `n` flushes has at most `(fanout - 1) × (log_fanout(n) + 1)` segments, and a sample is rewritten at most once a
//! level. Only neighbours in age are merged: the result stands where they stood, and "the later segment wins" stays
//! true. Partitions never mix, so late data rewrites only the partition it belongs to.
//!
//! What was deleted or has passed its retention goes with the next merge. Where none is due, a segment that holds
//! nothing else is dropped, and one that holds some of it is rewritten alone.
//!
//! Segments of the same times cost every reader a merge, however few they are. So in a shard that has not flushed for
//! a while, neighbours that overlap are merged below the fan-out, too; but never a large one for the sake of a small
//! one, so that a sample is rewritten about as often as with a fan-out of two: a logarithm, too.

use crate::tombstone::Share;

/// What the decision needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: u64,
    pub(crate) partition: i64,
    pub(crate) level: u8,
    pub(crate) bytes: u64,
    /// Its earliest and its latest time, microseconds.
    pub(crate) times: (i64, i64),
    /// How much of it was deleted or has passed its retention.
    pub(crate) gone: Share,
    /// Whether it is damaged: it stays as it is, and what lies on both sides of it is not merged.
    pub(crate) damaged: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// Remove these segments.
    Drop(Vec<u64>),
    /// Merge these segments, oldest first, into one of this level.
    Merge(Vec<u64>, u8),
}

/// The highest level: merges of it stay on it.
pub(crate) const LEVEL_MAX: u8 = 7;

/// Segments merged at once, at most: bounds open cursors and what a cancelled merge wasted.
const MERGE_MAX: usize = 16;

/// Neighbours overlap where they share at least this part of the time that the shorter one covers: less is what
/// samples that come a little late leave where one flush follows another.
const OVERLAP_SHARE: i128 = 8;

/// The next thing to do, if any. `segments` are ordered by partition, then by age, oldest first. What costs nothing
/// goes first, then merges, low levels before high ones: they are cheap and bring the count down most. Where the shard
/// is `quiet`, what overlaps comes last.
pub(crate) fn pick(segments: &[Candidate], fanout: usize, quiet: bool) -> Option<Pick> {
    let gone = segments.iter().filter(|s| s.gone == Share::All);
    let gone: Vec<u64> = gone.map(|s| s.id).collect();
    if !gone.is_empty() {
        return Some(Pick::Drop(gone));
    }
    let mut best: Option<(&[Candidate], u8)> = None;
    for partition in segments.chunk_by(|a, b| a.partition == b.partition) {
        for same in partition.chunk_by(|a, b| a.level == b.level && a.damaged == b.damaged) {
            let level = same[0].level.saturating_add(1).min(LEVEL_MAX);
            let due = same.len() >= fanout && !same[0].damaged;
            if due && best.is_none_or(|(_, best)| level < best) {
                best = Some((same, level));
            }
        }
    }
    if let Some((same, level)) = best {
        return Some(Pick::Merge(same.iter().take(MERGE_MAX).map(|s| s.id).collect(), level));
    }
    if let Some(rewrite) = segments.iter().find(|s| s.gone == Share::Some && !s.damaged) {
        return Some(Pick::Merge(vec![rewrite.id], rewrite.level));
    }
    if quiet { overlapping(segments, fanout) } else { None }
}

/// Neighbours that overlap, as many as there are in a row, none of them much larger than the others together.
fn overlapping(segments: &[Candidate], fanout: usize) -> Option<Pick> {
    for partition in segments.chunk_by(|a, b| a.partition == b.partition && a.damaged == b.damaged) {
        if partition[0].damaged {
            continue;
        }
        for from in 0..partition.len() {
            let row = row_of_overlaps(&partition[from..]);
            let bytes: u64 = row.iter().map(|s| s.bytes).sum();
            let largest = row.iter().map(|s| s.bytes).max().unwrap_or(0);
            if row.len() > 1 && largest <= (bytes - largest).saturating_mul(fanout as u64) {
                let level = row.iter().map(|s| s.level).max().unwrap_or(0).max(1);
                return Some(Pick::Merge(row.iter().map(|s| s.id).collect(), level));
            }
        }
    }
    None
}

/// The first of `segments` and those after it, as long as each overlaps what comes before it.
fn row_of_overlaps(segments: &[Candidate]) -> &[Candidate] {
    let (mut first, mut last) = segments[0].times;
    let mut len = 1;
    while let Some(next) = segments.get(len).filter(|_| len < MERGE_MAX) {
        let shared = i128::from(last.min(next.times.1)) - i128::from(first.max(next.times.0)) + 1;
        let span = |(first, last): (i64, i64)| i128::from(last) - i128::from(first) + 1;
        if shared * OVERLAP_SHARE < span((first, last)).min(span(next.times)) {
            break;
        }
        (first, last) = (first.min(next.times.0), last.max(next.times.1));
        len += 1;
    }
    &segments[..len]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (id, partition, level)
    type Listed = (u64, i64, u8);
    /// A name, what there is, and the ids and level picked.
    type Case = (&'static str, &'static [Listed], Option<(&'static [u64], u8)>);

    fn segment((id, partition, level): Listed) -> Candidate {
        Candidate { id, partition, level, bytes: 1, times: (0, 9), gone: Share::None, damaged: false }
    }

    fn segments(list: &[Listed]) -> Vec<Candidate> {
        list.iter().map(|&listed| segment(listed)).collect()
    }

    #[test]
    fn the_table_of_merges() {
        let cases: &[Case] = &[
            ("nothing", &[], None),
            ("too few", &[(1, 0, 0), (2, 0, 0), (3, 0, 0)], None),
            ("enough", &[(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)], Some((&[1, 2, 3, 4], 1))),
            ("partitions do not mix", &[(1, 0, 0), (2, 0, 0), (3, 7, 0), (4, 7, 0)], None),
            (
                "only the newest flushes",
                &[(1, 0, 1), (5, 0, 0), (6, 0, 0), (7, 0, 0), (8, 0, 0)],
                Some((&[5, 6, 7, 8], 1)),
            ),
            (
                "low levels first",
                &[(1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 0, 1), (5, 7, 0), (6, 7, 0), (7, 7, 0), (8, 7, 0)],
                Some((&[5, 6, 7, 8], 1)),
            ),
            ("the last level stays", &[(1, 0, 7), (2, 0, 7), (3, 0, 7), (4, 0, 7)], Some((&[1, 2, 3, 4], 7))),
            ("neighbours only", &[(1, 0, 1), (2, 0, 1), (3, 0, 0), (4, 0, 1), (5, 0, 1)], None),
        ];
        for (name, list, expected) in cases {
            let expected = expected.map(|(ids, level)| Pick::Merge(ids.to_vec(), level));
            assert_eq!(pick(&segments(list), 4, false), expected, "{name}");
        }
    }

    #[test]
    fn what_is_gone_is_dropped_or_rewritten_and_damage_stays_where_it_is() {
        let mut list = segments(&[(1, 0, 1), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0)]);
        list[2].gone = Share::Some;
        assert_eq!(pick(&list, 4, false), Some(Pick::Merge(vec![2, 3, 4, 5], 1)), "the merge takes it along");
        list[0].gone = Share::All;
        list[3].gone = Share::All;
        assert_eq!(pick(&list, 4, false), Some(Pick::Drop(vec![1, 4])));
        list.retain(|s| s.gone != Share::All);
        assert_eq!(pick(&list, 4, false), Some(Pick::Merge(vec![3], 0)), "alone, on its level");

        let mut list = segments(&[(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0)]);
        list[2].damaged = true;
        list[2].gone = Share::Some;
        assert_eq!(pick(&list, 4, false), None, "neither merged nor passed over nor rewritten");
        list[2].gone = Share::All;
        assert_eq!(pick(&list, 4, false), Some(Pick::Drop(vec![3])), "nobody misses it");
    }

    #[test]
    fn what_overlaps_is_merged_below_the_fanout_where_the_shard_is_quiet() {
        /// (id, level, bytes, times)
        type Sized = (u64, u8, u64, (i64, i64));
        type Case = (&'static str, &'static [Sized], Option<(&'static [u64], u8)>);
        let cases: &[Case] = &[
            ("end to end", &[(1, 0, 10, (0, 99)), (2, 0, 10, (0, 99))], Some((&[1, 2], 1))),
            ("one after the other", &[(1, 0, 10, (0, 99)), (2, 0, 10, (100, 199))], None),
            ("a few late samples", &[(1, 0, 10, (0, 99)), (2, 0, 10, (95, 199))], None),
            ("many late samples", &[(1, 0, 10, (0, 99)), (2, 0, 10, (80, 199))], Some((&[1, 2], 1))),
            ("a large one stays", &[(1, 1, 100, (0, 99)), (2, 0, 10, (0, 99))], None),
            (
                "the small ones beside it do not",
                &[(1, 1, 100, (0, 99)), (2, 0, 10, (0, 99)), (3, 0, 10, (0, 99))],
                Some((&[2, 3], 1)),
            ),
            (
                "until they are as much as a quarter of it",
                &[(1, 2, 100, (0, 99)), (2, 1, 15, (0, 99)), (3, 0, 10, (0, 99))],
                Some((&[1, 2, 3], 2)),
            ),
            (
                "what lies between them is no neighbour",
                &[(1, 0, 10, (0, 99)), (2, 0, 10, (500, 599)), (3, 0, 10, (0, 99))],
                None,
            ),
        ];
        for (name, list, expected) in cases {
            let candidate =
                |&(id, level, bytes, times): &Sized| Candidate { bytes, times, ..segment((id, 0, level)) };
            let list: Vec<Candidate> = list.iter().map(candidate).collect();
            let expected = expected.map(|(ids, level)| Pick::Merge(ids.to_vec(), level));
            assert_eq!(pick(&list, 4, true), expected, "{name}");
            assert_eq!(pick(&list, 4, false), None, "{name}, not quiet");
        }
        let mut list = segments(&[(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
        list[1].damaged = true;
        assert_eq!(pick(&list, 4, true), None, "damage is not passed over");
    }

    #[test]
    fn merging_overlaps_rewrites_a_sample_as_often_as_the_logarithm_says() {
        let (mut list, mut id, mut written) = (Vec::new(), 0, 0);
        const FLUSHES: u64 = 1 << 10;
        for _ in 0..FLUSHES {
            id += 1;
            list.push(segment((id, 0, 0)));
            while let Some(Pick::Merge(ids, level)) = pick(&list, 4, true) {
                id += 1;
                let at = list.iter().position(|s| s.id == ids[0]).unwrap();
                let bytes = list.drain(at..at + ids.len()).map(|s| s.bytes).sum();
                written += bytes;
                list.insert(at, Candidate { bytes, ..segment((id, 0, level)) });
            }
            assert!(list.len() < 5, "{} segments", list.len());
        }
        assert!(written <= 11 * FLUSHES, "{written} written for {FLUSHES}");
    }

    #[test]
    fn the_number_of_segments_stays_logarithmic() {
        let mut list: Vec<Candidate> = Vec::new();
        let mut id = 0;
        for _ in 0..1_000 {
            id += 1;
            list.push(segment((id, 0, 0)));
            while let Some(Pick::Merge(ids, level)) = pick(&list, 4, false) {
                id += 1;
                let at = list.iter().position(|s| s.id == ids[0]).unwrap();
                list.drain(at..at + ids.len());
                list.insert(at, segment((id, 0, level)));
            }
            assert!(list.len() <= 3 * 6, "{} segments", list.len());
        }
    }
}
