use super::*;

#[test]
fn json_is_compacted_without_being_rewritten() {
    let mut out = String::new();
    let commas = compact("{ \"a b\" : [1 , 2.50],\n\"c\\\" , \":\t-0.0e5 }", &mut out);
    assert_eq!((out.as_str(), commas), ("{\"a b\":[1,2.50],\"c\\\" , \":-0.0e5}", 1));
}

#[test]
fn floats_stand_for_whole_numbers_only_where_they_are_exact() {
    assert_eq!(whole_float(9_007_199_254_740_992.0), Some(9_007_199_254_740_992));
    assert_eq!(whole_float(9_007_199_254_740_994.0), None);
    assert_eq!(whole_float(f64::NAN), None);
    assert_eq!(whole_float(-0.0), Some(0));
}

#[test]
fn the_future_ends_at_the_models_limit_whatever_the_setting() {
    assert_eq!(time_max(Timestamp(5), 10), Timestamp(15));
    assert_eq!(time_max(Timestamp(5), i64::MAX), Timestamp(TIME_MAX_MICROS));
    assert_eq!(time_max(Timestamp(5), -3), Timestamp(5));
}

#[test]
fn quotes_end_at_a_character() {
    assert_eq!(quote(&"ü".repeat(100)).len(), QUOTE_BYTES_MAX);
    assert_eq!(quote(&format!("x{}", "ü".repeat(100))).len(), QUOTE_BYTES_MAX - 1);
}
