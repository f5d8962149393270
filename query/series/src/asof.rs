//! As-of join: for each time of one series the value of another one that was in force then.
//!
//! Owns: [`AsOf`], the merge of two ascending series of times. Does not own: keys, rows, how they are held.

/// Walks along the times of the other series: for ascending times asked, all in all as many steps as it has times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// How many of the other times are not after the one asked last.
    pub passed: usize,
}

impl AsOf {
    /// The place of the last of `others` that is not after `time`, nor more than `tolerance` microseconds before it.
    /// `others` ascend; so do the times of one walk.
    pub fn find(&mut self, time: i64, others: &[i64], tolerance: Option<i64>) -> Option<usize> {
        while others.get(self.passed).is_some_and(|other| *other <= time) {
            self.passed += 1;
        }
        let found = self.passed.checked_sub(1)?;
        let near = |max: i64| time.checked_sub(others[found]).is_some_and(|age| age <= max);
        tolerance.is_none_or(near).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_in_force() {
        let others = [10, 20, 20, 40];
        let mut walk = AsOf::default();
        let found = [5, 10, 19, 20, 39, 40, 99].map(|time| walk.find(time, &others, None));
        assert_eq!(found, [None, Some(0), Some(0), Some(2), Some(2), Some(3), Some(3)]);
        let mut walk = AsOf::default();
        let found = [10, 15, 16, 41, 46].map(|time| walk.find(time, &others, Some(5)));
        assert_eq!(found, [Some(0), Some(0), None, Some(3), None]);
        assert_eq!(AsOf::default().find(1, &[], None), None);
    }
}
