//! Expected texts are what PostgreSQL 15 prints.

use super::*;

fn shown(write: impl Fn(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

#[test]
fn instants_are_shown_in_the_zone_of_the_session() {
    // 1711846800 is 2024-03-31 01:00:00 UTC: the hour in which Berlin's clocks go forward.
    let berlin = Zone::named("Europe/Berlin").unwrap();
    for (micros, expected) in [
        (1_711_846_799_000_000, "2024-03-31 01:59:59+01"),
        (1_711_846_800_000_000, "2024-03-31 03:00:00+02"),
        (1_711_846_800_120_000, "2024-03-31 03:00:00.12+02"),
        (0, "1970-01-01 01:00:00+01"),
        (-1, "1970-01-01 00:59:59.999999+01"),
    ] {
        assert_eq!(shown(|out| timestamptz(out, micros, &berlin)), expected);
    }
    let india = Zone::named("Asia/Kolkata").unwrap();
    assert_eq!(shown(|out| timestamptz(out, 0, &india)), "1970-01-01 05:30:00+05:30");
    let west = Zone::named("-03:30").unwrap();
    assert_eq!(shown(|out| timestamptz(out, 0, &west)), "1969-12-31 20:30:00-03:30");
    assert_eq!(shown(|out| timestamptz(out, 0, &Zone::utc())), "1970-01-01 00:00:00+00");
    assert!(Zone::named("Europe/Atlantis").is_none());
}

#[test]
fn dates_of_all_ages() {
    for (days, expected) in [
        (0, "1970-01-01"),
        (19_782, "2024-02-29"),
        (-719_162, "0001-01-01"),
        (-719_163, "0001-12-31 BC"),
        (2_932_896, "9999-12-31"),
        (2_932_897, "10000-01-01"),
    ] {
        assert_eq!(shown(|out| date(out, days)), expected);
    }
    // Against jiff, a day in every fortnight of six thousand years.
    let start = civil::date(-999, 1, 1);
    for n in 0..150_000 {
        let day = start.checked_add(jiff::Span::new().days(n * 14 + n % 7)).unwrap();
        let days = (day - civil::date(1970, 1, 1)).get_days();
        let expected = (i64::from(day.year()), day.month() as u32, day.day() as u32);
        assert_eq!(civil_of(i64::from(days)), expected, "{day}");
    }
}

#[test]
fn spans_are_shown_in_the_style_postgres() {
    let second = 1_000_000;
    for ((months, days, micros), expected) in [
        (
            (14, 3, 4 * 3_600 * second + 5 * 60 * second + 6 * second + 789_000),
            "1 year 2 mons 3 days 04:05:06.789",
        ),
        ((0, 0, 0), "00:00:00"),
        ((0, 1, 0), "1 day"),
        ((-14, 3, -second), "-1 years -2 mons +3 days -00:00:01"),
        ((0, -1, 3_600 * second), "-1 days +01:00:00"),
        ((0, 0, 100 * 3_600 * second), "100:00:00"),
    ] {
        assert_eq!(shown(|out| interval(out, months, days, micros)), expected);
    }
}

#[test]
fn what_clients_send_is_read() {
    let berlin = Zone::named("Europe/Berlin").unwrap();
    let midnight = 1_704_067_200_000_000; // 2024-01-01T00:00:00Z
    for (text, expected) in [
        ("2024-01-01 00:00:00+00", Some(midnight)),
        ("2024-01-01T00:00:00Z", Some(midnight)),
        ("2024-01-01 01:00:00+01:00", Some(midnight)),
        ("2024-01-01 05:30:00+0530", Some(midnight)),
        ("2024-01-01 01:00:00", Some(midnight)),
        ("2024-01-01 01:00:00.25", Some(midnight + 250_000)),
        ("2023-12-31 19:00:00 America/New_York", Some(midnight)),
        ("2024-01-01", Some(midnight - 3_600_000_000)),
        ("yesterday", None),
        ("2024-13-01", None),
        ("2024-01-01 00:00:00+1x", None),
        ("é2024-01-01 00:00", None),
        ("", None),
    ] {
        assert_eq!(read_timestamptz(text, &berlin), expected, "{text}");
    }
    assert_eq!(read_timestamp("2024-01-01 00:00:00"), Some(midnight));
    assert_eq!(read_timestamp("2024-01-01 00:00:00+01"), None);
    assert_eq!(read_date("2000-01-01"), Some(EPOCH_DAYS));
    assert_eq!(read_time("01:02:03.000004"), Some(3_723_000_004));
    assert_eq!(read_interval("1 year 2 mons 3 days 04:05:06.789"), Some((14, 3, 14_706_789_000)));
    assert_eq!(read_interval("90 minutes"), Some((0, 0, 5_400_000_000)));
    assert_eq!(read_interval("-1 day -00:00:01"), Some((0, -1, -1_000_000)));
    assert_eq!(read_interval("5m"), Some((0, 0, 300_000_000)));
    assert_eq!(read_interval("soon"), None);
}
