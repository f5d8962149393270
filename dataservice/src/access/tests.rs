use tempfile::TempDir;
use wattline_registry::{DEFAULT_ORG, NewServiceAccount};

use super::*;

/// The time of the specification's examples.
const NOW: i64 = 1_709_596_800_000_000;

fn registry() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::open(&dir.path().join("registry")).unwrap();
    for key in ["demoKey", "otherKey"] {
        let new = NewServiceAccount {
            org: DEFAULT_ORG,
            name: key.into(),
            access_key: Some(key.into()),
            secret: Some("demoSecret".into()),
        };
        registry.create_service_account(new, "test", 0).unwrap();
    }
    (dir, registry)
}

fn request(key: &str, secret: &str, ms: i64, token: Option<&str>) -> Vec<u8> {
    let encryption = hex(&sha(&[key.as_bytes(), ms.to_string().as_bytes(), secret.as_bytes()]));
    json!({"appKey": key, "timestamp": ms, "encryption": encryption, "accessToken": token})
        .to_string()
        .into_bytes()
}

fn read(answer: &[u8]) -> (i64, String) {
    let answer: Json = serde_json::from_slice(answer).unwrap();
    assert_eq!(answer["status"], answer["code"]);
    assert_eq!(answer["business"], "apim-token-service");
    let token = answer["data"]["accessToken"].as_str().unwrap_or_default().to_owned();
    (answer["status"].as_i64().unwrap(), token)
}

/// §1.2, the request of the example, digest and all.
const EXAMPLE: &[u8] = br#"{"appKey":"demoKey","timestamp":1709596800000,
 "encryption":"31ec23c9668478b91683b51be7b4dd6c3704ac309b3b9c39ad3a975ef2b1f001"}"#;

#[test]
fn the_examples_of_the_specification() {
    let (_dir, registry) = registry();
    let access = Access::default();
    let answer: Json = serde_json::from_slice(&access.get(&registry, EXAMPLE, NOW)).unwrap();
    assert_eq!((&answer["status"], &answer["msg"]), (&json!(0), &json!("SUCCESS")));
    assert_eq!(answer["data"]["expire"], 7_200);

    let query = [("orgId".to_owned(), "o1700000000001".to_owned())];
    let call = Signed {
        token: "tok-1",
        signature: "",
        timestamp: "1709596800000",
        query: &query,
        body: br#"{"assetIds":"aX7pQ2Lm","pointIds":"wind_speed"}"#,
    };
    let expected = "22b76ee925609a3abdbc7d1d2c139b7783e58a397a8f4d9c265d1ae5e9f491e2";
    assert_eq!(hex(&signature(&call, "demoSecret")), expected);
}

#[test]
fn a_token_is_the_same_until_it_expires_and_a_request_counts_once() {
    let (_dir, registry) = registry();
    let access = Access::default();
    let (code, first) = read(&access.get(&registry, EXAMPLE, NOW));
    assert_eq!(code, 0);
    assert_eq!(read(&access.get(&registry, EXAMPLE, NOW + 1)).0, 1_001, "sent again");
    let ms = NOW / 1_000;
    let again = access.get(&registry, &request("demoKey", "demoSecret", ms + 5, None), NOW + 5_000_000);
    assert_eq!(read(&again), (0, first.clone()));
    let left: Json = serde_json::from_slice(&again).unwrap();
    assert_eq!(left["data"]["expire"], 7_195);
    let later = NOW + 7_200_000_000;
    assert!(access.bearer(&registry, &first, later).unwrap_err().0.contains("expired"));
    let next = access.get(&registry, &request("demoKey", "demoSecret", later / 1_000, None), later);
    assert_eq!(read(&next).0, 0);
    assert_ne!(read(&next).1, first);
}

#[test]
fn requests_for_tokens_are_refused_by_code() {
    let (_dir, registry) = registry();
    let access = Access::default();
    let ms = NOW / 1_000;
    for (body, code) in [
        (request("nobody", "demoSecret", ms, None), 1_002),
        (request("demoKey", "wrong", ms, None), 1_003),
        (request("demoKey", "demoSecret", ms - 901_000, None), 1_004),
        (request("demoKey", "demoSecret", ms + 901_000, None), 1_004),
        (b"[]".to_vec(), 1_004),
        (b"{".to_vec(), 1_004),
        (br#"{"appKey":"demoKey","encryption":"x","timestamp":"yesterday"}"#.to_vec(), 1_004),
        (br#"{"appKey":"demoKey","encryption":"x","timestamp":[]}"#.to_vec(), 1_004),
        (br#"{"appKey":"","encryption":"x","timestamp":1}"#.to_vec(), 1_202),
        (br#"{"appKey":"demoKey","timestamp":1}"#.to_vec(), 1_202),
        (br#"{"appKey":"demoKey","encryption":"x"}"#.to_vec(), 1_202),
    ] {
        let answer = access.get(&registry, &body, NOW);
        assert_eq!(read(&answer).0, code, "{}", String::from_utf8_lossy(&body));
    }
    let upper = String::from_utf8(EXAMPLE.to_vec()).unwrap().replace("31ec", "31EC");
    assert_eq!(read(&access.get(&registry, upper.as_bytes(), NOW)).0, 1_003);
}

#[test]
fn tokens_are_refreshed() {
    let (_dir, registry) = registry();
    let access = Access::default();
    let ms = NOW / 1_000;
    let (_, first) = read(&access.get(&registry, EXAMPLE, NOW));
    let refresh = |ms: i64, token: Option<&str>, key: &str| {
        read(&access.refresh(&registry, &request(key, "demoSecret", ms, token), ms * 1_000))
    };
    let (code, second) = refresh(ms + 1, Some(&first), "demoKey");
    assert_eq!(code, 0);
    assert_ne!(first, second);
    assert!(access.bearer(&registry, &first, NOW).is_ok(), "until it expires");
    assert_eq!(refresh(ms + 2, None, "demoKey").0, 1_202);
    assert_eq!(refresh(ms + 3, Some("unknown"), "demoKey").0, 1_204);
    assert_eq!(refresh(ms + 4, Some(&second), "otherKey").0, 1_204);
    assert_eq!(refresh(ms + 7_200_000, Some(&first), "demoKey").0, 1_203);
    let (_, third) = refresh(ms + 5, Some(&second), "demoKey");
    assert!(access.bearer(&registry, &second, NOW).is_ok() && access.bearer(&registry, &third, NOW).is_ok());
    assert!(access.bearer(&registry, &first, NOW).unwrap_err().0.contains("unknown"), "two at a time");
    assert_eq!(access.tables.lock().tokens.len(), 2);
}

#[test]
fn signed_calls_are_let_in_and_forged_ones_are_not() {
    let (_dir, registry) = registry();
    let access = Access::default();
    let (_, token) = read(&access.get(&registry, EXAMPLE, NOW));
    let query = [("orgId", "o1"), ("action", "delete")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let timestamp = (NOW / 1_000).to_string();
    let text = format!("{token}actiondeleteorgIdo1{{}}{timestamp}demoSecret");
    let good = hex(&sha(&[text.as_bytes()]));
    let call = Signed { token: &token, signature: &good, timestamp: &timestamp, query: &query, body: b"{}" };
    assert_eq!(access.signed(&registry, &call, NOW).unwrap().access_key, "demoKey");
    let refused = |call: Signed<'_>, now: i64| access.signed(&registry, &call, now).unwrap_err().0;
    assert!(refused(Signed { body: b"{ }", ..call }, NOW).contains("signature"));
    assert!(refused(Signed { query: &query[..1], ..call }, NOW).contains("signature"));
    assert!(refused(Signed { signature: "", ..call }, NOW).contains("signature"));
    assert!(refused(Signed { token: "x", ..call }, NOW).contains("unknown"));
    assert!(refused(call, NOW + CLOCK_SKEW_MICROS + 1).contains("timestamp"));
    assert!(refused(call, NOW + 7_200_000_000).contains("expired"));
    registry.revoke_service_account("demoKey", "test", 1).unwrap();
    assert!(refused(call, NOW).contains("revoked"));
}

#[test]
fn a_full_table_of_requests_refuses_and_forgets_with_time() {
    let mut tables = Tables::default();
    for i in 0..REPLAYS_MAX as u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&i.to_le_bytes());
        tables.remember(key, NOW).unwrap();
    }
    assert_eq!(tables.remember([255; 32], NOW).unwrap_err().0, Code::Service);
    let later = NOW + 2 * CLOCK_SKEW_MICROS;
    tables.remember([255; 32], later).unwrap();
    assert_eq!(tables.seen.len(), 1);
}
