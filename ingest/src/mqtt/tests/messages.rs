use super::*;

#[tokio::test]
async fn acknowledged_means_visible_and_the_reply_says_200() {
    let server = Server::start().await;
    for (i, version) in BOTH.into_iter().enumerate() {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        assert_eq!(client.subscribe(&["/sys/pkT/dkT/thing/measurepoint/post_reply"]).await, [1]);
        let value = 1520.5 + i as f64;
        let payload =
            post(&format!(r#"{{"ActPower":{{"value":{value},"quality":1}},"Speed":0.1}}"#), T + i as i64);
        assert_eq!(client.publish(POST, 7, &payload).await, 0);
        // Before anything else is read: the acknowledgement is there, so must be the value.
        assert_eq!(server.latest("pkT", "dkT", "ActPower"), Some((T + i as i64, Value::Float(value))));
        let (topic, reply) = client.reply().await;
        assert_eq!(topic, format!("{POST}_reply"));
        assert_eq!(reply, serde_json::json!({"id": "41", "code": 200, "data": {}}));
    }
    assert_eq!(server.counter("wattline_ingest_samples_total", ""), 4);
    assert_eq!(server.counter("wattline_ingest_messages_total", "200"), 2);
    server.stop().await;
}

#[tokio::test]
async fn refusals_name_field_and_reason_and_change_nothing() {
    let server = Server::start().await;
    for version in BOTH {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        client.subscribe(&["/sys/pkT/dkT/#"]).await;
        for (payload, code, says) in [
            (post(r#"{"Nope":1}"#, T), 1204, "params.measurepoints.Nope"),
            (post(r#"{"Temp":"hot"}"#, T), 1206, "params.measurepoints.Temp"),
            (post(r#"{"Temp":1}"#, -62_135_596_800_000), 1206, "params.time"),
            (post(r#"{"Temp":1}"#, 253_402_300_799_000), 1206, "params.time"),
            (post(r#"{"Temp":NaN}"#, T), 1220, "line 1 column"),
            ("{".to_owned(), 1220, "line 1 column"),
            (String::new(), 1251, "empty"),
            (post("{}", T), 1251, "empty"),
            (
                post(r#"{"Temp":1}"#, T).replace("thing.measurepoint.post", "thing.tag.update"),
                1260,
                "thing.tag.update",
            ),
        ] {
            let reason = client.publish(POST, 3, &payload).await;
            assert_eq!(reason, if version == Version::V5 { 0x99 } else { 0 }, "{payload}");
            let (_, reply) = client.reply().await;
            assert_eq!(reply["code"], code, "{payload}: {reply}");
            assert!(reply["message"].as_str().unwrap().contains(says), "{payload}: {reply}");
        }
        assert_eq!(client.publish(POST, 4, &post(r#"{"Temp":1}"#, T)).await, 0, "the connection lives on");
        assert_eq!(client.reply().await.1["code"], 200);
    }
    assert_eq!(server.counter("wattline_ingest_samples_total", ""), 2);
    assert_eq!(server.counter("wattline_ingest_rejects_total", "1206"), 6);
    server.stop().await;
}

#[tokio::test]
async fn qos_0_is_stored_and_answered_too() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V311, "pkT", "dkT").await;
    client.subscribe(&["/sys/pkT/dkT/#"]).await;
    let packet = publish_packet(Version::V311, POST, 0, 0, post(r#"{"Temp":8.5}"#, T).as_bytes());
    client.send(&packet).await;
    assert_eq!(client.reply().await.1["code"], 200);
    assert_eq!(server.latest("pkT", "dkT", "Temp"), Some((T, Value::Float(8.5))));
    server.stop().await;
}

#[tokio::test]
async fn pipelined_messages_and_single_bytes_come_to_the_same() {
    let server = Server::start().await;
    for version in BOTH {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        let messages: Vec<u8> = (1..=40)
            .flat_map(|i| {
                let payload = post(&format!(r#"{{"Temp":{i},"Total":{i}}}"#), T + i64::from(i));
                publish_packet(version, POST, 1, i, payload.as_bytes())
            })
            .collect();
        client.send(&messages).await;
        for i in 1..=40 {
            assert_eq!(client.puback(i).await, 0, "in the order sent");
        }
        assert_eq!(server.latest("pkT", "dkT", "Total"), Some((T + 40, Value::Int(40))));
        for byte in publish_packet(version, POST, 1, 99, post(r#"{"Count":5}"#, T).as_bytes()) {
            client.send(&[byte]).await;
            client.stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(client.puback(99).await, 0);
        assert_eq!(server.latest("pkT", "dkT", "Count"), Some((T, Value::Int(5))));
    }
    server.stop().await;
}

#[tokio::test]
async fn resume_and_batches_go_by_their_flags() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V311, "pkG", "dkG").await;
    client.subscribe(&["/sys/pkG/dkG/thing/#", "/ext/session/pkG/dkG/#"]).await;
    let batch = |flags: &str, method: &str| {
        format!(
            r#"{{"id":42,{flags}"method":"thing.measurepoint.{method}.batch","params":[
            {{"productKey":"pkS","deviceKey":"dkS1","measurepoints":{{"Temp":1.5}},"time":{T}}},
            {{"measurepoints":{{"Temp":2.5,"Nope":3}},"time":{T}}}]}}"#
        )
    };
    let topic = |method: &str| format!("/sys/pkG/dkG/thing/measurepoint/{method}/batch");
    for (flags, code) in [
        ("", 1212),
        (r#""skipInvalidMeasurepoints":true,"#, 1212),
        (r#""allowOfflineSubDevice":true,"#, 1204),
    ] {
        client.publish(&topic("post"), 1, &batch(flags, "post")).await;
        let (reply_topic, reply) = client.reply().await;
        assert_eq!(reply_topic, format!("{}_reply", topic("post")));
        assert_eq!((&reply["code"], &reply["id"]), (&code.into(), &"42".into()), "{flags}");
    }
    assert_eq!(server.latest("pkS", "dkS1", "Temp"), None);
    let both = r#""allowOfflineSubDevice":true,"skipInvalidMeasurepoints":true,"#;
    client.publish(&topic("resume"), 2, &batch(both, "resume")).await;
    let (_, reply) = client.reply().await;
    assert_eq!(reply["code"], 200);
    assert!(reply["message"].as_str().unwrap().contains("params[1].measurepoints.Nope"), "{reply}");
    assert_eq!(server.latest("pkS", "dkS1", "Temp"), Some((T, Value::Float(1.5))));
    assert_eq!(server.latest("pkG", "dkG", "Temp"), Some((T, Value::Float(2.5))));
    assert_eq!(server.counter("wattline_ingest_skipped_points_total", ""), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_gateway_logs_its_sub_devices_in_and_out() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V311, "pkG", "dkG").await;
    client.subscribe(&["/sys/pkG/dkG/#", "/ext/session/pkG/dkG/#"]).await;
    let own = "/sys/pkS/dkS1/thing/measurepoint/post";
    let login = |secret: &str| {
        let sign = password("sub", "dkS1", "pkS", secret);
        format!(
            r#"{{"id":"9","version":"1.1","method":"combine.login","params":{{"productKey":"pkS","deviceKey":"dkS1",
            "clientId":"sub","timestamp":"1767225600000","signMethod":"sha256","secureMode":"2","sign":"{sign}","cleanSession":"true"}}}}"#
        )
    };
    let topic = "/ext/session/pkG/dkG/combine/login";
    client.publish(topic, 1, &login("wrong")).await;
    assert_eq!(client.reply().await.1["code"], 742);
    client.publish(topic, 1, &login("s3cr3tDemo")).await;
    let (_, reply) = client.reply().await;
    assert_eq!((&reply["code"], &reply["data"]["deviceKey"]), (&200.into(), &"dkS1".into()), "{reply}");
    // Online: named in a batch without a flag, and by its own topic, whose replies may be heard now.
    assert_eq!(client.subscribe(&["/sys/pkS/dkS1/#"]).await, [1]);
    client.publish(own, 2, &post(r#"{"Temp":4}"#, T)).await;
    let (topic_of_reply, reply) = client.reply().await;
    assert_eq!((topic_of_reply, &reply["code"]), (format!("{own}_reply"), &200.into()));
    let batch = r#"{"params":[{"productKey":"pkS","deviceKey":"dkS1","measurepoints":{"Temp":5}}]}"#;
    client.publish("/sys/pkG/dkG/thing/measurepoint/post/batch", 3, batch).await;
    assert_eq!(client.reply().await.1["code"], 200);
    let logout = r#"{"id":"10","params":{"productKey":"pkS","deviceKey":"dkS1"}}"#;
    client.publish("/ext/session/pkG/dkG/combine/logout", 4, logout).await;
    assert_eq!(client.reply().await.1["code"], 200);
    client.publish("/sys/pkG/dkG/thing/measurepoint/post/batch", 5, batch).await;
    assert_eq!(client.reply().await.1["code"], 1212);
    server.stop().await;
}

#[tokio::test]
async fn a_batch_login_says_who_failed() {
    let server = Server::start().await;
    let mut client = Client::login(&server, Version::V311, "pkG", "dkG").await;
    client.subscribe(&["/ext/session/pkG/dkG/#"]).await;
    let entry = |device: &str, secret: &str| {
        let sign = password("b", device, "pkS", secret);
        format!(r#"{{"productKey":"pkS","deviceKey":"{device}","secureMode":2,"sign":"{sign}"}}"#)
    };
    let payload = format!(
        r#"{{"id":"1","method":"combine.login.batch","params":{{"clientId":"b","timestamp":1767225600000,"signMethod":"sha256",
        "subDevices":[{},{}]}}}}"#,
        entry("dkS1", "s3cr3tDemo"),
        entry("dkS2", "wrong")
    );
    client.publish("/ext/session/pkG/dkG/combine/login/batch", 1, &payload).await;
    let (_, reply) = client.reply().await;
    assert_eq!(reply["code"], 742, "{reply}");
    assert_eq!(reply["data"]["loginedSubDevices"][0]["deviceKey"], "dkS1");
    assert_eq!(reply["data"]["failedSubDevices"][0]["deviceKey"], "dkS2");
    assert!(reply["message"].as_str().unwrap().starts_with("pkS&dkS2 has error: "), "{reply}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let server = Server::start().await;
    for version in BOTH {
        let mut client = Client::login(&server, version, "pkT", "dkT").await;
        client.subscribe(&["/sys/pkT/dkT/#"]).await;
        for topic in
            ["thing/event/a/b/post", "thing/attribute/update", "thing/tag/query", "ota/device/inform"]
        {
            let topic = format!("/sys/pkT/dkT/{topic}");
            let reason = client.publish(&topic, 1, r#"{"id":"1"}"#).await;
            assert_eq!(reason, if version == Version::V5 { 0x83 } else { 0 });
            let (reply_topic, reply) = client.reply().await;
            assert_eq!((reply_topic, &reply["code"]), (format!("{topic}_reply"), &1101.into()));
            assert!(reply["message"].as_str().unwrap().contains("not supported yet"), "{reply}");
        }
        // The device's answers to us are acknowledged, not answered.
        client.publish("/sys/pkT/dkT/thing/service/measurepoint/set_reply", 2, "{}").await;
        client.send(&[0xC0, 0]).await;
        assert_eq!(client.read().await, Some(Packet { first: 0xD0, body: vec![] }));
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_points_join_the_model_where_the_operator_allows_it() {
    let settings = IngestSettings { auto_register_points: true, ..IngestSettings::default() };
    let server = Server::start_with(settings, MqttSettings::default(), None).await;
    let mut client = Client::login(&server, Version::V311, "pkT", "dkT").await;
    client.subscribe(&["/sys/pkT/dkT/#"]).await;
    client.publish(POST, 1, &post(r#"{"Temp":1,"NewOne":2.5,"NewFlag":true}"#, T)).await;
    assert_eq!(client.reply().await.1["code"], 200);
    assert_eq!(server.latest("pkT", "dkT", "NewOne"), Some((T, Value::Float(2.5))));
    assert_eq!(server.latest("pkT", "dkT", "NewFlag"), Some((T, Value::Bool(true))));
    assert_eq!(server.counter("wattline_ingest_auto_registered_points_total", ""), 2);
    // A key no model can have is refused, and the connection goes on.
    client.publish(POST, 2, &post(r#"{"Temp":2,"not a key!":2.5}"#, T + 1)).await;
    let (_, reply) = client.reply().await;
    assert_eq!(reply["code"], 1204, "{reply}");
    client.publish(POST, 3, &post(r#"{"NewOne":3.5}"#, T + 2)).await;
    assert_eq!(client.reply().await.1["code"], 200);
    assert_eq!(server.latest("pkT", "dkT", "Temp"), Some((T, Value::Float(1.0))));
    server.stop().await;
}

#[tokio::test]
async fn messages_go_down_to_devices_and_through_their_gateways_and_answers_come_back() {
    let server = Server::start().await;
    let (device, other) = (server.plant.device("pkT", "dkT").asset, server.plant.device("pkS", "dkS1").asset);
    let ingestor = server.ingestor.clone();
    let ask = |asset, topic: &str, id: &'static str, ms| {
        let (ingestor, topic) = (ingestor.clone(), topic.to_owned());
        tokio::spawn(async move {
            ingestor.ask(asset, topic, id, b"{}".to_vec(), Duration::from_millis(ms)).await
        })
    };
    let set = "/sys/pkT/dkT/thing/service/measurepoint/set";
    assert_eq!(ask(device, set, "1", 5_000).await.unwrap(), Err(crate::Unanswered::Unreachable));
    let mut client = Client::login(&server, Version::V311, "pkT", "dkT").await;
    // It never subscribed, as the published SDKs do not.
    let asked = ask(device, set, "2", 10_000);
    assert_eq!(client.reply().await.0, set);
    client.publish(&format!("{set}_reply"), 1, r#"{"id":"2","code":"1101","message":"no handler"}"#).await;
    let told = asked.await.unwrap().unwrap();
    assert_eq!((told.code, told.message.as_deref()), (1101, Some("no handler")));
    assert_eq!(ask(device, set, "3", 50).await.unwrap(), Err(crate::Unanswered::TimedOut));

    let mut gateway = Client::login(&server, Version::V311, "pkG", "dkG").await;
    assert!(!ingestor.reaches(other));
    gateway.subscribe(&["/ext/session/pkG/dkG/#"]).await;
    let login = combine_login("dkS1");
    gateway.publish("/ext/session/pkG/dkG/combine/login", 2, &login).await;
    assert_eq!(gateway.reply().await.1["code"], 200);
    assert!(ingestor.reaches(other));
    let get = "/sys/pkS/dkS1/thing/service/measurepoint/get";
    let asked = ask(other, get, "4", 10_000);
    assert_eq!(gateway.reply().await.0, get);
    gateway.publish(&format!("{get}_reply"), 3, r#"{"id":4,"code":200,"data":{"Temp":23}}"#).await;
    assert_eq!(asked.await.unwrap().unwrap().data, serde_json::json!({"Temp": 23}));
    drop(gateway);
    timeout(WAIT, async {
        while ingestor.reaches(other) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    server.stop().await;
}

/// A login of sub-device `key` of `pkS` that is signed right.
fn combine_login(key: &str) -> String {
    let sign = password("sub", key, "pkS", "s3cr3tDemo");
    format!(
        r#"{{"id":"9","version":"1.1","method":"combine.login","params":{{"productKey":"pkS","deviceKey":"{key}",
        "clientId":"sub","timestamp":"1767225600000","signMethod":"sha256","secureMode":"2","sign":"{sign}"}}}}"#
    )
}
