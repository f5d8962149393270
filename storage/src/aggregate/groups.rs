//! The groups of an aggregate: asset and bucket, or bucket alone.
//!
//! Owns: where a group's figures are, and buckets of time. Does not own: the figures of a point (`cells`), reading
//! samples (`aggregate`).

use rustc_hash::FxHashMap;
use wattline_model::{AssetId, Kind, PointId};

use super::Newest;
use super::cells::{Cells, Wants};

/// How time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buckets {
    /// Not at all: all samples of an asset are one group.
    Whole,
    /// Every so many microseconds from an origin, before it too. Both are microseconds.
    Every {
        /// Where a bucket starts.
        origin: i64,
        /// How long each is; at least 1.
        micros: i64,
    },
}

impl Buckets {
    /// The start of the bucket of `time` and the last instant in it.
    pub fn of(self, time: i64) -> (i64, i64) {
        match self {
            Buckets::Whole => (i64::MIN, i64::MAX),
            Buckets::Every { origin, micros } => {
                let micros = micros.max(1);
                // Times of our centuries; the rest is exact at the ends of what times can be.
                if let Some(since) = time.checked_sub(origin)
                    && let Some(start) = since.div_euclid(micros).checked_mul(micros)
                    && let Some(start) = start.checked_add(origin)
                    && let Some(end) = start.checked_add(micros - 1)
                {
                    return (start, end);
                }
                let (time, origin, micros) = (i128::from(time), i128::from(origin), i128::from(micros));
                let start = origin + (time - origin).div_euclid(micros) * micros;
                let clamp = |t: i128| t.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                (clamp(start), clamp(start + micros - 1))
            }
        }
    }
}

/// One point of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregatePoint {
    /// The point.
    pub point: PointId,
    /// The kind the model gives it.
    pub kind: Kind,
    /// What is wanted of it besides the count.
    pub wants: Wants,
}

/// Groups and their figures, one entry a group in every list.
#[derive(Clone, Debug)]
pub struct Groups {
    /// The asset of each group; nothing where groups are buckets alone.
    pub assets: Vec<AssetId>,
    /// Where the bucket of each group starts, microseconds; `i64::MIN` where time is not cut.
    pub starts: Vec<i64>,
    /// How many rows.
    pub rows: Vec<u64>,
    /// The time of the earliest row, microseconds.
    pub first_times: Vec<i64>,
    /// The time of the latest row, microseconds.
    pub last_times: Vec<i64>,
    /// The figures of each point asked for.
    pub points: Vec<Cells>,
    by_asset: bool,
    /// Where each bucket is; only where groups are buckets alone.
    places: FxHashMap<i64, usize>,
    wants: Vec<Wants>,
}

impl Groups {
    /// No groups yet.
    pub fn new(points: &[AggregatePoint], by_asset: bool) -> Groups {
        Groups {
            assets: Vec::new(),
            starts: Vec::new(),
            rows: Vec::new(),
            first_times: Vec::new(),
            last_times: Vec::new(),
            points: points.iter().map(|p| Cells::new(p.kind)).collect(),
            by_asset,
            places: FxHashMap::default(),
            wants: points.iter().map(|p| p.wants).collect(),
        }
    }

    /// How many groups.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The group of (`asset`, `start`). By asset, groups come one after the other, so it is the last one or new.
    pub(super) fn at(&mut self, asset: AssetId, start: i64) -> usize {
        let last = self.len().wrapping_sub(1);
        if self.starts.last() == Some(&start) && (!self.by_asset || self.assets[last] == asset) {
            return last;
        }
        if self.by_asset {
            self.assets.push(asset);
        } else {
            let new = self.len();
            let place = *self.places.entry(start).or_insert(new);
            if place != new {
                return place;
            }
        }
        self.starts.push(start);
        self.rows.push(0);
        self.first_times.push(i64::MAX);
        self.last_times.push(i64::MIN);
        self.points.iter_mut().for_each(Cells::grow);
        self.len() - 1
    }

    /// Whether what comes last of `asset`, whose rows are looked at from the last one back, is known.
    pub(super) fn knows_last(&self, asset: AssetId, newest: Newest) -> bool {
        let Some(group) = self.len().checked_sub(1).filter(|&last| self.assets.get(last) == Some(&asset))
        else {
            return false;
        };
        newest == Newest::Row || self.points.iter().all(|cells| cells.count(group) > 0)
    }

    /// Counts rows of group `group`, the first and the last of which are at `times`.
    pub(super) fn count(&mut self, group: usize, rows: usize, times: (i64, i64)) {
        self.rows[group] += rows as u64;
        self.first_times[group] = self.first_times[group].min(times.0);
        self.last_times[group] = self.last_times[group].max(times.1);
    }

    /// Takes in groups that another shard found. Only where groups are buckets alone can they be the same.
    pub fn merge(&mut self, other: &Groups) {
        for from in 0..other.len() {
            let asset = other.assets.get(from).copied().unwrap_or(AssetId(0));
            let group = self.at(asset, other.starts[from]);
            let times = (other.first_times[from], other.last_times[from]);
            self.count(group, other.rows[from] as usize, times);
            for ((mine, theirs), &wants) in self.points.iter_mut().zip(&other.points).zip(&self.wants) {
                mine.merge(group, theirs, from, wants);
            }
        }
    }

    /// The groups in order of their buckets. For groups that are buckets alone.
    #[must_use]
    pub fn in_order(self) -> Groups {
        if self.starts.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_unstable_by_key(|&i| self.starts[i]);
        let pick = |list: &[i64]| order.iter().map(|&i| list[i]).collect();
        Groups {
            assets: Vec::new(),
            starts: pick(&self.starts),
            rows: order.iter().map(|&i| self.rows[i]).collect(),
            first_times: pick(&self.first_times),
            last_times: pick(&self.last_times),
            points: self.points.iter().map(|cells| cells.picked(&order)).collect(),
            places: order.iter().enumerate().map(|(place, &i)| (self.starts[i], place)).collect(),
            ..self
        }
    }

    /// The groups before `at`, which are left out from now on. Only by asset.
    pub(super) fn take_before(&mut self, at: usize) -> Groups {
        fn take<T>(list: &mut Vec<T>, at: usize) -> Vec<T> {
            let rest = list.split_off(at);
            std::mem::replace(list, rest)
        }
        Groups {
            assets: take(&mut self.assets, at),
            starts: take(&mut self.starts, at),
            rows: take(&mut self.rows, at),
            first_times: take(&mut self.first_times, at),
            last_times: take(&mut self.last_times, at),
            points: self.points.iter_mut().map(|cells| cells.take_before(at)).collect(),
            by_asset: self.by_asset,
            places: FxHashMap::default(),
            wants: self.wants.clone(),
        }
    }

    /// Bytes of memory, near enough to account for it.
    pub fn bytes(&self) -> usize {
        let cell = |cells: &Cells| match cells {
            Cells::Float(_) => size_of::<super::Cell<f64, f64>>(),
            Cells::Int(_) => size_of::<super::Cell<i64, i128>>(),
            Cells::Other(_) => size_of::<super::Cell<Option<wattline_model::Value>, ()>>(),
        };
        let place = if self.by_asset { size_of::<AssetId>() } else { 2 * size_of::<(i64, usize)>() };
        self.len() * (4 * size_of::<i64>() + place + self.points.iter().map(cell).sum::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_reach_back_before_their_origin() {
        let minutes = Buckets::Every { origin: 30, micros: 60 };
        assert_eq!(minutes.of(30), (30, 89));
        assert_eq!(minutes.of(89), (30, 89));
        assert_eq!(minutes.of(29), (-30, 29));
        assert_eq!(minutes.of(-31), (-90, -31));
        let ends = Buckets::Every { origin: 0, micros: i64::MAX };
        assert_eq!(ends.of(i64::MIN).0, i64::MIN);
        assert_eq!(ends.of(i64::MAX), (i64::MAX, i64::MAX));
        assert_eq!(Buckets::Whole.of(7), (i64::MIN, i64::MAX));
    }
}
