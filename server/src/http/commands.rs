//! `/connect-service/v2.1/commands`: telling devices what to do, and what became of it.
//!
//! Owns: the actions of that path, their parameters and codes, the JSON of a command. Does not own: the life of a command
//! ([`crate::commands`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use jiff::tz::TimeZone;
use serde_json::{Map, Value as Json, json};
use wattline_dataservice::Caller;
use wattline_dataservice::expression::{Expression, Field, FieldKind, Value};
use wattline_dataservice::search::{Page, local_time, time_in};
use wattline_ingest::decode::integration::check_value;
use wattline_model::{PointId, TimeRange, Timestamp};
use wattline_registry::{Device, RecordKind, Right, check};

use super::App;
use super::connect::{Connected, Envelope, INTERNAL, Refused, Told, admit, answer, ended};
use super::dataservice::{Noting, noted};
use super::events::refused;
use crate::commands::{
    Command, CommandKind, INPUT_BYTES_MAX, TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX, TTL_SECONDS_MAX, Undone,
    decode_id,
};

/// Commands of a page where nothing is said.
const PAGE_DEFAULT: usize = 100;

/// Points of one request for values.
const POINTS_MAX: usize = 200;

/// Rows a search is admitted by.
const ROWS: usize = 10_000;

/// What an expression may name.
const FIELDS: [Field; 8] = [
    Field { name: "state", kind: FieldKind::Number },
    Field { name: "commandType", kind: FieldKind::Number },
    Field { name: "createTime", kind: FieldKind::Time },
    Field { name: "tslIdentifier", kind: FieldKind::Text },
    Field { name: "commandName", kind: FieldKind::Text },
    Field { name: "commandName.defaultValue", kind: FieldKind::Text },
    Field { name: "commandName.en_US", kind: FieldKind::Text },
    Field { name: "commandName.zh_CN", kind: FieldKind::Text },
];

/// Adds the routes.
pub fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router.route("/connect-service/v2.1/commands", get(commands).post(commands))
}

async fn commands(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request);
    let changes = !noting.is_action(&["get", "search"]);
    let noting = noting.changing(changes);
    let told = async {
        let call = admit(&app, request).await?;
        let action = call.required("action")?;
        let right = if matches!(action, "get" | "search") { Right::Read } else { Right::Control };
        let device = call.device(&app.registry, right)?;
        match action {
            "setMeasurepoint" => set(&app, &call, &device).await,
            "getMeasurepoint" => ask(&app, &call, &device).await,
            "invokeService" => invoke(&app, &call, &device).await,
            "get" => one(&app, &call, &device).await,
            "search" => search(&app, &call, &device).await,
            "cancel" => cancel(&app, &call, &device).await,
            other => {
                let known = "setMeasurepoint, getMeasurepoint, invokeService, get, search, cancel";
                Err(Refused::parameter(format!("action: {other:?} is none of {known}")))
            }
        }
    };
    answer(Envelope::Connect, noted(&app, noting, told, ended).await)
}

async fn set(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    let key = call.required("measurepointId")?;
    let model = app.registry.model(device.model);
    let model = model.ok_or_else(|| Refused::new(INTERNAL, "the device has no model"))?;
    let point = model.point_by_key(key);
    let point = point
        .ok_or_else(|| Refused::not_found(format!("measurepointId: model {} has no {key}", model.key)))?;
    let value = call.json()?.remove("value").ok_or_else(|| Refused::parameter("value is required"))?;
    check_value(point, &value.to_string())
        .map_err(|fault| Refused::parameter(format!("value: {}", fault.reason)))?;
    give(app, call, device, CommandKind::Set, key, &point.name, value).await
}

async fn ask(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    let keys: Vec<&str> = call.required("measurepointIds")?.split(',').map(str::trim).collect();
    if keys.len() > POINTS_MAX {
        return Err(Refused::parameter(format!("measurepointIds: at most {POINTS_MAX} are allowed")));
    }
    let model = app.registry.model(device.model);
    let unknown = |key: &&&str| model.as_ref().is_none_or(|model| model.point_by_key(key).is_none());
    if let Some(key) = keys.iter().find(unknown) {
        return Err(Refused::not_found(format!("measurepointIds: the model has no {key:?}")));
    }
    give(app, call, device, CommandKind::Get, &keys.join(","), "", json!(keys)).await
}

async fn invoke(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    let service = call.required("serviceId")?;
    // It is a level of a topic.
    check::identifier("command", "serviceId", service).map_err(|e| Refused::parameter(e.to_string()))?;
    let input = match call.json()?.remove("inputData") {
        None | Some(Json::Null) => json!({}),
        Some(input @ Json::Object(_)) => input,
        Some(_) => return Err(Refused::parameter("inputData: expected an object")),
    };
    give(app, call, device, CommandKind::Invoke, service, service, input).await
}

/// Gives a command, now or to wait.
async fn give(
    app: &Arc<App>,
    call: &Connected,
    device: &Arc<Device>,
    kind: CommandKind,
    tsl: &str,
    name: &str,
    input: Json,
) -> Result<Told, Refused> {
    app.take_changes()?;
    if input.to_string().len() + tsl.len() > INPUT_BYTES_MAX {
        return Err(Refused::parameter(format!("the command is larger than {INPUT_BYTES_MAX} bytes")));
    }
    if !device.enabled {
        return Err(Refused::parameter("the device is disabled"));
    }
    let seconds = |name: &str, default: u32, least: u32, most: u32| {
        let given = call.int(name, default.into(), least.into(), most.into());
        given.map(|seconds| u32::try_from(seconds).unwrap_or(default))
    };
    let (name, tsl) = (if name.is_empty() { tsl } else { name }.to_owned(), tsl.to_owned());
    let mut command = app.commands.prepare(device, kind, tsl, name, input);
    command.ttl = seconds("pendingTtl", 0, 0, TTL_SECONDS_MAX)?;
    command.timeout = seconds("timeout", TIMEOUT_SECONDS, 1, TIMEOUT_SECONDS_MAX)?;
    let (id, failed) = (command.id(), |error: crate::error::Error| Refused::new(INTERNAL, error.to_string()));
    if command.ttl > 0 {
        return match app.commands.keep(device, command).await.map_err(failed)? {
            Ok(()) => Ok(Told::data(json!({"commandId": id}))),
            Err(undone) => Err(not_done(undone)),
        };
    }
    let (command, told) = app.commands.run(device, command).await.map_err(failed)?;
    let mut data = json!({"commandId": id});
    match told {
        Err(undone) => Err(not_done(undone).with(data)),
        Ok(reply) => {
            if kind != CommandKind::Set {
                data["outputData"] = command.output;
            }
            if reply.code == 200 {
                return Ok(Told::data(data));
            }
            let code = u32::try_from(reply.code).unwrap_or(INTERNAL);
            Err(Refused::new(code.max(1), command.message.unwrap_or_default()).with(data))
        }
    }
}

fn not_done(undone: Undone) -> Refused {
    let (code, why) = match undone {
        Undone::Inactive => (11_888, "the device was never connected, and an instant command cannot be sent"),
        Undone::Offline => (11_900, "the device is offline, and an instant command cannot be sent"),
        Undone::Full => (11_902, "too many commands wait for the device"),
        Undone::NotSent => (11_904, "the command was not sent in time: others were before it"),
        Undone::NoAnswer => (11_915, "the command was sent, and the device did not answer in time"),
    };
    Refused::new(code, why)
}

async fn cancel(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    app.take_changes()?;
    let taken = app.commands.cancel(device, call.param("commandId")).await;
    let taken = taken.map_err(|error| Refused::new(INTERNAL, error.to_string()))?;
    let zone = zone(device)?;
    Ok(Told::data(taken.iter().map(|command| command_json(app, device, &zone, command)).collect()))
}

async fn one(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    let id = call.required("commandId")?.to_owned();
    let unknown = || Refused::not_found(format!("command {id:?} of this device does not exist"));
    let (asset, created) = decode_id(&id).ok_or_else(unknown)?;
    if asset != device.asset {
        return Err(unknown());
    }
    let range = TimeRange::new(Timestamp(created), Timestamp(created.saturating_add(1)));
    let (mut found, _) = records(app, device, range, 1, None).await?;
    let command = found.pop().ok_or_else(unknown)?;
    Ok(Told::data(command_json(app, device, &zone(device)?, &command)))
}

async fn search(app: &Arc<App>, call: &Connected, device: &Arc<Device>) -> Result<Told, Refused> {
    let body: Map<String, Json> = call.json()?;
    let page = Page::read(&body, PAGE_DEFAULT).map_err(|e| refused(&e))?;
    let zone = zone(device)?;
    let expression = match body.get("expression") {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) if text.trim().is_empty() => None,
        Some(Json::String(text)) => {
            let read = Expression::parse(text, &FIELDS, &|text| time_in(&zone, text));
            Some(read.map_err(|e| Refused::parameter(e.to_string()))?)
        }
        Some(_) => return Err(Refused::parameter("expression: expected a text")),
    };
    let (found, total) = records(app, device, TimeRange::ALL, page.rows(), expression).await?;
    let items = page.of(found);
    let items = items.iter().map(|command| command_json(app, device, &zone, command)).collect();
    Ok(Told::page(items, page.json(total)))
}

/// The newest `rows` commands of the device in `range` that meet `expression`, and how many do.
async fn records(
    app: &Arc<App>,
    device: &Arc<Device>,
    range: TimeRange,
    rows: usize,
    expression: Option<Expression>,
) -> Result<(Vec<Command>, usize), Refused> {
    let Some(records) = app.registry.records(device.org, RecordKind::Commands) else {
        return Ok((Vec::new(), 0));
    };
    let asset = device.asset;
    let read = move |service: &wattline_dataservice::DataService, told: &wattline_dataservice::Call<'_>| {
        let meets = |created: i64, text: &str| match &expression {
            None => true,
            Some(expression) => {
                serde_json::from_str(text).is_ok_and(|command| is_meant(expression, created, &command))
            }
        };
        service.newest_records(records.model, PointId(0), asset, range, rows, &meets, told)
    };
    // The device is one that the caller may read.
    let found = app.data.waiting(ROWS, Caller::Operator, read).await?.map_err(|error| refused(&error))?;
    let read = |(created, text): (i64, String)| {
        let command: Command = serde_json::from_str(&text).ok()?;
        Some(Command { asset, created, ..command })
    };
    Ok((found.0.into_iter().filter_map(read).collect(), found.1))
}

fn is_meant(expression: &Expression, created: i64, command: &Command) -> bool {
    expression.holds(&|field| match field {
        0 => Value::Int(command.state.number().into()),
        1 => Value::Int(command.kind.number().into()),
        2 => Value::Int(created),
        3 => Value::Text(&command.tsl),
        _ => Value::Text(&command.name),
    })
}

fn zone(device: &Device) -> Result<TimeZone, Refused> {
    wattline_registry::timezone(&device.timezone).map_err(|e| Refused::new(INTERNAL, e.to_string()))
}

fn command_json(app: &App, device: &Device, zone: &TimeZone, command: &Command) -> Json {
    json!({
        "commandId": command.id(),
        "orgId": app.registry.org(device.org).map(|org| org.key.clone()),
        "productKey": &*device.product_key,
        "deviceKey": &*device.device_key,
        "assetId": &*device.asset_key,
        "createTime": command.created.div_euclid(1_000),
        "createLocaltime": local_time(zone, command.created),
        "commandType": command.kind.number(),
        "commandName": {"defaultValue": command.name, "i18nValue": {}},
        "timeout": command.timeout,
        "pendingTtl": command.ttl,
        "state": command.state.number(),
        "tslIdentifier": command.tsl,
        "inputData": command.input,
        "outputData": command.output,
        "message": command.message,
    })
}
