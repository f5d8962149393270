use super::*;
use crate::import::args::zone;

fn read(format: &str, zone_name: &str, dst: Dst, text: &str) -> Result<i64, String> {
    let format = Format::from_flag(format).unwrap().unwrap();
    TimeReader::new(format, zone(zone_name).unwrap(), dst).read(text.as_bytes())
}

/// 2018-01-01 is day 17,532 after 1970-01-01: 48 years of 365 days and 12 leap days (1972 to 2016).
const NEW_YEAR_2018: i64 = (48 * 365 + 12) * 86_400 * 1_000_000;
const HOUR: i64 = 3_600 * 1_000_000;

#[test]
fn turkish_local_time_is_three_hours_ahead() {
    let got = read("%d %m %Y %H:%M", "Europe/Istanbul", Dst::Compatible, "01 01 2018 00:00");
    assert_eq!(got, Ok(NEW_YEAR_2018 - 3 * HOUR));
    let got = read("%d %m %Y %H:%M", "+03:00", Dst::Compatible, "31 12 2018 23:50");
    assert_eq!(got, Ok(NEW_YEAR_2018 + 365 * 24 * HOUR - 10 * 60 * 1_000_000 - 3 * HOUR));
}

#[test]
fn iso_with_and_without_offset() {
    for text in ["2018-01-01T00:00:00Z", "2018-01-01 00:00:00", "2018-01-01T01:00+01:00", "2018-01-01"] {
        assert_eq!(read("iso", "UTC", Dst::Compatible, text), Ok(NEW_YEAR_2018), "{text}");
    }
    let got = read("iso", "Europe/Istanbul", Dst::Compatible, "2018-01-01T00:00:00.1234569Z");
    assert_eq!(
        got,
        Ok(NEW_YEAR_2018 + 123_456),
        "the zone does not touch an instant; below a microsecond is cut"
    );
    assert!(read("iso", "UTC", Dst::Compatible, "01.01.2018").is_err());
    assert!(read("iso", "UTC", Dst::Compatible, "2018-13-01").is_err());
}

#[test]
fn counts_are_exact() {
    assert_eq!(read("epoch-s", "UTC", Dst::Compatible, "1514764800"), Ok(NEW_YEAR_2018));
    assert_eq!(read("epoch-s", "UTC", Dst::Compatible, "1514764800.1234567"), Ok(NEW_YEAR_2018 + 123_456));
    assert_eq!(read("epoch-ms", "UTC", Dst::Compatible, "1514764800001"), Ok(NEW_YEAR_2018 + 1_000));
    assert_eq!(read("epoch-us", "UTC", Dst::Compatible, "1514764800000001"), Ok(NEW_YEAR_2018 + 1));
    assert_eq!(read("epoch-ns", "UTC", Dst::Compatible, "1514764800000001999"), Ok(NEW_YEAR_2018 + 1));
    assert_eq!(read("epoch-s", "UTC", Dst::Compatible, "-0.5"), Ok(-500_000));
    assert!(read("epoch-s", "UTC", Dst::Compatible, "1e9").is_err());
}

/// Vienna 2018: on 25 March 02:00 became 03:00, on 28 October 03:00 became 02:00. Winter is +1 h, summer +2 h.
#[test]
fn a_local_time_the_clock_change_skips() {
    let march_25 = NEW_YEAR_2018 + (31 + 28 + 24) * 24 * HOUR;
    let half_past_one_utc = march_25 + HOUR + HOUR / 2;
    let half_past_midnight_utc = march_25 + HOUR / 2;
    let read = |dst| {
        let mut reader = TimeReader::new(Format::Iso, zone("Europe/Vienna").unwrap(), dst);
        let got = reader.read(b"2018-03-25 02:30");
        (got, reader.skipped, reader.repeated)
    };
    assert_eq!(read(Dst::Compatible), (Ok(half_past_one_utc), 1, 0), "03:30 summer time");
    assert_eq!(read(Dst::Later), (Ok(half_past_one_utc), 1, 0));
    assert_eq!(read(Dst::Earlier), (Ok(half_past_midnight_utc), 1, 0), "01:30 winter time");
    let (got, skipped, _) = read(Dst::Reject);
    assert!(got.unwrap_err().contains("does not exist"));
    assert_eq!(skipped, 1);
}

#[test]
fn a_local_time_that_happens_twice() {
    let october_28 = NEW_YEAR_2018 + (31 + 28 + 31 + 30 + 31 + 30 + 31 + 31 + 30 + 27) * 24 * HOUR;
    let read = |dst| {
        let mut reader = TimeReader::new(Format::Iso, zone("Europe/Vienna").unwrap(), dst);
        let got = reader.read(b"2018-10-28 02:30");
        (got, reader.skipped, reader.repeated)
    };
    assert_eq!(read(Dst::Compatible), (Ok(october_28 + HOUR / 2), 0, 1), "summer time, 00:30 UTC");
    assert_eq!(read(Dst::Earlier), (Ok(october_28 + HOUR / 2), 0, 1));
    assert_eq!(read(Dst::Later), (Ok(october_28 + HOUR + HOUR / 2), 0, 1), "winter time, 01:30 UTC");
    assert!(read(Dst::Reject).0.is_err());
}

#[test]
fn detection_reads_every_sample_or_asks() {
    let detect = |samples: &[&str]| Format::detect(samples).map(|f| f.to_string());
    assert_eq!(detect(&["2016-07-01 00:00:00", "2016-07-01 01:00:00"]), Ok("iso".to_owned()));
    assert_eq!(detect(&["01 01 2018 00:00"]), Ok("\"%d %m %Y %H:%M\"".to_owned()));
    assert_eq!(detect(&["1514764800"]), Ok("epoch-s".to_owned()));
    assert_eq!(detect(&["1514764800000"]), Ok("epoch-ms".to_owned()));
    assert_eq!(detect(&["1514764800000000"]), Ok("epoch-us".to_owned()));
    assert_eq!(detect(&["1/2/2018 10:00", "13/2/2018 10:00"]), Ok("\"%d/%m/%Y %H:%M\"".to_owned()));
    let ambiguous = detect(&["1/2/2018 10:00", "2/2/2018 10:00"]).unwrap_err();
    assert!(ambiguous.contains("%d/%m") && ambiguous.contains("%m/%d"), "{ambiguous}");
    assert_eq!(detect(&["5/5/2018 10:00"]), Ok("\"%d/%m/%Y %H:%M\"".to_owned()), "both readings agree");
    assert!(detect(&["yesterday"]).unwrap_err().contains("yesterday"));
}
