//! What to do next with the segments of a shard: a pure function from what there is to what to do.
//!
//! Levels: a flush makes level 0; merging `fanout` neighbours of one level makes one of the next. So a partition of
//! `n` flushes has at most `(fanout - 1) × (log_fanout(n) + 1)` segments, and a sample is rewritten at most once a
//! level. Only neighbours in age are merged: the result stands where they stood, and "the later segment wins" stays
//! true. Partitions never mix, so late data rewrites only the partition it belongs to.
//!
//! What was deleted or has passed its retention goes with the next merge. Where none is due, a segment that holds
//! nothing else is dropped, and one that holds some of it is rewritten alone.

use crate::tombstone::Share;

/// What the decision needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: u64,
    pub(crate) partition: i64,
    pub(crate) level: u8,
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

/// The next thing to do, if any. `segments` are ordered by partition, then by age, oldest first. What costs nothing
/// goes first, then merges, low levels before high ones: they are cheap and bring the count down most.
pub(crate) fn pick(segments: &[Candidate], fanout: usize) -> Option<Pick> {
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
    let rewrite = segments.iter().find(|s| s.gone == Share::Some && !s.damaged)?;
    Some(Pick::Merge(vec![rewrite.id], rewrite.level))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (id, partition, level)
    type Listed = (u64, i64, u8);
    /// A name, what there is, and the ids and level picked.
    type Case = (&'static str, &'static [Listed], Option<(&'static [u64], u8)>);

    fn segment((id, partition, level): Listed) -> Candidate {
        Candidate { id, partition, level, gone: Share::None, damaged: false }
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
            assert_eq!(pick(&segments(list), 4), expected, "{name}");
        }
    }

    #[test]
    fn what_is_gone_is_dropped_or_rewritten_and_damage_stays_where_it_is() {
        let mut list = segments(&[(1, 0, 1), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0)]);
        list[2].gone = Share::Some;
        assert_eq!(pick(&list, 4), Some(Pick::Merge(vec![2, 3, 4, 5], 1)), "the merge takes it along");
        list[0].gone = Share::All;
        list[3].gone = Share::All;
        assert_eq!(pick(&list, 4), Some(Pick::Drop(vec![1, 4])));
        list.retain(|s| s.gone != Share::All);
        assert_eq!(pick(&list, 4), Some(Pick::Merge(vec![3], 0)), "alone, on its level");

        let mut list = segments(&[(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0), (5, 0, 0)]);
        list[2].damaged = true;
        list[2].gone = Share::Some;
        assert_eq!(pick(&list, 4), None, "neither merged nor passed over nor rewritten");
        list[2].gone = Share::All;
        assert_eq!(pick(&list, 4), Some(Pick::Drop(vec![3])), "nobody misses it");
    }

    #[test]
    fn the_number_of_segments_stays_logarithmic() {
        let mut list: Vec<Candidate> = Vec::new();
        let mut id = 0;
        for _ in 0..1_000 {
            id += 1;
            list.push(segment((id, 0, 0)));
            while let Some(Pick::Merge(ids, level)) = pick(&list, 4) {
                id += 1;
                let at = list.iter().position(|s| s.id == ids[0]).unwrap();
                list.drain(at..at + ids.len());
                list.insert(at, segment((id, 0, level)));
            }
            assert!(list.len() <= 3 * 6, "{} segments", list.len());
        }
    }
}
