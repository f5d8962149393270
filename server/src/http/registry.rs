//! `/api/v1/{orgs,models,products,devices,assets}`: who exists, over REST.
//!
//! Owns: paths, parameters and status codes. Does not own: the JSON forms (`registry::thing_json`), the rules.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use wattline_model::Model;
use wattline_registry::thing_json::{
    decode_devices, decode_points, decode_product, decode_thing, device_json, encode_model, product_json,
};
use wattline_registry::{DEFAULT_ORG, Device, NewOrg, Org, Product, Registry};

use super::body::{json as decode_json, whole};
use super::error::{ApiError, ApiKind};
use super::{App, OPERATOR, blocking, now_micros};

/// Devices of one page where the request does not say how many.
const PAGE_DEFAULT: usize = 1_000;
/// Devices of one page at most: some 30 MB of JSON.
const PAGE_MAX: usize = 100_000;

type Shared = State<Arc<App>>;
type Params = Query<HashMap<String, String>>;
type Answer = Result<Response, ApiError>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrgJson {
    #[serde(alias = "orgId")]
    key: String,
    #[serde(default)]
    name: String,
}

/// `GET /orgs`
pub async fn list_orgs(State(app): Shared) -> Json<Value> {
    Json(app.registry.orgs().iter().map(|org| org_json(org)).collect())
}

/// `POST /orgs`
pub async fn create_org(State(app): Shared, body: Body) -> Answer {
    let org: OrgJson = decode_json(&read(&app, body).await?)?;
    let new = NewOrg { key: org.key, name: org.name };
    let org = change(&app, move |registry| Ok(registry.create_org(new)?)).await?;
    Ok(created(org_json(&org)))
}

/// `GET /models`, of one organization with `?org=`.
pub async fn list_models(State(app): Shared, Query(params): Params) -> Answer {
    let org = params.get("org").map(|key| org_by_key(&app.registry, key)).transpose()?;
    let models = app.registry.models();
    let list: Vec<Value> = models
        .iter()
        .filter(|model| org.as_ref().is_none_or(|org| model.org == org.id))
        .map(|model| {
            json!({
                "modelId": model.key,
                "modelIdPath": model.path,
                "orgId": org_key(&app.registry, model),
                "name": app.registry.model_name(model.id).as_deref().unwrap_or(&model.key),
                "points": model.points.len(),
                "version": model.version,
            })
        })
        .collect();
    Ok(Json(list).into_response())
}

/// `POST /models`: a thing model in either form, into the organization `?org=` or the default one.
pub async fn create_model(State(app): Shared, Query(params): Params, body: Body) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let (new, attributes) = decode_thing(&org, &read(&app, body).await?)?;
    let create =
        move |registry: &Registry| Ok(registry.create_model_with(new, attributes, OPERATOR, now_micros())?);
    let model = change(&app, create).await?;
    Ok(model_answer(&app.registry, StatusCode::CREATED, &model, &org))
}

/// `GET /models/{model}`
pub async fn show_model(State(app): Shared, Path(key): Path<String>, Query(params): Params) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let model = model_by_key(&app.registry, &org, &key)?;
    Ok(model_answer(&app.registry, StatusCode::OK, &model, &org))
}

/// `POST /models/{model}/points`: adds points; those that are there already with the same definition stay.
pub async fn add_points(
    State(app): Shared,
    Path(key): Path<String>,
    Query(params): Params,
    body: Body,
) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let model = model_by_key(&app.registry, &org, &key)?;
    let points = decode_points(&read(&app, body).await?)?;
    let id = model.id;
    let model = change(&app, move |registry| Ok(registry.add_points(id, points)?)).await?;
    Ok(model_answer(&app.registry, StatusCode::OK, &model, &org))
}

/// `GET /products`
pub async fn list_products(State(app): Shared) -> Json<Value> {
    Json(
        app.registry.products().iter().map(|product| product_answer(&app.registry, product, false)).collect(),
    )
}

/// `POST /products`, into the organization `?org=` or the default one. The answer holds the secret.
pub async fn create_product(State(app): Shared, Query(params): Params, body: Body) -> Answer {
    let org = asked_org(&app.registry, &params)?;
    let new = decode_product(&org, &read(&app, body).await?)?;
    let product = change(&app, move |registry| Ok(registry.create_product(new)?)).await?;
    Ok(created(product_answer(&app.registry, &product, true)))
}

/// `GET /products/{product}`, with its secret where `?secret=true`.
pub async fn show_product(State(app): Shared, Path(key): Path<String>, Query(params): Params) -> Answer {
    let product = app.registry.product(&key);
    let product = product.ok_or_else(|| ApiError::not_found(format!("product {key} does not exist")))?;
    Ok(Json(product_answer(&app.registry, &product, flag(&params, "secret")?)).into_response())
}

/// `GET /devices`, of one product with `?product=`, in pages of `?limit=` from `?offset=`, oldest first.
pub async fn list_devices(State(app): Shared, Query(params): Params) -> Answer {
    let product = params.get("product");
    let offset = number(&params, "offset", 0, usize::MAX)?;
    let limit = number(&params, "limit", PAGE_DEFAULT, PAGE_MAX)?;
    let list: Vec<Value> = app
        .registry
        .assets()
        .iter()
        .filter(|device| product.is_none_or(|key| *device.product_key == **key))
        .skip(offset)
        .take(limit)
        .map(|device| device_answer(&app.registry, device, false))
        .collect();
    Ok(Json(list).into_response())
}

/// `POST /devices`: one (an object) or many (an array, all or none). The answer has the same shape and holds the
/// secrets.
pub async fn create_devices(State(app): Shared, body: Body) -> Answer {
    let bytes = read(&app, body).await?;
    let many = bytes.iter().find(|c| !c.is_ascii_whitespace()) == Some(&b'[');
    let new = decode_devices(&bytes)?;
    let devices = change(&app, move |registry| Ok(registry.create_devices(new)?)).await?;
    let mut list: Vec<Value> =
        devices.iter().map(|device| device_answer(&app.registry, device, true)).collect();
    match (many, list.pop()) {
        (false, Some(one)) => Ok(created(one)),
        (_, last) => {
            list.extend(last);
            Ok(created(list.into()))
        }
    }
}

/// `GET /devices/{product}/{device}`, with its secret where `?secret=true`.
pub async fn show_device(
    State(app): Shared,
    Path((product, key)): Path<(String, String)>,
    Query(params): Params,
) -> Answer {
    let device = app.registry.device(&product, &key);
    let device =
        device.ok_or_else(|| ApiError::not_found(format!("device {product}/{key} does not exist")))?;
    Ok(Json(device_answer(&app.registry, &device, flag(&params, "secret")?)).into_response())
}

/// `GET /assets/{asset}`
pub async fn show_asset(State(app): Shared, Path(key): Path<String>) -> Answer {
    let device = asset_by_key(&app.registry, &key)?;
    Ok(Json(device_answer(&app.registry, &device, false)).into_response())
}

/// The device whose asset id is `key`.
pub(super) fn asset_by_key(registry: &Registry, key: &str) -> Result<Arc<Device>, ApiError> {
    registry.asset_by_key(key).ok_or_else(|| ApiError::not_found(format!("asset {key} does not exist")))
}

/// The organization `?org=` names, or the default one.
pub(super) fn asked_org(registry: &Registry, params: &HashMap<String, String>) -> Result<Arc<Org>, ApiError> {
    match params.get("org") {
        Some(key) => org_by_key(registry, key),
        None => {
            registry.org(DEFAULT_ORG).ok_or_else(|| ApiError::new(ApiKind::Bug, "no default organization"))
        }
    }
}

/// The model `key` of `org`.
pub(super) fn model_by_key(registry: &Registry, org: &Org, key: &str) -> Result<Arc<Model>, ApiError> {
    registry
        .model_by_key(org.id, key)
        .ok_or_else(|| ApiError::not_found(format!("model {key} does not exist in organization {}", org.key)))
}

fn org_by_key(registry: &Registry, key: &str) -> Result<Arc<Org>, ApiError> {
    let found = registry.orgs().into_iter().find(|org| org.key == key);
    found.ok_or_else(|| ApiError::not_found(format!("organization {key} does not exist")))
}

async fn read(app: &App, body: Body) -> Result<Bytes, ApiError> {
    whole(body, app.http.body_bytes_max, app.http.read_timeout).await
}

/// Changes wait for the disk, so they run where blocking is allowed.
async fn change<T: Send + 'static>(
    app: &App,
    act: impl FnOnce(&Registry) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    app.take_changes()?;
    let registry = app.registry.clone();
    blocking(move || act(&registry)).await
}

fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn org_json(org: &Org) -> Value {
    json!({"orgId": org.key, "name": org.name})
}

fn org_key(registry: &Registry, model: &Model) -> String {
    registry.org(model.org).map_or_else(String::new, |org| org.key.clone())
}

fn model_answer(registry: &Registry, status: StatusCode, model: &Model, org: &Org) -> Response {
    let (name, attributes) = (registry.model_name(model.id), registry.model_attributes(model.id));
    let text = encode_model(model, name.as_deref().unwrap_or(&model.key), org, &attributes);
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn product_answer(registry: &Registry, product: &Product, secret: bool) -> Value {
    let model = registry.model(product.model);
    let mut json = product_json(product, model.as_ref().map_or("", |model| &model.key), secret);
    json["orgId"] = registry.org(product.org).map_or_else(String::new, |org| org.key.clone()).into();
    json
}

fn device_answer(registry: &Registry, device: &Device, secret: bool) -> Value {
    let mut json = device_json(device, secret);
    json["modelId"] = registry.model(device.model).map_or_else(String::new, |model| model.key.clone()).into();
    json["orgId"] = registry.org(device.org).map_or_else(String::new, |org| org.key.clone()).into();
    json
}

fn flag(params: &HashMap<String, String>, name: &str) -> Result<bool, ApiError> {
    match params.get(name).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true" | "") => Ok(true),
        Some(text) => Err(ApiError::input(format!("parameter {name}: {text:?} is neither true nor false"))),
    }
}

pub(super) fn number(
    params: &HashMap<String, String>,
    name: &str,
    default: usize,
    max: usize,
) -> Result<usize, ApiError> {
    match params.get(name) {
        None => Ok(default),
        Some(text) => match text.parse::<usize>() {
            Ok(n) if n <= max => Ok(n),
            _ => Err(ApiError::input(format!("parameter {name}: {text:?} is no whole number up to {max}"))),
        },
    }
}
