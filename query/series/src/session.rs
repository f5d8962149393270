//! Sessions: samples that follow each other closely.
//!
//! Owns: [`Sessions`], the fold behind `session`. A new session begins with the sample that comes more than `gap` after
//! the one before it, and is known by the time of its first sample.

use wattline_model::Timestamp;

use crate::error::Error;

/// The sessions of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The longest pause within a session, in microseconds.
    pub gap: i64,
    /// When the session began, and its newest sample.
    pub current: Option<(Timestamp, Timestamp)>,
}

impl Sessions {
    /// Sessions apart by more than `gap` microseconds.
    ///
    /// # Errors
    /// Input where `gap` is below 0.
    pub fn new(gap: i64) -> Result<Sessions, Error> {
        if gap < 0 {
            return Err(Error::input("the gap between sessions must not be below 0"));
        }
        Ok(Sessions { gap, current: None })
    }

    /// When the session began that the next sample belongs to. Samples of one time belong together.
    ///
    /// # Errors
    /// Order where `time` is before the last one.
    pub fn push(&mut self, time: Timestamp) -> Result<Timestamp, Error> {
        let began = match self.current {
            Some((_, last)) if time < last => return Err(Error::order(time, last)),
            // A difference that does not fit is longer than any gap.
            Some((began, last))
                if time.micros().checked_sub(last.micros()).is_some_and(|d| d <= self.gap) =>
            {
                began
            }
            _ => time,
        };
        self.current = Some((began, time));
        Ok(began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_longer_pause_begins_a_session() {
        let mut sessions = Sessions::new(10).unwrap();
        let began: Vec<i64> =
            [0, 5, 15, 15, 26, 36, 100].map(|t| sessions.push(Timestamp(t)).unwrap().0).to_vec();
        assert_eq!(began, [0, 0, 0, 0, 26, 26, 100]);
        assert_eq!(sessions.push(Timestamp(99)).unwrap_err().kind(), ErrorKind::Order);
        assert!(Sessions::new(-1).is_err());
        let mut all = Sessions::new(i64::MAX).unwrap();
        all.push(Timestamp::MIN).unwrap();
        assert_eq!(all.push(Timestamp::MAX).unwrap(), Timestamp::MAX);
    }
}
