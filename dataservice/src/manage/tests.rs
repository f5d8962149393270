use serde_json::{Value as Json, json};
use wattline_model::{DataType, SignalType};
use wattline_registry::{
    Attribute, DEFAULT_ORG, Grant, Holder, NewDevice, NewModel, NewOrg, NewPoint, NewProduct,
    NewServiceAccount, Registry,
};

use super::*;
use crate::params::Version;

/// Organization `default` with model `TurbineModel` (attributes `hub_height`, required, and `owner`), product `pk02` with
/// devices `wt-07` (asset `aX7pQ2Lm`) and `wt-08` (`bK3dR9Tz`); `o2` with the asset `elsewhere`.
pub(super) struct Plant {
    pub(super) registry: Registry,
    _dir: tempfile::TempDir,
}

pub(super) fn attribute(key: &str, data_type: DataType, required: bool) -> Attribute {
    let (enum_ints, enum_texts) = (Vec::new(), Vec::new());
    Attribute { key: key.into(), name: String::new(), data_type, required, unit: None, enum_ints, enum_texts }
}

impl Plant {
    pub(super) fn new() -> Plant {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        let other = registry.create_org(NewOrg { key: "o2".into(), name: String::new() }).unwrap();
        for (org, product) in [(DEFAULT_ORG, "pk02"), (other.id, "pk2")] {
            let mut speed = NewPoint::new("wind_speed", DataType::Double);
            speed.signal = SignalType::Ai;
            let points = vec![speed];
            let model =
                NewModel { org, key: "TurbineModel".into(), name: String::new(), parent: None, points };
            let attributes = vec![
                attribute("hub_height", DataType::Int, true),
                attribute("owner", DataType::String, false),
            ];
            registry.create_model_with(model, attributes, "test", 0).unwrap();
            let new = NewProduct {
                org,
                key: Some(product.into()),
                name: "turbines".into(),
                model_key: "TurbineModel".into(),
                secret: None,
                dynamic_activation: false,
                require_certificate: false,
                gateway: false,
            };
            registry.create_product(new).unwrap();
        }
        for (product, device, asset) in
            [("pk02", "wt-07", "aX7pQ2Lm"), ("pk02", "wt-08", "bK3dR9Tz"), ("pk2", "x", "elsewhere")]
        {
            let new = NewDevice {
                product_key: product.into(),
                device_key: Some(device.into()),
                asset_key: Some(asset.into()),
                timezone: "+08:00".into(),
                attributes: [("hub_height".to_owned(), json!(80))].into(),
                ..NewDevice::default()
            };
            registry.create_device(new).unwrap();
        }
        Plant { registry, _dir: dir }
    }

    /// A call of whoever belongs to the default organization: path, method and query as in the documentation, the body.
    fn call(&self, call: &str, body: &Json) -> (Json, Vec<Effect>) {
        self.call_as(&Caller::of_organization(DEFAULT_ORG), call, body)
    }

    fn call_as(&self, caller: &Caller, call: &str, body: &Json) -> (Json, Vec<Effect>) {
        let (method, rest) = call.split_once(' ').unwrap();
        let (path, query) = rest.split_once('?').unwrap();
        let mut pairs: Vec<(String, String)> = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if !query.contains("orgId=") {
            pairs.push(("orgId".to_owned(), "default".to_owned()));
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answered = Params::from_json(Version::V21, pairs, &body).and_then(|params| {
            let operation = Operation::find(path, method == "POST", params.text("action"))?;
            let request = Request {
                params: &params,
                body: &body,
                caller,
                operator: "demoKey",
                now_micros: 1_709_596_800_000_000,
                is_online: &|asset| asset == AssetId(1),
            };
            manage(&self.registry, operation, &request)
        });
        let done = answered.unwrap_or_else(|error| Done::from(error.managed_body()));
        let answer: Json = serde_json::from_slice(&done.body).unwrap();
        assert_eq!(answer["requestId"].as_str().map(str::len), Some(36), "{answer}");
        (answer, done.effects)
    }

    fn ok(&self, call: &str, body: Json) -> Json {
        let (answer, _) = self.call(call, &body);
        assert_eq!((&answer["code"], &answer["msg"]), (&json!(0), &json!("OK")), "{call}: {answer}");
        answer["data"].clone()
    }

    #[track_caller]
    fn refused(&self, call: &str, body: Json, code: u32) -> String {
        let (answer, effects) = self.call(call, &body);
        assert_eq!(answer["code"], code, "{call} {body}: {answer}");
        assert!(answer["data"].is_null() && effects.is_empty());
        answer["msg"].as_str().unwrap().to_owned()
    }
}

const ASSET: &str = "/asset-service/v2.1/assets";
const TREE: &str = "/asset-tree-service/v2.1/asset-trees";
const NODE: &str = "/asset-tree-service/v2.1/asset-nodes";
const PATH: &str = "/asset-tree-service/v2.1/asset-paths";
const DEVICE: &str = "/connect-service/v2.1/devices";
const MODEL: &str = "/model-service/v2.1/thing-models";

fn keys(items: &Json) -> Vec<&str> {
    items.as_array().unwrap().iter().map(|item| item["assetId"].as_str().unwrap()).collect()
}

#[test]
fn an_asset_is_updated_as_the_documentation_has_it() {
    let plant = Plant::new();
    // The specification's example of §7.1, as printed there.
    let body = json!({"asset":{"assetId":"aX7pQ2Lm","attributes":{"hub_height":90},"tags":{"farm":"A"}}});
    let update = format!("POST {ASSET}?action=update&orgId=default&isPatchUpdate=true");
    assert!(plant.ok(&update, body.clone()).is_null());
    let get = format!("GET {ASSET}?action=get&assetId=aX7pQ2Lm");
    let data = plant.ok(&get, Json::Null);
    assert_eq!(
        data,
        json!({"assetId": "aX7pQ2Lm", "orgId": "default", "modelId": "TurbineModel", "modelIdPath": "/TurbineModel",
               "name": {"defaultValue": "wt-07", "i18nValue": {}}, "description": null, "desc": null,
               "timezone": "+08:00", "attributes": {"hub_height": 90}, "tags": {"farm": "A"}})
    );
    let name = json!({"asset":{"assetId":"aX7pQ2Lm","name":{"defaultValue":"WT 7","i18nValue":{"zh_CN":"七"}},
                      "attributes":{"owner":"us"}}});
    plant.ok(&format!("POST {ASSET}?action=update"), name);
    let data = plant.ok(&get, Json::Null);
    assert_eq!(data["attributes"], json!({"hub_height": 90, "owner": "us"}), "a patch by default");
    assert_eq!((&data["name"]["i18nValue"]["zh_CN"], &data["tags"]["farm"]), (&json!("七"), &json!("A")));

    let whole = format!("POST {ASSET}?action=update&isPatchUpdate=false");
    plant.refused(&whole, json!({"asset":{"assetId":"aX7pQ2Lm","tags":{}}}), 99_400);
    plant.ok(&whole, json!({"asset":{"assetId":"aX7pQ2Lm","attributes":{"hub_height":70}}}));
    let data = plant.ok(&get, Json::Null);
    assert_eq!(data["attributes"], json!({"hub_height": 70}));
    assert_eq!(data["name"], json!({"defaultValue": "wt-07", "i18nValue": {}}));
    assert_eq!((&data["tags"], &data["timezone"]), (&json!({}), &json!("+08:00")));

    for (attributes, part) in [
        (json!({"hub_height": "high"}), "hub_height"),
        (json!({"colour": "red"}), "colour"),
        (json!({"hub_height": null}), "required"),
    ] {
        let body = json!({"asset": {"assetId": "aX7pQ2Lm", "attributes": attributes}});
        let message = plant.refused(&update, body, 12_958);
        assert!(message.contains(part), "{message}");
    }
    plant.refused(&update, json!({"asset": {"assetId": "elsewhere", "tags": {}}}), 99_404);
    plant.refused(&update, json!({"asset": {"assetId": "aX7pQ2Lm", "timezone": "Mars"}}), 99_400);
    plant.refused(&update, json!({"asset": {"tags": {}}}), 99_400);
    plant.refused(&update, json!({}), 99_400);
    plant.refused(&update, json!({"asset": "aX7pQ2Lm"}), 99_400);
    plant.refused(&format!("POST {ASSET}?action=update&orgId=o2"), body, 99_403);
    let noted = plant.registry.audit(0, 1).unwrap().remove(0);
    assert_eq!((noted.operator.as_str(), noted.action.as_str()), ("demoKey", "change asset"));
}

#[test]
fn logical_assets_are_made_found_and_removed() {
    let plant = Plant::new();
    let new = |name: &str| {
        json!({"asset": {"modelId": "TurbineModel", "name": {"defaultValue": name, "i18nValue": {"en_US": name}},
               "timezone": "Asia/Shanghai", "attributes": {"hub_height": 1}, "tags": {"kind": "site"}}})
    };
    let create = format!("POST {ASSET}?action=create");
    let north = plant.ok(&create, new("North"));
    plant.ok(&create, new("South"));
    let search = format!("POST {ASSET}?action=search");
    let body =
        json!({"expression": "tags.kind = 'site' and name like 'nor'", "projection": ["assetId", "name"]});
    let (answer, _) = plant.call(&search, &body);
    assert_eq!(answer["pagination"], json!({"sortedBy": null, "pageNo": 1, "pageSize": 10, "totalSize": 1}));
    let name = json!({"defaultValue": "North", "i18nValue": {"en_US": "North"}});
    assert_eq!(answer["data"], json!([{"assetId": north, "name": name}]));
    let all = plant.ok(&search, json!({}));
    assert_eq!(keys(&all).len(), 4, "devices are assets, those of others are not there");
    assert!(!keys(&all).contains(&"elsewhere"));

    let delete = format!("POST {ASSET}?action=delete&assetId={}", north.as_str().unwrap());
    let (answer, effects) = plant.call(&delete, &Json::Null);
    assert_eq!((answer["code"].as_i64(), effects.len()), (Some(0), 2));
    plant.refused(&delete, Json::Null, 99_404);
    plant.refused(&format!("POST {ASSET}?action=delete&assetId=aX7pQ2Lm"), Json::Null, 99_400);
    for missing in ["modelId", "name", "timezone"] {
        let mut body = new("x");
        body["asset"].as_object_mut().unwrap().remove(missing);
        assert!(plant.refused(&create, body, 99_400).contains(missing));
    }
    let mut unknown = new("x");
    unknown["asset"]["modelId"] = "none".into();
    plant.refused(&create, unknown, 99_404);
    plant.refused(&format!("POST {ASSET}?action=frobnicate"), Json::Null, 99_400);
    plant.refused(&format!("GET {ASSET}?action=create"), Json::Null, 99_400);
    plant.refused(&search, json!({"expression": "name >"}), 99_400);
}

#[test]
fn a_tree_is_made_filled_moved_and_told() {
    let plant = Plant::new();
    let asset = |name: &str| {
        json!({"modelId": "TurbineModel", "name": {"defaultValue": name}, "timezone": "+12:00",
               "attributes": {"hub_height": 1}})
    };
    let body = json!({"asset": asset("root"), "tree": {"name": {"defaultValue": "sites"}}});
    let tree = plant.ok(&format!("POST {TREE}?action=create"), body);
    let tree = tree.as_str().unwrap();
    let told = plant.ok(&format!("GET {TREE}?action=get&treeId={tree}"), Json::Null);
    assert_eq!((&told["treeId"], &told["name"]["defaultValue"]), (&json!(tree), &json!("sites")));
    let root = told["asset"]["assetId"].as_str().unwrap().to_owned();
    let node = |action: &str, rest: &str| format!("POST {NODE}?action={action}&treeId={tree}{rest}");
    let below = |parent: &str, rest: &str| node("associateAsset", &format!("&parentAssetId={parent}{rest}"));
    // As in the documentation, a device may be named by its keys.
    let placed = plant.ok(&below(&root, "&productKey=pk02&deviceKey=wt-07"), Json::Null);
    assert_eq!(placed, "aX7pQ2Lm");
    let line =
        plant.ok(&node("createAsset", &format!("&parentAssetId={root}")), json!({"asset": asset("line")}));
    let line = line.as_str().unwrap();
    let list = json!({"assetIdentifiersVoList": [{"assetId": "bK3dR9Tz"}]});
    plant.ok(&node("associateAssetBatch", &format!("&parentAssetId={line}")), list);

    let related = |filter: Json| plant.ok(&node("searchRelatedAsset", ""), json!({"filter": filter}));
    assert_eq!(keys(&related(json!({"isChildOfAssetId": root}))), ["aX7pQ2Lm", line]);
    assert_eq!(keys(&related(json!({"isParentOfAssetId": "bK3dR9Tz"}))), [line]);
    assert_eq!(keys(&related(json!({"isAncestorOfAssetId": "bK3dR9Tz"}))), [root.as_str(), line]);
    assert_eq!(keys(&related(json!({"isDescendantOfAssetId": root}))), ["aX7pQ2Lm", line, "bK3dR9Tz"]);
    let paths = format!("POST {PATH}?action=search&treeId={tree}");
    let told = plant.ok(&paths, json!({"projection": ["assets.*.attributes", "assetPaths"]}));
    assert_eq!(told["assetPaths"], json!([[root, "aX7pQ2Lm"], [root, line, "bK3dR9Tz"]]));
    assert_eq!(told["assets"]["bK3dR9Tz"], json!({"attributes": {"hub_height": 80}}));
    let to = json!({"to": {"assetIds": ["bK3dR9Tz"]}, "from": {"assetIds": [line]}});
    assert_eq!(plant.ok(&paths, to)["assetPaths"], json!([[line, "bK3dR9Tz"]]));
    let ends = json!({"to": {"assetIds": ["bK3dR9Tz"]}, "pathProjection": "END_NODE_ONLY"});
    assert_eq!(plant.ok(&paths, ends)["assetPaths"], json!([[root, "bK3dR9Tz"]]));
    let found =
        plant.ok(&node("searchAsset", ""), json!({"filter": {"treeId": tree, "nameLike": {"value": "LIN"}}}));
    assert_eq!(keys(&found), [line]);
    let with = plant.ok(&format!("POST {TREE}?action=search"), json!({"filter": {"assetIds": ["bK3dR9Tz"]}}));
    assert_eq!(with[0]["treeId"], tree);

    let shift = |asset: &str, parent: &str| node("move", &format!("&assetId={asset}&parentAssetId={parent}"));
    plant.refused(&shift(line, "bK3dR9Tz"), Json::Null, 17_768);
    plant.refused(&shift(&root, line), Json::Null, 17_764);
    plant.ok(&shift("aX7pQ2Lm", line), Json::Null);
    assert_eq!(keys(&related(json!({"isChildOfAssetId": line}))), ["aX7pQ2Lm", "bK3dR9Tz"]);
    plant.refused(&below(&root, "&assetId=aX7pQ2Lm"), Json::Null, 17_758);
    plant.refused(&below(&root, "&assetId=elsewhere"), Json::Null, 99_404);
    plant.refused(&below("aX7pQ2Lm", ""), Json::Null, 99_400);
    let remove = |asset: &str| node("delete", &format!("&assetId={asset}"));
    plant.refused(&remove(line), Json::Null, 17_766);
    plant.refused(&remove(&root), Json::Null, 17_764);
    plant.refused(&format!("POST {TREE}?action=delete&treeId={tree}"), Json::Null, 17_800);
    plant.refused(&format!("GET {TREE}?action=get&treeId=none"), Json::Null, 17_404);
    // Below the seventh layer nothing is made, and nothing is left of it.
    let mut parent = line.to_owned();
    for layer in 3..=7 {
        let made = plant
            .ok(&node("createAsset", &format!("&parentAssetId={parent}")), json!({"asset": asset("deep")}));
        made.as_str().unwrap_or_else(|| panic!("{layer}")).clone_into(&mut parent);
    }
    let count = plant.registry.device_count();
    let deeper = node("createAsset", &format!("&parentAssetId={parent}"));
    plant.refused(&deeper, json!({"asset": asset("deeper")}), 17_770);
    assert_eq!(plant.registry.device_count(), count);
}

#[test]
fn devices_are_made_found_shut_out_and_removed() {
    let plant = Plant::new();
    let create = format!("POST {DEVICE}?action=create");
    // The specification's example of §7.4, and the attribute that the model requires.
    let body = json!({"productKey":"pk02","deviceKey":"wt-09","timezone":"+08:00",
                      "deviceName":{"defaultValue":"WT 09","i18nValue":{}},"deviceAttributes":{"hub_height":90}});
    let made = plant.ok(&create, body.clone());
    assert_eq!((&made["productKey"], &made["deviceKey"]), (&json!("pk02"), &json!("wt-09")));
    assert!(made["deviceSecret"].as_str().unwrap().len() >= 22);
    plant.refused(&create, body.clone(), 11_702);
    let without = |member: &str| {
        let mut body = body.clone();
        body.as_object_mut().unwrap().remove(member);
        body
    };
    plant.refused(&create, without("timezone"), 99_400);
    plant.refused(&create, without("deviceName"), 99_400);
    plant.refused(&create, without("productKey"), 99_400);
    let free = |mut body: Json| {
        body["deviceKey"] = "wt-10".into();
        body
    };
    plant.refused(&create, free(without("deviceAttributes")), 12_958);
    let mut foreign = free(body.clone());
    foreign["productKey"] = "pk2".into();
    plant.refused(&create, foreign, 99_404);
    let generated = plant.ok(&create, without("deviceKey"));
    assert_eq!(generated["deviceKey"].as_str().unwrap().len(), 8);

    let search = |body: Json| plant.ok(&format!("POST {DEVICE}?action=search"), body);
    let found =
        search(json!({"expression": "deviceKey in ('wt-07','wt-09','x') and productType = 'Device'"}));
    let names: Vec<&str> =
        found.as_array().unwrap().iter().map(|d| d["deviceKey"].as_str().unwrap()).collect();
    assert_eq!(names, ["wt-09", "wt-07"], "the newest first, none of another organization");
    assert!(found[0].get("deviceSecret").is_none());
    assert_eq!(keys(&search(json!({"expression": "status = 'online'"}))), ["aX7pQ2Lm"]);
    assert_eq!(
        keys(&search(json!({"expression": "deviceAttributes.hub_height = 90 and deviceName like 'wt 0'"})))
            .len(),
        2,
        "the one whose key was generated, too"
    );

    let act =
        |action: &str, of: &str| plant.call(&format!("POST {DEVICE}?action={action}&{of}"), &Json::Null);
    let (answer, effects) = act("disable", "productKey=pk02&deviceKey=wt-07");
    assert_eq!((answer["code"].as_i64(), effects), (Some(0), vec![Effect::EndSession(AssetId(1))]));
    let get = format!("GET {DEVICE}?action=get&assetId=aX7pQ2Lm");
    assert_eq!(plant.ok(&get, Json::Null)["status"], "disable");
    assert!(plant.ok(&get, Json::Null)["deviceSecret"].is_string());
    let (answer, effects) = act("enable", "assetId=aX7pQ2Lm");
    assert_eq!((answer["code"].as_i64(), effects.len()), (Some(0), 0));
    let (_, effects) = act("delete", "assetId=aX7pQ2Lm");
    let [Effect::EndSession(_), Effect::Delete(deletions)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert!(deletions.iter().all(|d| d.assets == Some(vec![AssetId(1)]) && d.points.is_none()));
    plant.refused(&get, Json::Null, 99_404);
    plant.refused(&format!("POST {DEVICE}?action=disable&assetId=elsewhere"), Json::Null, 99_404);
    plant.refused(&format!("POST {DEVICE}?action=disable"), Json::Null, 99_400);
}

#[test]
fn models_are_made_told_and_imported() {
    let plant = Plant::new();
    let point = json!({"dataType": "DOUBLE", "signalType": "AI"});
    let body = json!({"modelId": "Meter", "measurepoints": {"p": point},
                      "attributes": {"line": {"dataType": "STRING", "required": true}}});
    let create = format!("POST {MODEL}?action=create");
    assert_eq!(plant.ok(&create, body.clone()), "Meter");
    plant.refused(&create, body, 99_400);
    plant.refused(&create, json!({"modelId": "M2", "parent": "none"}), 99_404);
    plant.refused(&create, json!({"modelId": "M2", "points": {"p": {"dataType": "COMPLEX"}}}), 99_400);
    let get = |key: &str| format!("GET {MODEL}?action=get&modelId={key}");
    let told = plant.ok(&get("Meter"), Json::Null);
    assert_eq!((&told["modelIdPath"], &told["orgId"]), (&json!("/Meter"), &json!("default")));
    assert_eq!(told["measurepoints"]["p"]["dataType"], "DOUBLE");
    assert_eq!(told["attributes"]["line"]["required"], true);
    plant.refused(&get("Other"), Json::Null, 99_404);
    plant.refused(&format!("GET {MODEL}?action=get"), Json::Null, 99_400);
    let search = format!("POST {MODEL}?action=search");
    let found = plant.ok(&search, json!({"expression": "measurepointId = 'p'", "projection": ["modelId"]}));
    assert_eq!(found, json!([{"modelId": "Meter"}]));

    let import = format!("POST {MODEL}?action=import");
    // What was told, as another server would answer it, with a point more.
    let mut more = told;
    more["measurepoints"]["q"] = point;
    let list = json!({"code": 0, "data": [more, {"modelId": "Child", "parent": "Meter"}]});
    let results = plant.ok(&import, list.clone());
    let expected = |first: &str, second: &str| json!([{"modelId": "Meter", "result": first}, {"modelId": "Child", "result": second}]);
    assert_eq!(results, expected("extended", "created"));
    assert_eq!(plant.ok(&import, list), expected("unchanged", "unchanged"));
    let child = plant.ok(&get("Child"), Json::Null);
    assert_eq!(child["modelIdPath"], "/Meter/Child");
    assert!(child["measurepoints"]["q"].is_object() && child["attributes"]["line"].is_object());
    let conflict =
        json!({"models": [{"modelId": "Meter", "points": {"p": {"dataType": "INT", "signalType": "AI"}}}]});
    assert!(plant.refused(&import, conflict, 99_400).contains("cannot become"));
    let attribute = json!({"modelId": "Meter", "attributes": {"line": {"dataType": "INT"}}});
    assert!(plant.refused(&import, attribute, 99_400).contains("attribute line"));
}

#[test]
fn policies_are_told_saved_and_removed_by_their_id() {
    use wattline_model::StorageType;
    use wattline_registry::{Policy, PolicyGroup};
    let plant = Plant::new();
    let registry = &plant.registry;
    let model = registry.model_by_key(DEFAULT_ORG, "TurbineModel").unwrap();
    let policy = |storage| Policy {
        id: String::new(),
        storage,
        retention: None,
        modifiable: true,
        points: Vec::new(),
    };
    let group = PolicyGroup {
        org: DEFAULT_ORG,
        name: "g".into(),
        models: vec![model.id],
        policies: vec![policy(StorageType::AiRaw), policy(StorageType::AiNormalized)],
    };
    let group = registry.save_policy_group(group, "test", 0).unwrap();
    let id = |place: usize| group.policies[place].id.clone();
    let act = |version, body: Json, act: &dyn Fn(&Request<'_>) -> Result<Done>| -> Json {
        let query = [("orgId".to_owned(), "default".to_owned())];
        let body = body.to_string().into_bytes();
        let params = Params::from_json(version, query, &body).unwrap();
        let request = Request {
            params: &params,
            body: &body,
            caller: &Caller::of_organization(DEFAULT_ORG),
            operator: "demoKey",
            now_micros: 0,
            is_online: &|_| false,
        };
        let done = act(&request);
        serde_json::from_slice(&done.map_or_else(|error| error.body(version), |done| done.body)).unwrap()
    };
    let show = |version, id: &str| {
        act(version, json!({}), &|request| policies::show(registry, id, request).map(Done::from))
    };
    let save =
        |id: &str, body: Json| act(Version::V21, body, &|request| policies::save(registry, id, request));
    // The specification's example of §3.9, on the raw values: those by the minute are not thinned out.
    let points = json!([{"pointId":"wind_speed","sdt":{"compdev":0.2,"compmax":3600.0,"compmin":1.0},
                         "db":{"excdev":0.1,"excmax":600.0,"excmin":1.0}}]);
    let body = json!({"retention":"6M","models":[{"modelId":"TurbineModel","points":points}]});
    assert_eq!(save(&id(0), body.clone()), json!({"code": 0, "msg": "OK", "submsg": null, "data": null}));
    let told = show(Version::V21, &id(0));
    assert_eq!(
        told["data"],
        json!({"policyId": id(0), "policyName": "AI Raw Data", "policyType": "AI_RAW", "retention": "6M",
               "models": [{"modelId": "TurbineModel", "points": points}]})
    );
    let told = show(Version::V20, &id(0));
    assert_eq!(told["status"], 0);
    assert_eq!(told["data"]["models"], json!([{"modelId": "TurbineModel", "points": ["wind_speed"]}]));
    // Retention stays where none is given; points are replaced.
    save(&id(0), json!({"models": []}));
    let told = show(Version::V21, &id(0));
    assert_eq!((&told["data"]["retention"], &told["data"]["models"]), (&json!("6M"), &json!([])));
    assert_eq!(show(Version::V21, &id(1))["data"]["policyType"], "NORMALIZED");
    for (wrong, code) in [
        (json!({}), 80_400),
        (json!({"models": [], "retention": "1w"}), 80_400),
        (json!({"models": [{"modelId": "none", "points": []}]}), 80_401),
        (json!({"models": [{"modelId": "TurbineModel", "points": ["none"]}]}), 80_400),
    ] {
        assert_eq!(save(&id(0), wrong.clone())["code"], code, "{wrong}");
    }
    assert_eq!(save(&id(1), body)["code"], 80_400, "values by the minute are not thinned out");
    assert_eq!(save("none", json!({"models": []}))["code"], 80_400);
    let gone = act(Version::V21, json!({}), &|request| policies::delete(registry, &id(0), request));
    assert_eq!(gone["code"], 0);
    assert_eq!(show(Version::V21, &id(0))["code"], 80_400);
    assert_eq!(registry.policy_group(DEFAULT_ORG, "g").unwrap().policies.len(), 1);
}

#[test]
fn whoever_is_limited_finds_what_it_may_read_and_manages_only_with_the_right_on_all() {
    let plant = Plant::new();
    let caller = |key: &str, grants: &[&str]| {
        let access_key = Some(key.to_owned());
        let new = NewServiceAccount { org: DEFAULT_ORG, name: key.into(), access_key, secret: None };
        let grants: Vec<Grant> = grants.iter().map(|text| plant.registry.read_grant(text).unwrap()).collect();
        plant.registry.create_service_account_with(new, Some(&grants), "test", 0).unwrap();
        Caller::Account(DEFAULT_ORG, plant.registry.permissions(Holder::service(key)))
    };
    let one = caller("one", &["read,manage:asset:aX7pQ2Lm"]);
    let code = |caller: &Caller, call: &str, body: Json| plant.call_as(caller, call, &body).0["code"].clone();
    let (get, service) = ("GET /connect-service/v2.1/devices", "GET /asset-service/v2.1/assets");
    assert_eq!(code(&one, &format!("{service}?action=get&assetId=aX7pQ2Lm"), json!({})), 0);
    assert_eq!(code(&one, &format!("{service}?action=get&assetId=bK3dR9Tz"), json!({})), 99_404);
    assert_eq!(code(&one, &format!("{get}?action=get&assetId=bK3dR9Tz"), json!({})), 99_404);
    let found = plant.call_as(&one, "POST /connect-service/v2.1/devices?action=search", &json!({})).0;
    assert_eq!(keys(&found["data"]), ["aX7pQ2Lm"]);
    // Trees and models are not of one asset, and neither is making others.
    let changes = [
        (
            "POST /asset-service/v2.1/assets?action=update",
            json!({"asset": {"assetId": "aX7pQ2Lm", "tags": {}}}),
        ),
        ("POST /connect-service/v2.1/devices?action=disable&assetId=aX7pQ2Lm", json!({})),
        ("POST /asset-tree-service/v2.1/asset-trees?action=search", json!({})),
        ("POST /model-service/v2.1/thing-models?action=search", json!({})),
    ];
    for (call, body) in &changes {
        assert_eq!(code(&one, call, body.clone()), 99_403, "{call}");
    }
    let reader = caller("reader", &["read:org:default"]);
    let manager = caller("manager", &["read,manage:org:default"]);
    for (call, body) in &changes {
        let may_read = call.ends_with("search");
        assert_eq!(code(&reader, call, body.clone()) == 99_403, !may_read, "{call}");
        assert_ne!(code(&manager, call, body.clone()), 99_403, "{call}");
    }
}
