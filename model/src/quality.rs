//! The quality a device reports beside a value.

/// A quality code, 0 to 9. 0 is good; the meaning of the others belongs to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quality(u8);

impl Quality {
    /// Good, and what a sample without a reported quality counts as.
    pub const GOOD: Quality = Quality(0);

    /// The quality `code`, or `None` where it is above 9.
    pub fn new(code: u8) -> Option<Quality> {
        (code <= 9).then_some(Quality(code))
    }

    /// The code, 0 to 9.
    pub const fn code(self) -> u8 {
        self.0
    }
}
