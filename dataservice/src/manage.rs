//! Managing who exists, over the EnOS-compatible API: assets and their trees, devices, thing models, storage policies.
//!
//! Owns: which calls there are, their parameters and answers, what a caller may name. Does not own: HTTP, the entities and
//! their rules (`registry`), what follows outside the registry ([`Effect`]s, which `server` carries out).
//!
//! One call: *parameters → organization → registry → effects, answer*. Reading order: this file → `forms`, `page`,
//! `expression` → `assets`, `nodes`, `trees`, `devices`, [`batch`] (with `sheet`), `models`, [`policies`] → `answer`.

use wattline_model::{AssetId, Deletion, DeletionTarget, OrgId, TimeRange};
use wattline_registry::{Device, Reach, Registry, Right};

use crate::error::{Error, Result};
use crate::params::Params;
use crate::selection::{Caller, organization};

mod answer;
mod assets;
pub mod batch;
mod devices;
mod expression;
mod forms;
mod models;
mod nodes;
mod page;
pub mod policies;
mod sheet;
mod trees;

pub use answer::refusal;

/// Items of one page at most, but for devices.
const PAGE_MAX: usize = 1_000;

/// What may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes a logical asset.
    CreateAsset,
    /// Tells of an asset.
    GetAsset,
    /// Finds assets.
    SearchAssets,
    /// Changes an asset (§7.1).
    UpdateAsset,
    /// Removes a logical asset and its samples.
    DeleteAsset,
    /// Makes a tree and the asset that is its root.
    CreateTree,
    /// Makes a tree whose root is an asset there is.
    AssociateTree,
    /// Tells of a tree.
    GetTree,
    /// Finds trees.
    SearchTrees,
    /// Calls a tree something else.
    UpdateTree,
    /// Removes a tree that has nothing but its root.
    DeleteTree,
    /// Makes a logical asset in a tree.
    CreateNode,
    /// Puts an asset into a tree.
    AssociateNode,
    /// Puts assets into a tree.
    AssociateNodes,
    /// Moves a branch of a tree.
    MoveNode,
    /// Takes an asset out of a tree.
    DeleteNode,
    /// Finds assets, in trees and outside.
    SearchNodes,
    /// Finds assets above or below one in a tree.
    SearchRelatedNodes,
    /// Tells the paths of a tree.
    SearchPaths,
    /// Makes a device.
    CreateDevice,
    /// Tells of a device.
    GetDevice,
    /// Finds devices.
    SearchDevices,
    /// Lets a device connect.
    EnableDevice,
    /// Forbids a device to connect, and ends its session.
    DisableDevice,
    /// Removes a device and its samples.
    DeleteDevice,
    /// Makes a thing model.
    CreateModel,
    /// Tells of a thing model.
    GetModel,
    /// Finds thing models.
    SearchModels,
    /// Makes thing models, and adds points to those there are.
    ImportModels,
}

use Operation as Op;

const ASSETS: &str = "/asset-service/v2.1/assets";
const TREES: &str = "/asset-tree-service/v2.1/asset-trees";
const NODES: &str = "/asset-tree-service/v2.1/asset-nodes";
const PATHS: &str = "/asset-tree-service/v2.1/asset-paths";
/// The path of devices; files of them come and go there, too.
pub const DEVICES: &str = "/connect-service/v2.1/devices";
const MODELS: &str = "/model-service/v2.1/thing-models";

impl Operation {
    /// The paths there are; what is asked there is told by the method and the parameter `action`.
    pub const PATHS: [&str; 6] = [ASSETS, TREES, NODES, PATHS, DEVICES, MODELS];

    /// Each with its path, whether it is a POST, and its action.
    const ALL: [(Operation, &str, bool, &str); 29] = [
        (Op::CreateAsset, ASSETS, true, "create"),
        (Op::GetAsset, ASSETS, false, "get"),
        (Op::SearchAssets, ASSETS, true, "search"),
        (Op::UpdateAsset, ASSETS, true, "update"),
        (Op::DeleteAsset, ASSETS, true, "delete"),
        (Op::CreateTree, TREES, true, "create"),
        (Op::AssociateTree, TREES, true, "associate"),
        (Op::GetTree, TREES, false, "get"),
        (Op::SearchTrees, TREES, true, "search"),
        (Op::UpdateTree, TREES, true, "update"),
        (Op::DeleteTree, TREES, true, "delete"),
        (Op::CreateNode, NODES, true, "createAsset"),
        (Op::AssociateNode, NODES, true, "associateAsset"),
        (Op::AssociateNodes, NODES, true, "associateAssetBatch"),
        (Op::MoveNode, NODES, true, "move"),
        (Op::DeleteNode, NODES, true, "delete"),
        (Op::SearchNodes, NODES, true, "searchAsset"),
        (Op::SearchRelatedNodes, NODES, true, "searchRelatedAsset"),
        (Op::SearchPaths, PATHS, true, "search"),
        (Op::CreateDevice, DEVICES, true, "create"),
        (Op::GetDevice, DEVICES, false, "get"),
        (Op::SearchDevices, DEVICES, true, "search"),
        (Op::EnableDevice, DEVICES, true, "enable"),
        (Op::DisableDevice, DEVICES, true, "disable"),
        (Op::DeleteDevice, DEVICES, true, "delete"),
        (Op::CreateModel, MODELS, true, "create"),
        (Op::GetModel, MODELS, false, "get"),
        (Op::SearchModels, MODELS, true, "search"),
        (Op::ImportModels, MODELS, true, "import"),
    ];

    /// What is asked for.
    ///
    /// # Errors
    /// Where there is no such action.
    pub fn find(path: &str, is_post: bool, action: Option<&str>) -> Result<Operation> {
        let action = action.ok_or_else(|| Error::required("action"))?;
        let there = Operation::ALL.iter().filter(|(_, at, ..)| *at == path);
        let found = there.clone().find(|(_, _, post, name)| (*post, *name) == (is_post, action));
        found.map(|(operation, ..)| *operation).ok_or_else(|| {
            let method = if is_post { "POST" } else { "GET" };
            let known: Vec<&str> = there.filter(|(_, _, post, _)| *post == is_post).map(|at| at.3).collect();
            let action: String = action.chars().take(40).collect();
            Error::invalid(format!("action: {action:?} is none of {} ({method})", known.join(", ")))
        })
    }

    /// Whether it changes anything.
    pub const fn changes(self) -> bool {
        !matches!(
            self,
            Op::GetAsset
                | Op::SearchAssets
                | Op::GetTree
                | Op::SearchTrees
                | Op::SearchNodes
                | Op::SearchRelatedNodes
                | Op::SearchPaths
                | Op::GetDevice
                | Op::SearchDevices
                | Op::GetModel
                | Op::SearchModels
        )
    }
}

/// What follows outside the registry, to be carried out before the call is answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The device may not be connected any more.
    EndSession(AssetId),
    /// Samples that nobody may see any more.
    Delete(Vec<Deletion>),
    /// Storage policies are others.
    Rule,
}

/// What a call came to.
#[derive(Debug)]
pub struct Done {
    /// The body of the answer.
    pub body: Vec<u8>,
    /// What follows.
    pub effects: Vec<Effect>,
}

impl From<Vec<u8>> for Done {
    fn from(body: Vec<u8>) -> Done {
        Done { body, effects: Vec::new() }
    }
}

/// A call.
pub struct Request<'a> {
    /// Query and body.
    pub params: &'a Params,
    /// The body as it was sent.
    pub body: &'a [u8],
    /// Whose entities it may see.
    pub caller: &'a Caller,
    /// Who makes it, to be noted of a change.
    pub operator: &'a str,
    /// The time, microseconds since the epoch.
    pub now_micros: i64,
    /// Whether a device has a session.
    pub is_online: &'a dyn Fn(AssetId) -> bool,
}

/// A call under way.
struct Ask<'a> {
    registry: &'a Registry,
    org: OrgId,
    caller: &'a Caller,
    params: &'a Params,
    body: &'a [u8],
    operator: &'a str,
    now_micros: i64,
    is_online: &'a dyn Fn(AssetId) -> bool,
}

impl<'a> Ask<'a> {
    fn new(registry: &'a Registry, request: &Request<'a>) -> Result<Ask<'a>> {
        Ok(Ask {
            registry,
            org: organization(registry, request.params, request.caller)?,
            caller: request.caller,
            params: request.params,
            body: request.body,
            operator: request.operator,
            now_micros: request.now_micros,
            is_online: request.is_online,
        })
    }

    /// Whether the caller may know of an asset. What it may not know of does not exist.
    fn sees(&self, asset: &Device) -> bool {
        asset.org == self.org && self.caller.may(Right::Read, asset)
    }

    /// Lets those pass who may do so with the whole organization. Trees, models and policies are not of one asset, so
    /// what was granted on some assets does not reach them.
    fn whole(&self, right: Right) -> Result<()> {
        match self.caller {
            Caller::Account(_, permissions)
                if permissions.reach_organization(right, self.org) != Reach::All =>
            {
                Err(Error::unauthorized())
            }
            _ => Ok(()),
        }
    }

    /// The asset with this identifier.
    fn asset(&self, key: &str) -> Result<std::sync::Arc<Device>> {
        let found = self.registry.asset_by_key(key).filter(|asset| self.sees(asset));
        found.ok_or_else(|| Error::not_found(format!("asset {} does not exist", forms::start(key))))
    }

    /// The asset that `assetId`, or `productKey` and `deviceKey`, name.
    fn named_asset(&self) -> Result<std::sync::Arc<Device>> {
        let text = |name| self.params.text(name);
        match (text("assetId"), text("productKey"), text("deviceKey")) {
            (Some(key), ..) => self.asset(key),
            (None, Some(product), Some(device)) => self.device(product, device),
            _ => Err(Error::required("assetId, or productKey and deviceKey,")),
        }
    }

    fn device(&self, product: &str, device: &str) -> Result<std::sync::Arc<Device>> {
        let found = self.registry.device(product, device).filter(|found| self.sees(found));
        let what = || format!("device {}/{} does not exist", forms::start(product), forms::start(device));
        found.ok_or_else(|| Error::not_found(what()))
    }
}

/// The answer to a call. Changes wait for the disk, searches look at every entity of a kind.
///
/// # Errors
/// Whatever [`crate::ErrorKind`] says; [`Error::managed_body`] is the answer then.
pub fn manage(registry: &Registry, operation: Operation, request: &Request<'_>) -> Result<Done> {
    let ask = Ask::new(registry, request)?;
    match operation {
        // Of these the caller finds what it may read.
        Op::GetAsset | Op::SearchAssets | Op::GetDevice | Op::SearchDevices => {}
        _ if operation.changes() => ask.whole(Right::Manage)?,
        _ => ask.whole(Right::Read)?,
    }
    match operation {
        Op::CreateAsset => assets::create(&ask),
        Op::GetAsset => assets::get(&ask),
        Op::SearchAssets => assets::search(&ask),
        Op::UpdateAsset => assets::update(&ask),
        Op::DeleteAsset => assets::delete(&ask),
        Op::CreateTree => trees::create(&ask),
        Op::AssociateTree => trees::associate(&ask),
        Op::GetTree => trees::get(&ask),
        Op::SearchTrees => trees::search(&ask),
        Op::UpdateTree => trees::update(&ask),
        Op::DeleteTree => trees::delete(&ask),
        Op::CreateNode => nodes::create(&ask),
        Op::AssociateNode => nodes::associate(&ask),
        Op::AssociateNodes => nodes::associate_all(&ask),
        Op::MoveNode => nodes::shift(&ask),
        Op::DeleteNode => nodes::delete(&ask),
        Op::SearchNodes => nodes::search(&ask),
        Op::SearchRelatedNodes => nodes::search_related(&ask),
        Op::SearchPaths => nodes::search_paths(&ask),
        Op::CreateDevice => devices::create(&ask),
        Op::GetDevice => devices::get(&ask),
        Op::SearchDevices => devices::search(&ask),
        Op::EnableDevice => devices::enable(&ask, true),
        Op::DisableDevice => devices::enable(&ask, false),
        Op::DeleteDevice => devices::delete(&ask),
        Op::CreateModel => models::create(&ask),
        Op::GetModel => models::get(&ask),
        Op::SearchModels => models::search(&ask),
        Op::ImportModels => models::import(&ask),
    }
}

/// Removes an asset with all that is kept of it. Its registry entry goes first, so that nothing new comes in for it.
fn remove(ask: &Ask<'_>, asset: &Device) -> Result<Done> {
    ask.registry.delete_asset(asset.asset, ask.operator, ask.now_micros).map_err(answer::refused)?;
    let of = |model, target| Deletion {
        target,
        model,
        points: None,
        assets: Some(vec![asset.asset]),
        range: TimeRange::ALL,
    };
    let mut deletions =
        vec![of(asset.model, DeletionTarget::History), of(asset.model, DeletionTarget::Latest)];
    // What the model does not define is kept beside it.
    let beside = ask.registry.unformatted(asset.org);
    deletions.extend(beside.map(|kept| of(kept.model, DeletionTarget::History)));
    Ok(Done {
        body: answer::success(&serde_json::Value::Null, None),
        effects: vec![Effect::EndSession(asset.asset), Effect::Delete(deletions)],
    })
}

#[cfg(test)]
mod tests;
