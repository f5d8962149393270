use std::io::Write as _;

use super::keys::KEYS;
use super::setting::Setting;
use super::sources::{Gathered, Origin};
use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn message(text: &str) -> String {
    let file = file(text);
    let error = Gathered::gather(Some(file.path()), &[], &vec![]).unwrap_err();
    error.to_string().replace(&file.path().display().to_string(), "FILE")
}

#[test]
fn the_default_file_holds_exactly_the_defaults() {
    let file = file(&print::default_file());
    let read = Gathered::gather(Some(file.path()), &[], &vec![]).unwrap();
    let defaults = Gathered::defaults();
    for key in KEYS {
        assert_eq!(read.get(key.name).0, defaults.get(key.name).0, "{}", key.name);
        assert!(matches!(read.get(key.name).1, Origin::File(..)), "{} is not in the file", key.name);
    }
    Settings::new(&defaults).unwrap();
}

#[test]
fn a_flag_goes_over_the_environment_and_that_over_the_file() {
    let file = file("shards = 2\nmemory_budget = \"2GiB\"\n[http]\nlisten = \"127.0.0.1:1\"\n");
    let env = env(&[("WATTLINE_HTTP", "127.0.0.1:2"), ("WATTLINE_SHARDS", "3")]);
    let flags = vec![("--shards".to_owned(), "shards".to_owned(), "4".to_owned())];
    let gathered = Gathered::gather(Some(file.path()), &env, &flags).unwrap();
    assert_eq!(gathered.get("shards"), &(Setting::Count(4), Origin::Flag("--shards".to_owned())));
    assert_eq!(gathered.get("http.listen").0, Setting::Text("127.0.0.1:2".to_owned()));
    assert_eq!(gathered.get("memory_budget").0, Setting::Bytes(2 << 30));
    assert_eq!(gathered.get("mqtt.listen").1, Origin::Default);
}

#[test]
fn unknown_settings_are_refused_by_name_with_the_nearest() {
    assert_eq!(
        message("memory_buget = \"1GiB\"\n"),
        "unknown setting memory_buget (FILE, line 1); did you mean memory_budget?"
    );
    assert_eq!(
        message("\n[http]\nlissen = \"127.0.0.1:1\"\n"),
        "unknown setting http.lissen (FILE, line 3); did you mean http.listen?"
    );
    assert_eq!(
        message("[htpt]\nlisten = \"a:1\"\n"),
        "unknown setting htpt.listen (FILE, line 2); did you mean http.listen?"
    );
    assert_eq!(message("b = 1\na = 2\n").lines().count(), 2, "all of them at once");
    assert_eq!(message("zzz = 1\n"), "unknown setting zzz (FILE, line 1)");
    assert!(message("listen = \"127.0.0.1:1\"").contains("did you mean"), "a section forgotten");
}

#[test]
fn malformed_values_are_refused_with_their_place() {
    assert_eq!(
        message("\nshards = \"two\"\n"),
        "setting shards (FILE, line 2): expected 0 to 1024, found a TOML string"
    );
    assert_eq!(
        message("shards = 2000"),
        "setting shards (FILE, line 1): expected a whole number from 0 to 1024"
    );
    assert_eq!(
        message("[log]\nformat = \"xml\""),
        "setting log.format (FILE, line 2): expected one of text, json"
    );
    assert!(message("shards = ").starts_with("settings file FILE, line 1: "));
    assert!(message("shards = 1\nshards = 2\n").starts_with("settings file FILE, line 2: "));
    assert!(message("shards = [1]").contains("found a TOML array"));
}

#[test]
fn strange_environment_variables_are_only_warned_about() {
    let gathered =
        Gathered::gather(None, &env(&[("WATTLINE_SHARD", "3"), ("WATTLINE_CONFIG", "x")]), &vec![]);
    assert_eq!(
        gathered.unwrap().warnings,
        ["environment variable WATTLINE_SHARD is no setting; did you mean WATTLINE_SHARDS?"]
    );
    let wrong = Gathered::gather(None, &env(&[("WATTLINE_SHARDS", "many")]), &vec![]).unwrap_err();
    assert!(wrong.to_string().starts_with("setting shards (environment WATTLINE_SHARDS): "));
}

#[test]
fn secrets_are_masked_and_every_setting_is_shown() {
    let gathered = Gathered::gather(None, &env(&[("WATTLINE_HTTP_TOKEN", "hunter2")]), &vec![]).unwrap();
    let shown = print::effective(&gathered);
    assert!(!shown.contains("hunter2"));
    assert!(shown.contains("token = \"***\" # environment WATTLINE_HTTP_TOKEN"));
    assert_eq!(shown.lines().filter(|line| line.contains(" = ")).count(), KEYS.len());
}

#[test]
fn keys_are_unique_and_every_flag_is_known() {
    for (i, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..i].iter().all(|other| other.name != key.name && other.env != key.env), "{}", key.name);
        assert!(!key.doc.is_empty());
    }
    let text = || Some("1".to_owned());
    let args = SettingsArgs {
        config: None,
        data_dir: text(),
        http: text(),
        pg: text(),
        flight: text(),
        mqtt: text(),
        mqtt_tls: text(),
        mqtt_tls_cert: text(),
        mqtt_tls_key: text(),
        shards: text(),
        memory_budget: text(),
        auto_register_devices: text(),
        auto_register_points: text(),
        log_format: text(),
        log_level: text(),
        set: vec!["http.token=a=b".to_owned()],
    };
    let flags = args.flags().unwrap();
    assert_eq!(flags.len(), 1 + KEYS.iter().filter(|key| key.flag.is_some()).count());
    assert_eq!(flags[0].2, "a=b");
}

#[test]
fn certificates_come_with_their_keys() {
    let gathered = Gathered::gather(None, &env(&[("WATTLINE_HTTP_TLS_CERT", "c.pem")]), &vec![]).unwrap();
    let error = Settings::new(&gathered).unwrap_err();
    assert_eq!(error.to_string(), "settings http.tls.cert and http.tls.key go together");
}

#[test]
fn the_budget_is_divided_and_too_small_a_one_refused() {
    let shares = MemoryShares::divide(1_000);
    assert_eq!(shares, MemoryShares { memtables: 450, queues: 100, queries: 200, directories: 50 });
    let set = env(&[("WATTLINE_SHARDS", "64"), ("WATTLINE_MEMORY_BUDGET", "128MiB")]);
    let error = Settings::new(&Gathered::gather(None, &set, &vec![]).unwrap()).unwrap_err();
    assert!(error.to_string().contains("too small for 64 shards"), "{error}");
}

#[test]
fn the_documentation_holds_the_default_file() {
    let page = include_str!("../../../docs/configuration.md");
    let start = page.find("```toml\n").expect("the page has the file") + "```toml\n".len();
    let end = start + page[start..].find("```").expect("the block ends");
    assert_eq!(&page[start..end], print::default_file(), "run `wattline config --default` into the page");
}
