//! Which segments to merge next: a pure function from what there is to what to do.
//!
//! Levels: a flush makes level 0; merging `fanout` neighbours of one level makes one of the next. So a partition of
//! `n` flushes has at most `(fanout - 1) × (log_fanout(n) + 1)` segments, and a sample is rewritten at most once a
//! level. Only neighbours in age are merged: the result stands where they stood, and "the later segment wins" stays
//! true. Partitions never mix, so late data rewrites only the partition it belongs to.

/// What the decision needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: u64,
    pub(crate) partition: i64,
    pub(crate) level: u8,
}

/// Segments to merge, oldest first, and the level of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) ids: Vec<u64>,
    pub(crate) level: u8,
}

/// The highest level: merges of it stay on it.
pub(crate) const LEVEL_MAX: u8 = 7;

/// The next merge, if any. `segments` are ordered by partition, then by age, oldest first. Low levels go first:
/// they are cheap and bring the count down most.
pub(crate) fn pick(segments: &[Candidate], fanout: usize) -> Option<Pick> {
    let mut best: Option<Pick> = None;
    for partition in segments.chunk_by(|a, b| a.partition == b.partition) {
        for same in partition.chunk_by(|a, b| a.level == b.level) {
            let level = same[0].level.saturating_add(1).min(LEVEL_MAX);
            if same.len() >= fanout && best.as_ref().is_none_or(|b| level < b.level) {
                best = Some(Pick { ids: same.iter().take(MERGE_MAX).map(|s| s.id).collect(), level });
            }
        }
    }
    best
}

/// Segments merged at once, at most: bounds open cursors and what a cancelled merge wasted.
const MERGE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// (id, partition, level)
    type Listed = (u64, i64, u8);
    /// A name, what there is, and the ids and level picked.
    type Case = (&'static str, &'static [Listed], Option<(&'static [u64], u8)>);

    fn segments(list: &[Listed]) -> Vec<Candidate> {
        list.iter().map(|&(id, partition, level)| Candidate { id, partition, level }).collect()
    }

    #[test]
    fn the_table_of_decisions() {
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
            let expected = expected.map(|(ids, level)| Pick { ids: ids.to_vec(), level });
            assert_eq!(pick(&segments(list), 4), expected, "{name}");
        }
    }

    #[test]
    fn the_number_of_segments_stays_logarithmic() {
        let mut list: Vec<Candidate> = Vec::new();
        let mut id = 0;
        for _ in 0..1_000 {
            id += 1;
            list.push(Candidate { id, partition: 0, level: 0 });
            while let Some(Pick { ids, level }) = pick(&list, 4) {
                id += 1;
                let at = list.iter().position(|s| s.id == ids[0]).unwrap();
                list.drain(at..at + ids.len());
                list.insert(at, Candidate { id, partition: 0, level });
            }
            assert!(list.len() <= 3 * 6, "{} segments", list.len());
        }
    }
}
