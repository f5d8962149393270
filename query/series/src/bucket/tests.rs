use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<Instant>().unwrap().as_microsecond())
}

fn buckets(months: i32, days: i32, micros: i64, zone: &str) -> Buckets {
    Buckets::new(Step::new(months, days, micros).unwrap(), None, Zone::by_name(zone).unwrap()).unwrap()
}

/// The starts of all buckets from `from` until before `to`, as the clock shows them with its offset.
fn starts(mut buckets: Buckets, zone: &str, from: &str, to: &str) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let (mut start, to) = (at(from), at(to));
    assert_eq!(buckets.start(start).unwrap(), start, "{from} begins a bucket");
    let mut found = Vec::new();
    while start < to {
        let shown = Instant::from_microsecond(start.micros()).unwrap().to_zoned(zone.clone());
        found.push(shown.strftime("%m-%d %H:%M%:z").to_string());
        let next = buckets.next(start).unwrap();
        assert!(next > start);
        assert_eq!(buckets.start(Timestamp(next.0 - 1)).unwrap(), start);
        start = next;
    }
    assert_eq!(start, to, "{to} begins a bucket");
    found
}

#[test]
fn days_of_23_and_25_hours() {
    let days = |zone: &str, from: &str, to: &str| starts(buckets(0, 1, 0, zone), zone, from, to);
    assert_eq!(
        days("Europe/Berlin", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z"),
        ["03-28 00:00+01:00", "03-29 00:00+01:00", "03-30 00:00+02:00"]
    );
    assert_eq!(
        days("Europe/Berlin", "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z"),
        ["10-24 00:00+02:00", "10-25 00:00+02:00", "10-26 00:00+01:00"]
    );
    assert_eq!(
        days("America/New_York", "2026-03-07T05:00:00Z", "2026-03-09T04:00:00Z"),
        ["03-07 00:00-05:00", "03-08 00:00-05:00"]
    );
    assert_eq!(
        days("Asia/Kolkata", "2026-03-28T18:30:00Z", "2026-03-30T18:30:00Z"),
        ["03-29 00:00+05:30", "03-30 00:00+05:30"]
    );
    // Half an hour: the day is one of 23 and a half.
    assert_eq!(
        days("Australia/Lord_Howe", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"),
        ["10-04 00:00+10:30"]
    );
}

#[test]
fn hours_where_clocks_are_set_forward() {
    // Berlin, 29 March: 2 o'clock is skipped.
    assert_eq!(
        starts(
            buckets(0, 0, HOUR, "Europe/Berlin"),
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            "2026-03-29T02:00:00Z"
        ),
        ["03-29 00:00+01:00", "03-29 01:00+01:00", "03-29 03:00+02:00"]
    );
    // Lord Howe, 4 October: from 2:00 to 2:30, which begins what is left of that hour.
    let lord_howe = "Australia/Lord_Howe";
    assert_eq!(
        starts(buckets(0, 0, HOUR, lord_howe), lord_howe, "2026-10-03T14:30:00Z", "2026-10-03T17:00:00Z"),
        ["10-04 01:00+10:30", "10-04 02:30+11:00", "10-04 03:00+11:00", "10-04 04:00+11:00"][..3]
    );
    // Six hours: 0–6 has five.
    assert_eq!(
        starts(
            buckets(0, 0, 6 * HOUR, "Europe/Berlin"),
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z"
        ),
        ["03-29 00:00+01:00", "03-29 06:00+02:00", "03-29 12:00+02:00", "03-29 18:00+02:00"]
    );
}

#[test]
fn hours_where_clocks_are_set_back() {
    // Berlin, 25 October: the hour from 2 to 3 comes twice, and is a bucket twice.
    let berlin = "Europe/Berlin";
    let day = starts(buckets(0, 0, HOUR, berlin), berlin, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    assert_eq!(day.len(), 25);
    assert_eq!(
        day[1..5],
        ["10-25 01:00+02:00", "10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"]
    );
    assert_eq!(
        starts(buckets(0, 0, 6 * HOUR, berlin), berlin, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ["10-25 00:00+02:00", "10-25 06:00+01:00", "10-25 12:00+01:00", "10-25 18:00+01:00"]
    );
    // Lord Howe, 5 April: from 2:00 back to 1:30. The hour from 1 has an hour and a half; of 20 minutes, 1:40 comes twice.
    let lord_howe = "Australia/Lord_Howe";
    assert_eq!(
        starts(buckets(0, 0, HOUR, lord_howe), lord_howe, "2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z"),
        ["04-05 01:00+11:00", "04-05 02:00+10:30"]
    );
    assert_eq!(
        starts(
            buckets(0, 0, 20 * MINUTE, lord_howe),
            lord_howe,
            "2026-04-04T14:00:00Z",
            "2026-04-04T15:30:00Z"
        ),
        ["04-05 01:00+11:00", "04-05 01:20+11:00", "04-05 01:40+11:00", "04-05 01:40+10:30"]
    );
    // Havana sets back from 1:00 to 0:00: midnight comes twice, and the day begins at the first.
    let havana = "America/Havana";
    assert_eq!(
        starts(buckets(0, 1, 0, havana), havana, "2025-11-01T04:00:00Z", "2025-11-03T05:00:00Z"),
        ["11-01 00:00-04:00", "11-02 00:00-04:00"]
    );
}

#[test]
fn a_day_without_midnight_begins_at_the_change() {
    // Beirut sets forward at midnight.
    let beirut = "Asia/Beirut";
    assert_eq!(
        starts(buckets(0, 1, 0, beirut), beirut, "2024-03-29T22:00:00Z", "2024-03-31T21:00:00Z"),
        ["03-30 00:00+02:00", "03-31 01:00+03:00"]
    );
}

#[test]
fn weeks_months_and_years() {
    assert_eq!(
        starts(buckets(0, 7, 0, "UTC"), "UTC", "2026-01-05T00:00:00Z", "2026-01-19T00:00:00Z"),
        ["01-05 00:00+00:00", "01-12 00:00+00:00"]
    );
    let berlin = "Europe/Berlin";
    assert_eq!(
        starts(buckets(1, 0, 0, berlin), berlin, "2026-01-31T23:00:00Z", "2026-04-30T22:00:00Z"),
        ["02-01 00:00+01:00", "03-01 00:00+01:00", "04-01 00:00+02:00"]
    );
    assert_eq!(
        starts(buckets(3, 0, 0, "UTC"), "UTC", "2025-10-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ["10-01 00:00+00:00", "01-01 00:00+00:00", "04-01 00:00+00:00"]
    );
    assert_eq!(
        buckets(12, 0, 0, "UTC").start(at("1969-07-20T20:17:00Z")).unwrap(),
        at("1969-01-01T00:00:00Z")
    );
    assert_eq!(
        buckets(120, 0, 0, "UTC").start(at("1965-07-20T20:17:00Z")).unwrap(),
        at("1960-01-01T00:00:00Z")
    );
}

#[test]
fn origins() {
    let zone = || Zone::by_name("Europe/Berlin").unwrap();
    // Days of gas: from six to six.
    let mut gas = Buckets::new(Step::Micros(DAY), Some(at("2026-01-01T05:00:00Z")), zone()).unwrap();
    assert_eq!(gas.start(at("2026-07-01T03:59:59Z")).unwrap(), at("2026-06-30T04:00:00Z"));
    assert_eq!(gas.start(at("2026-07-01T04:00:00Z")).unwrap(), at("2026-07-01T04:00:00Z"));
    // Years that begin in October.
    let mut year = Buckets::new(Step::Months(12), Some(at("2020-09-30T22:00:00Z")), zone()).unwrap();
    assert_eq!(year.start(at("2026-07-01T00:00:00Z")).unwrap(), at("2025-09-30T22:00:00Z"));
    assert!(Buckets::new(Step::Months(1), Some(at("2026-01-15T00:00:00Z")), zone()).is_err());
    let mut seven = Buckets::new(Step::Micros(7), Some(Timestamp(3)), Zone::UTC).unwrap();
    assert_eq!(seven.start(Timestamp(2)).unwrap(), Timestamp(-4));
    assert_eq!(seven.start(Timestamp(3)).unwrap(), Timestamp(3));
}

#[test]
fn intervals_that_make_no_buckets() {
    for (months, days, micros) in
        [(0, 0, 0), (-1, 0, 0), (0, -1, 0), (1, 1, 0), (1, 0, 1), (0, i32::MAX, i64::MAX)]
    {
        assert!(Step::new(months, days, micros).is_err(), "{months} {days} {micros}");
    }
    assert_eq!(Step::new(0, 1, 12 * HOUR).unwrap(), Step::Micros(36 * HOUR));
    assert_eq!(Step::new(0, 1, -HOUR).unwrap(), Step::Micros(23 * HOUR));
}

#[test]
fn times_at_the_ends_are_answered_or_refused() {
    for (months, days, micros) in
        [(0, 0, 7), (0, 1, 0), (0, 0, i64::MAX), (0, 1_000_000, 0), (1, 0, 0), (i32::MAX, 0, 0)]
    {
        for zone in ["UTC", "Europe/Berlin", "+14:00", "-12:00"] {
            for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX, 0] {
                let mut buckets = buckets(months, days, micros, zone);
                if let Ok(start) = buckets.start(Timestamp(time)) {
                    assert!(start.0 <= time);
                }
                let _ = buckets.next(Timestamp(time));
            }
        }
    }
}

fn zones() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/Havana",
        "America/Sao_Paulo",
        "Asia/Beirut",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Europe/Dublin",
        "Antarctica/Troll",
    ])
}

/// 1960 to 2060.
fn instants() -> impl Strategy<Value = i64> {
    -315_619_200_i64 * 1_000_000..2_840_140_800_i64 * 1_000_000
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// jiff's own idea of a day and of a month.
    #[test]
    fn days_and_months_are_those_of_the_calendar(zone in zones(), time in instants()) {
        let zoned = Instant::from_microsecond(time).unwrap().in_tz(zone).unwrap();
        let day = zoned.start_of_day().unwrap();
        // Where a clock is set back over midnight the evening before comes once more, after the new day began.
        prop_assume!(day.tomorrow().unwrap().start_of_day().unwrap() > zoned);
        let mut days = buckets(0, 1, 0, zone);
        prop_assert_eq!(days.start(Timestamp(time)).unwrap().0, day.timestamp().as_microsecond());
        let tomorrow = zoned.tomorrow().unwrap().start_of_day().unwrap();
        // Apia left out a day.
        if tomorrow.date() == zoned.date().tomorrow().unwrap() {
            prop_assert_eq!(days.next(Timestamp(time)).unwrap().0, tomorrow.timestamp().as_microsecond());
        }
        let month = zoned.first_of_month().unwrap().start_of_day().unwrap();
        prop_assert_eq!(buckets(1, 0, 0, zone).start(Timestamp(time)).unwrap().0, month.timestamp().as_microsecond());
    }

    #[test]
    fn starts_never_fall_and_hold_themselves(
        zone in zones(),
        step in prop::sample::select(vec![
            (0, 0, 20 * MINUTE), (0, 0, 30 * MINUTE), (0, 0, HOUR), (0, 0, 7 * HOUR), (0, 1, 0), (0, 7, 0), (0, 1_000, 0), (0, 100_000, 0), (1, 0, 0), (5, 0, 0),
        ]),
        time in instants(),
        later in 0..40 * HOUR,
    ) {
        let mut buckets = buckets(step.0, step.1, step.2, zone);
        let start = buckets.start(Timestamp(time)).unwrap();
        prop_assert!(start.0 <= time);
        prop_assert_eq!(buckets.start(start).unwrap(), start);
        prop_assert!(buckets.start(Timestamp(time + later)).unwrap() >= start);
        let next = buckets.next(Timestamp(time)).unwrap();
        prop_assert!(next.0 > time);
        prop_assert_eq!(buckets.start(next).unwrap(), next);
        prop_assert_eq!(buckets.start(Timestamp(next.0 - 1)).unwrap(), start);
    }
}
