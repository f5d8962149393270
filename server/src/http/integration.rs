//! `/connect-service/v2.1/integration` and `/connectService`: what systems upload for assets, and the newest of what was
//! uploaded (data service §6.5, §6.6).
//!
//! Owns: forms and parts, the answers with the result of each item. Does not own: messages and writing
//! ([`wattline_ingest::Integration`]), who is let in ([`super::connect`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value as Json, json};
use wattline_dataservice::Caller;
use wattline_ingest::decode::integration::{self, Feature, Message, Outcome};
use wattline_ingest::{Code, Integration};
use wattline_model::Point;
use wattline_registry::Right;

use super::App;
use super::body::media_type;
use super::connect::{Connected, Envelope, INTERNAL, Refused, Told, admit, answer, ended};
use super::dataservice::{Noting, noted};
use super::error::{ApiError, ApiKind};
use super::latest::value_json;

/// Parts of a form: the message, and what clients put beside it.
const PARTS_MAX: usize = 64;

/// Adds the routes.
pub fn routes(router: Router<Arc<App>>) -> Router<Arc<App>> {
    router
        .route("/connect-service/v2.1/integration", post(upload))
        .route("/connect-service/v2.1/measurepoints", post(query_latest))
        .route("/connectService/products/{product}/devices/measurepoints", post(upload_devices))
        // The documentation of May 2019 names the operation and not its path.
        .route("/connectService/assets/measurepoints", post(upload_assets))
}

async fn upload(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request).changing(true);
    let told = async {
        let call = admit(&app, request).await?;
        let feature = match call.required("action")? {
            "postMeasurepoint" => Feature::Measurepoints,
            "postEvent" => Feature::Events,
            other => {
                let known = "postMeasurepoint or postEvent";
                return Err(Refused::parameter(format!("action: {other:?} is not {known}")));
            }
        };
        let text = message_text(&call, "enos-message").await?;
        let message = integration::message(feature, &text).map_err(refused)?;
        integrate(&app, &call, None, feature, &message).await
    };
    answer(Envelope::Connect, noted(&app, noting, told, ended).await)
}

/// `uploadDeviceMeasurepoints` of May 2019.
async fn upload_devices(
    State(app): State<Arc<App>>,
    Path(product): Path<String>,
    request: Request,
) -> Response {
    let noting = Noting::of(&request).changing(true);
    answer(Envelope::V1, noted(&app, noting, upload_v1(&app, Some(product), request), ended).await)
}

/// `uploadAssetMeasurepoints` of May 2019.
async fn upload_assets(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request).changing(true);
    answer(Envelope::V1, noted(&app, noting, upload_v1(&app, None, request), ended).await)
}

async fn upload_v1(app: &App, product: Option<String>, request: Request) -> Result<Told, Refused> {
    let call = admit(app, request).await?;
    if let Some(product) = &product
        && app.registry.product(product).is_none_or(|product| product.org != call.org)
    {
        return Err(Refused::not_found(format!("product {product:?} does not exist")));
    }
    let text = message_text(&call, "data").await?;
    let message = integration::bare(&text).map_err(refused)?;
    integrate(app, &call, product, Feature::Measurepoints, &message).await
}

async fn integrate(
    app: &App,
    call: &Connected,
    product: Option<String>,
    feature: Feature,
    message: &Message<'_>,
) -> Result<Told, Refused> {
    app.take_changes()?;
    let permissions = match &call.caller {
        Caller::Operator => None,
        Caller::Account(_, permissions) => Some(Arc::clone(permissions)),
    };
    let integration = Integration { org: call.org, permissions, product, feature };
    let outcome = app.ingestor.integrate(&integration, message).await.map_err(ApiError::from)?;
    let data = results(&outcome);
    match outcome.faults.first().filter(|_| outcome.code != Code::Ok) {
        None => Ok(Told::data(data)),
        Some(first) => Err(Refused::new(outcome.code.number().into(), first.message.clone()).with(data)),
    }
}

/// What is wrong with which item; nothing where all is well.
fn results(outcome: &Outcome) -> Json {
    if outcome.fault_count == 0 {
        return json!({});
    }
    let failed = outcome
        .faults
        .iter()
        .map(|fault| json!({"item": fault.item, "code": fault.code.number(), "msg": fault.message}));
    json!({"failed": failed.collect::<Vec<_>>(), "failedCount": outcome.fault_count})
}

fn refused(fault: wattline_ingest::check::Fault) -> Refused {
    Refused::new(fault.code.number().into(), fault.reason)
}

/// The message: the part `name` of a form, or the whole of a JSON body.
async fn message_text(call: &Connected, name: &str) -> Result<String, Refused> {
    match media_type(&call.headers).as_str() {
        "multipart/form-data" => part(&call.headers, call.body.clone(), name).await,
        "application/json" => String::from_utf8(call.body.to_vec())
            .map_err(|e| Refused::from(ApiError::input(format!("request body: {e}")))),
        other => {
            let what = format!("content type {other:?} is neither multipart/form-data nor application/json");
            Err(ApiError::new(ApiKind::Unsupported, what).into())
        }
    }
}

async fn part(headers: &HeaderMap, body: Bytes, name: &str) -> Result<String, Refused> {
    let wrong = |e: multer::Error| Refused::from(ApiError::input(format!("request body: {e}")));
    let content = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = multer::parse_boundary(content.unwrap_or_default()).map_err(wrong)?;
    let whole = futures::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut form = multer::Multipart::new(whole, boundary);
    let mut found = None;
    for _ in 0..PARTS_MAX {
        let Some(field) = form.next_field().await.map_err(wrong)? else {
            return found.ok_or_else(|| Refused::parameter(format!("the form has no part {name}")));
        };
        let is_file = field.name() == Some("enos-file") || field.file_name().is_some_and(|f| !f.is_empty());
        if field.name() == Some(name) {
            if found.is_some() {
                return Err(Refused::parameter(format!("the form has two parts {name}")));
            }
            found = Some(field.text().await.map_err(wrong)?);
        } else if is_file {
            let code = Code::NotSupported.number().into();
            let what = "content of files is not kept here; send the URI it has elsewhere";
            return Err(Refused::new(code, what));
        }
    }
    Err(Refused::parameter(format!("the form has more than {PARTS_MAX} parts")))
}

/// Newest values of one device, from memory.
async fn query_latest(State(app): State<Arc<App>>, request: Request) -> Response {
    let noting = Noting::of(&request);
    let told = async {
        let call = admit(&app, request).await?;
        match call.required("action")? {
            "queryLatest" => {}
            other => return Err(Refused::parameter(format!("action: {other:?} is not queryLatest"))),
        }
        let device = call.device(&app.registry, Right::Read)?;
        let model = app.registry.model(device.model);
        let model = model.ok_or_else(|| Refused::new(INTERNAL, "the device has no model"))?;
        let wrong = || Refused::parameter("measurepointIds: expected a list of texts");
        let points: Vec<&Point> = match call.json()?.get("measurepointIds") {
            None | Some(Json::Null) => model.points.iter().collect(),
            Some(Json::Array(keys)) => keys
                .iter()
                .map(|key| {
                    let key = key.as_str().ok_or_else(wrong)?;
                    let unknown =
                        || Refused::parameter(format!("measurepointIds: model {} has no {key}", model.key));
                    model.point_by_key(key).ok_or_else(unknown)
                })
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        let ids: Vec<_> = points.iter().map(|point| point.id).collect();
        let latest = app.store.latest(model.id, device.asset, &ids);
        let items = points.iter().zip(latest).filter_map(|(point, latest)| {
            let latest = latest?;
            let value = value_json(point.data_type, &latest.value);
            Some(json!({"id": point.key, "time": latest.time.millis().to_string(), "value": value}))
        });
        Ok(Told::data(items.collect()))
    };
    answer(Envelope::Connect, noted(&app, noting, told, ended).await)
}
