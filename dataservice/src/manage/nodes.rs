//! Nodes of asset trees: placing, moving, taking out, and finding above, below and along paths.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use wattline_model::AssetId;
use wattline_registry::{Branch, Device, Tree};

use super::answer::{refused, success};
use super::forms::{AssetForm, asset_json, member, name_in, required_member};
use super::page::Page;
use super::trees::named;
use super::{Ask, Done, PAGE_MAX};
use crate::error::{Error, Result};

pub(super) fn create(ask: &Ask<'_>) -> Result<Done> {
    let (tree, parent) = (named(ask)?, parent(ask)?);
    let form: AssetForm = required_member(ask.params, "asset")?;
    let made = ask.registry.create_asset(form.new_asset(ask.org)?, ask.operator, ask.now_micros);
    let made = made.map_err(refused)?;
    let placed = ask.registry.associate(tree.id, parent.asset, &[made.asset], ask.operator, ask.now_micros);
    placed.map_err(|error| {
        // An asset that was made for a place it could not have would only be in the way.
        let undone = ask.registry.delete_asset(made.asset, ask.operator, ask.now_micros);
        undone.map_or_else(refused, |_| refused(error))
    })?;
    Ok(success(&Json::from(&*made.asset_key), None).into())
}

pub(super) fn associate(ask: &Ask<'_>) -> Result<Done> {
    // Some clients send a list to this action, too.
    if ask.params.nested("assetIdentifiersVoList").is_some() {
        return associate_all(ask);
    }
    let (tree, parent, asset) = (named(ask)?, parent(ask)?, ask.named_asset()?);
    ask.registry
        .associate(tree.id, parent.asset, &[asset.asset], ask.operator, ask.now_micros)
        .map_err(refused)?;
    Ok(success(&Json::from(&*asset.asset_key), None).into())
}

pub(super) fn associate_all(ask: &Ask<'_>) -> Result<Done> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Identifier {
        asset_id: Option<String>,
        product_key: Option<String>,
        device_key: Option<String>,
    }
    let (tree, parent) = (named(ask)?, parent(ask)?);
    let list: Vec<Identifier> = required_member(ask.params, "assetIdentifiersVoList")?;
    let mut assets = Vec::with_capacity(list.len());
    for entry in list {
        assets.push(match (entry.asset_id, entry.product_key, entry.device_key) {
            (Some(key), ..) => ask.asset(&key)?,
            (None, Some(product), Some(device)) => ask.device(&product, &device)?,
            _ => return Err(Error::required("assetId, or productKey and deviceKey, of each entry")),
        });
    }
    let ids: Vec<AssetId> = assets.iter().map(|asset| asset.asset).collect();
    ask.registry.associate(tree.id, parent.asset, &ids, ask.operator, ask.now_micros).map_err(refused)?;
    let keys: Vec<&str> = assets.iter().map(|asset| &*asset.asset_key).collect();
    Ok(success(&json!(keys), None).into())
}

/// `move` is a word of the language.
pub(super) fn shift(ask: &Ask<'_>) -> Result<Done> {
    let (tree, parent, asset) = (named(ask)?, parent(ask)?, ask.named_asset()?);
    let after = ask.params.text("preAssetId").map(|key| ask.asset(key)).transpose()?;
    let branch = Branch { tree: tree.id, asset: asset.asset };
    ask.registry
        .move_node(branch, parent.asset, after.map(|after| after.asset), ask.operator, ask.now_micros)
        .map_err(refused)?;
    Ok(success(&Json::Null, None).into())
}

pub(super) fn delete(ask: &Ask<'_>) -> Result<Done> {
    let (tree, asset) = (named(ask)?, ask.named_asset()?);
    let branch = Branch { tree: tree.id, asset: asset.asset };
    ask.registry.remove_node(branch, ask.operator, ask.now_micros).map_err(refused)?;
    Ok(success(&Json::Null, None).into())
}

fn parent(ask: &Ask<'_>) -> Result<Arc<Device>> {
    ask.asset(ask.params.required("parentAssetId")?)
}

/// What is looked for; all of it must be met.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    asset_ids: Option<Vec<String>>,
    model_ids: Option<Vec<String>>,
    root_model_ids: Option<Vec<String>>,
    name_like: Option<NameLike>,
    attributes: Option<BTreeMap<String, Json>>,
    tags: Option<BTreeMap<String, String>>,
    tree_id: Option<String>,
    is_parent_of_asset_id: Option<String>,
    is_child_of_asset_id: Option<String>,
    is_ancestor_of_asset_id: Option<String>,
    is_descendant_of_asset_id: Option<String>,
}

#[derive(Deserialize)]
struct NameLike {
    value: String,
    locale: Option<String>,
}

impl Filter {
    fn meets(&self, ask: &Ask<'_>, asset: &Device) -> bool {
        let among = |list: &Option<Vec<String>>, key: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|wanted| wanted == key))
        };
        let by_model = || {
            if self.model_ids.is_none() && self.root_model_ids.is_none() {
                return true;
            }
            ask.registry.model(asset.model).is_some_and(|model| {
                let root = model.path.split('/').nth(1).unwrap_or_default();
                among(&self.model_ids, &model.key) && among(&self.root_model_ids, root)
            })
        };
        let named = |like: &NameLike| {
            let piece = like.value.to_lowercase();
            let has = |name: &str| name.to_lowercase().contains(&piece);
            match &like.locale {
                Some(locale) => has(name_in(asset, locale)),
                None => has(&asset.name) || asset.names.values().any(|name| has(name)),
            }
        };
        among(&self.asset_ids, &asset.asset_key)
            && by_model()
            && self.name_like.as_ref().is_none_or(named)
            && self.tags.iter().flatten().all(|(key, text)| asset.tags.get(key) == Some(text))
            && self.attributes.iter().flatten().all(|(key, value)| asset.attributes.get(key) == Some(value))
    }
}

pub(super) fn search(ask: &Ask<'_>) -> Result<Done> {
    let filter: Filter = member(ask.params, "filter")?.unwrap_or_default();
    let candidates = match filter.tree_id.as_deref() {
        Some(key) => {
            let tree = ask.registry.tree(key).filter(|tree| tree.org == ask.org);
            let tree = tree.ok_or_else(|| Error::not_found(format!("tree {key} does not exist")))?;
            assets(ask, &ask.registry.branch(Branch { tree: tree.id, asset: tree.root }))
        }
        None => ask.registry.assets().into_iter().filter(|asset| ask.sees(asset)).collect(),
    };
    found(ask, &filter, &candidates)
}

pub(super) fn search_related(ask: &Ask<'_>) -> Result<Done> {
    let tree = named(ask)?;
    let filter: Filter = member(ask.params, "filter")?.unwrap_or_default();
    let at = |key: &str| ask.asset(key).map(|asset| asset.asset);
    let above = |asset| {
        let mut path = ask.registry.tree_path(tree.id, asset);
        path.pop();
        path
    };
    let below = |asset| ask.registry.branch(Branch { tree: tree.id, asset });
    let ids: Vec<AssetId> = match (
        &filter.is_parent_of_asset_id,
        &filter.is_child_of_asset_id,
        &filter.is_ancestor_of_asset_id,
        &filter.is_descendant_of_asset_id,
    ) {
        (Some(key), None, None, None) => above(at(key)?).pop().into_iter().collect(),
        (None, Some(key), None, None) => ask.registry.children(tree.id, at(key)?),
        (None, None, Some(key), None) => above(at(key)?),
        (None, None, None, Some(key)) => below(at(key)?).into_iter().skip(1).collect(),
        (None, None, None, None) => below(tree.root),
        _ => return Err(Error::invalid("filter: at most one relation to another asset is allowed")),
    };
    found(ask, &filter, &assets(ask, &ids))
}

fn assets(ask: &Ask<'_>, ids: &[AssetId]) -> Vec<Arc<Device>> {
    ids.iter().filter_map(|&id| ask.registry.asset(id)).collect()
}

fn found(ask: &Ask<'_>, filter: &Filter, candidates: &[Arc<Device>]) -> Result<Done> {
    let mut page = Page::read(ask.params, 100, PAGE_MAX)?;
    let found = page.take(candidates.iter().filter(|asset| filter.meets(ask, asset)));
    let items = found.into_iter().map(|asset| page.cut(asset_json(ask.registry, asset))).collect();
    Ok(success(&Json::Array(items), Some(&page)).into())
}

/// Paths from upper to lower nodes: from the root and to the leaves where nothing else is asked for.
pub(super) fn search_paths(ask: &Ask<'_>) -> Result<Done> {
    let tree = named(ask)?;
    let mut page = Page::read(ask.params, 100, PAGE_MAX)?;
    let from: Option<Filter> = member(ask.params, "from")?;
    let to: Option<Filter> = member(ask.params, "to")?;
    let ends_only = match ask.params.text("pathProjection") {
        None | Some("COMPLETE") => false,
        Some("END_NODE_ONLY") => true,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            return Err(Error::invalid(format!(
                "pathProjection: {other:?} is none of COMPLETE, END_NODE_ONLY"
            )));
        }
    };
    let mut paths = page.take(every_path(ask, &tree, from.as_ref(), to.as_ref()));
    if ends_only {
        paths.iter_mut().for_each(|path| drop(path.drain(1..path.len() - 1)));
    }
    let named: HashSet<AssetId> = paths.iter().flatten().copied().collect();
    let key = |id: &AssetId| ask.registry.asset(*id).map(|asset| asset.asset_key.to_string());
    let on_them: BTreeMap<String, Json> = named
        .iter()
        .filter_map(|&id| ask.registry.asset(id))
        .map(|asset| (asset.asset_key.to_string(), asset_json(ask.registry, &asset)))
        .collect();
    let paths: Vec<Vec<String>> = paths.iter().map(|path| path.iter().filter_map(key).collect()).collect();
    let data = page.cut(json!({"assetPaths": paths, "assets": on_them}));
    Ok(success(&data, Some(&page)).into())
}

/// Every path of at least two nodes from one that meets `from` to one that meets `to`.
fn every_path<'a>(
    ask: &'a Ask<'_>,
    tree: &'a Tree,
    from: Option<&'a Filter>,
    to: Option<&'a Filter>,
) -> impl Iterator<Item = Vec<AssetId>> {
    let meets = move |filter: Option<&Filter>, id: AssetId, otherwise: bool| match filter {
        Some(filter) => ask.registry.asset(id).is_some_and(|asset| filter.meets(ask, &asset)),
        None => otherwise,
    };
    let nodes = ask.registry.branch(Branch { tree: tree.id, asset: tree.root });
    let is_end =
        move |id: AssetId| meets(to, id, to.is_none() && ask.registry.children(tree.id, id).is_empty());
    nodes.into_iter().filter(move |&id| is_end(id)).flat_map(move |id| {
        let path = ask.registry.tree_path(tree.id, id);
        let upper = path[..path.len().saturating_sub(1)].to_vec();
        let begins = upper.into_iter().enumerate().filter(move |&(_, id)| meets(from, id, id == tree.root));
        begins.map(|(place, _)| path[place..].to_vec()).collect::<Vec<_>>()
    })
}
