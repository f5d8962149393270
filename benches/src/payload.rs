//! Messages rendered before the clock starts: sending one costs a few patched digits.
//!
//! Every number in a template has a fixed width (`ddd.dd` from 100.00 on, times of 13 digits), so that new values,
//! times and packet ids are written over the old ones in place.

use serde_json::json;
use wattline_tests::Chance;
use wattline_tests::mqtt::encode_publish;

/// The times of generated data begin here: 2024-01-01T00:00:00Z.
pub(crate) const BASE_MS: i64 = 1_704_067_200_000;
/// Points of a generated row.
pub(crate) const POINTS: usize = 10;
const TIME_WIDTH: usize = 13;
const VALUE_WIDTH: usize = 6;

/// A burst of PUBLISH packets of one device.
#[derive(Debug)]
pub(crate) struct Burst {
    bytes: Vec<u8>,
    messages: usize,
    entries: usize,
    id_offsets: Vec<usize>,
    time_offsets: Vec<usize>,
    value_offsets: Vec<usize>,
    next_id: u16,
    next_ms: i64,
    walk: Vec<u32>,
    chance: Chance,
}

impl Burst {
    /// `messages` messages on the device's topic: `post` of one row, or `post/batch` of `entries` rows.
    pub(crate) fn new(product: &str, device: &str, messages: usize, entries: usize, seed: u64) -> Burst {
        let rest = if entries == 1 { "post" } else { "post/batch" };
        let topic = format!("/sys/{product}/{device}/thing/measurepoint/{rest}");
        let payload = payload(entries);
        let mut one = Vec::new();
        encode_publish(&mut one, 4, &topic, payload.as_bytes(), 1, 1, false);
        let id_in_one = one.len() - payload.len() - 2;
        let times_in_one = find_all(&one, b"1704067200000");
        let values_in_one = find_all(&one, b"555.55");
        assert_eq!((times_in_one.len(), values_in_one.len()), (entries, entries * POINTS), "the template");
        let offsets = |of: &[usize]| {
            let in_burst = (0..messages).flat_map(|m| of.iter().map(move |o| (m, *o)));
            in_burst.map(|(m, o)| m * one.len() + o).collect::<Vec<usize>>()
        };
        Burst {
            messages,
            entries,
            id_offsets: offsets(&[id_in_one]),
            time_offsets: offsets(&times_in_one),
            value_offsets: offsets(&values_in_one),
            bytes: one.repeat(messages),
            next_id: 1,
            next_ms: BASE_MS,
            walk: (0..POINTS as u32).map(|i| 10_000 + i * 8_000).collect(),
            chance: Chance::new(seed),
        }
    }

    /// Points in one burst.
    pub(crate) fn points(&self) -> u64 {
        (self.messages * self.points_of_message()) as u64
    }

    /// Points in one message.
    pub(crate) fn points_of_message(&self) -> usize {
        self.entries * POINTS
    }

    /// Messages in one burst.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// The next burst: new ids, times one second apart, values that wander.
    pub(crate) fn next(&mut self) -> &[u8] {
        for &at in &self.id_offsets {
            self.bytes[at..at + 2].copy_from_slice(&self.next_id.to_be_bytes());
            self.next_id = self.next_id % u16::MAX + 1;
        }
        for &at in &self.time_offsets {
            write_digits(&mut self.bytes[at..at + TIME_WIDTH], self.next_ms as u64);
            self.next_ms += 1_000;
        }
        let mut bits = 0_u64;
        for (i, &at) in self.value_offsets.iter().enumerate() {
            if i % 8 == 0 {
                bits = self.chance.bits();
            }
            let value = &mut self.walk[i % POINTS];
            // A step of -32 to 31 hundredths, kept within the fixed width.
            *value = (*value + (bits & 63) as u32).saturating_sub(32).clamp(10_000, 99_999);
            bits >>= 8;
            write_digits(&mut self.bytes[at..at + 3], u64::from(*value / 100));
            write_digits(&mut self.bytes[at + 4..at + VALUE_WIDTH], u64::from(*value % 100));
        }
        &self.bytes
    }
}

fn payload(entries: usize) -> String {
    let points: serde_json::Map<String, serde_json::Value> =
        (0..POINTS).map(|i| (format!("p{i}"), json!(555.55))).collect();
    let entry = json!({"measurepoints": points, "time": BASE_MS});
    if entries == 1 {
        json!({"id": "1", "version": "1.0", "method": "thing.measurepoint.post", "params": entry}).to_string()
    } else {
        let list = vec![entry; entries];
        json!({"id": "1", "version": "1.0", "method": "thing.measurepoint.post.batch", "params": list})
            .to_string()
    }
}

fn find_all(text: &[u8], what: &[u8]) -> Vec<usize> {
    (0..text.len().saturating_sub(what.len() - 1)).filter(|&i| text[i..].starts_with(what)).collect()
}

/// Writes `number` in decimal, zeros in front, over all of `out`.
fn write_digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_burst_is_valid_json_with_its_own_times() {
        let mut burst = Burst::new("pk", "dk", 3, 2, 1);
        burst.next();
        let bytes = burst.next().to_vec();
        let texts: Vec<usize> = find_all(&bytes, b"{\"id\"");
        assert_eq!(texts.len(), 3);
        let one = bytes.len() / 3;
        let mut times = Vec::new();
        for at in texts {
            let message: serde_json::Value = serde_json::from_slice(&bytes[at..at - at % one + one]).unwrap();
            for entry in message["params"].as_array().unwrap() {
                times.push(entry["time"].as_i64().unwrap());
                assert_eq!(entry["measurepoints"].as_object().unwrap().len(), POINTS);
            }
        }
        assert_eq!(times, (6..12).map(|i| BASE_MS + i * 1_000).collect::<Vec<i64>>());
    }
}
