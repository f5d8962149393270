//! Values for buckets that have none.
//!
//! Owns: `locf` and `interpolate` over the buckets of one series, in order. Does not own: which buckets there are
//! ([`crate::Buckets`]).
//!
//! A bucket without a value and a missing bucket are the same. Before the first and after the last value `interpolate`
//! knows nothing; `locf` goes on after the last one. Linear interpolation is that of the data service (§2, boundary
//! parameters), without its rounding of integers.

/// For each bucket the place of the value in force: its own, or the last one before it. `None` before the first.
pub fn locf(known: impl IntoIterator<Item = bool>) -> Vec<Option<usize>> {
    let mut last = None;
    let buckets = known.into_iter().enumerate();
    buckets
        .map(|(place, known)| {
            if known {
                last = Some(place);
            }
            last
        })
        .collect()
}

/// Each bucket's value, or where it has none that of the straight line between its neighbours that have one. `times`
/// are the buckets' starts, ascending; NaN counts as no value.
///
/// # Panics
/// Where there are not as many times as values.
pub fn interpolate(times: &[i64], values: &[Option<f64>]) -> Vec<Option<f64>> {
    assert_eq!(times.len(), values.len(), "a time for each value");
    let known = |value: Option<f64>| value.filter(|v| !v.is_nan());
    let mut filled: Vec<Option<f64>> = values.iter().map(|v| known(*v)).collect();
    let mut left: Option<usize> = None;
    for right in 0..values.len() {
        let Some(to) = known(values[right]) else { continue };
        if let Some(left) = left
            && let Some(from) = known(values[left])
        {
            let width = times[right] as f64 - times[left] as f64;
            for between in left + 1..right {
                let (before, after) =
                    (times[between] as f64 - times[left] as f64, times[right] as f64 - times[between] as f64);
                let weighted = from * after + to * before;
                // Divided once, at the end: exact where both sides are. Unless the products are too large.
                filled[between] = Some(match weighted.is_finite() {
                    true => weighted / width,
                    false => from * (after / width) + to * (before / width),
                });
            }
        }
        left = Some(right);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_goes_on() {
        let known = [false, true, false, false, true, false];
        assert_eq!(locf(known), [None, Some(1), Some(1), Some(1), Some(4), Some(4)]);
        assert_eq!(locf([]), []);
    }

    #[test]
    fn lines_between_neighbours_and_nothing_beyond() {
        let times = [0, 10, 20, 60, 70, 80];
        let values = [None, Some(1.0), None, Some(6.0), Some(f64::NAN), None];
        // From 1 at 10 to 6 at 60: 2 at 20.
        assert_eq!(interpolate(&times, &values), [None, Some(1.0), Some(2.0), Some(6.0), None, None]);
        // 47 in 47 hours: 24 after 24.
        assert_eq!(interpolate(&[0, 24, 47], &[Some(0.0), None, Some(47.0)])[1], Some(24.0));
        let huge = interpolate(&[0, 1_000, 2_000], &[Some(f64::MAX), None, Some(f64::MAX)])[1];
        assert!(huge.is_some_and(f64::is_finite));
        assert_eq!(interpolate(&[], &[]), []);
        assert_eq!(interpolate(&[5], &[None]), [None]);
    }
}
