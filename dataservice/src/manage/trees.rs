//! Asset trees: making, telling, finding, renaming, removing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use wattline_registry::{Rule, Tree, TreeTexts};

use super::answer::{refused, success};
use super::expression::Expression;
use super::forms::{AssetForm, Text, asset_json, member, required_member, start, text_json};
use super::page::Page;
use super::{Ask, Done, PAGE_MAX};
use crate::error::{Error, Result};

const FIELDS: &[&str] = &["treeId", "name", "name.", "tags."];

/// What the API calls a tree that does not exist.
const NO_TREE: u32 = 17_404;

/// What the API calls a tree that is removed while nodes hang below its root.
const HAS_NODES: u32 = 17_800;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TreeForm {
    name: Option<Text>,
    tags: Option<BTreeMap<String, String>>,
}

impl TreeForm {
    fn texts(self, name: impl FnOnce() -> (String, BTreeMap<String, String>)) -> TreeTexts {
        let (name, names) = self.name.map_or_else(name, Text::parts);
        TreeTexts { name, names, tags: self.tags.unwrap_or_default() }
    }
}

/// The tree that `treeId` names; one of another organization does not exist.
pub(super) fn named(ask: &Ask<'_>) -> Result<Arc<Tree>> {
    let key = ask.params.required("treeId")?;
    let tree = ask.registry.tree(key).filter(|tree| tree.org == ask.org);
    let missing = || Error::not_found(format!("tree {} does not exist", start(key))).numbered(Some(NO_TREE));
    tree.ok_or_else(missing)
}

pub(super) fn create(ask: &Ask<'_>) -> Result<Done> {
    let asset: AssetForm = required_member(ask.params, "asset")?;
    let new = asset.new_asset(ask.org)?;
    let tree: TreeForm = member(ask.params, "tree")?.unwrap_or_default();
    let texts = tree.texts(|| (new.name.clone(), new.names.clone()));
    let root = ask.registry.create_asset(new, ask.operator, ask.now_micros).map_err(refused)?;
    let made = ask.registry.create_tree(ask.org, texts, root.asset, ask.operator, ask.now_micros);
    let made = made.map_err(|error| {
        // An asset that was made to be the root of nothing would only be in the way.
        let undone = ask.registry.delete_asset(root.asset, ask.operator, ask.now_micros);
        undone.map_or_else(refused, |_| refused(error))
    })?;
    Ok(success(&Json::from(&*made.key), None).into())
}

pub(super) fn associate(ask: &Ask<'_>) -> Result<Done> {
    let root = ask.named_asset()?;
    let tree: TreeForm = member(ask.params, "tree")?.unwrap_or_default();
    let texts = tree.texts(|| (root.name.to_string(), root.names.clone()));
    let made = ask.registry.create_tree(ask.org, texts, root.asset, ask.operator, ask.now_micros);
    Ok(success(&Json::from(&*made.map_err(refused)?.key), None).into())
}

pub(super) fn get(ask: &Ask<'_>) -> Result<Done> {
    let tree = named(ask)?;
    Ok(success(&tree_json(ask, &tree), None).into())
}

pub(super) fn search(ask: &Ask<'_>) -> Result<Done> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Filter {
        tree_ids: Option<Vec<String>>,
        asset_ids: Option<Vec<String>>,
    }
    let mut page = Page::read(ask.params, 10, PAGE_MAX)?;
    let expression = ask.params.text("expression").map(|text| Expression::read(text, FIELDS)).transpose()?;
    let filter: Filter = member(ask.params, "filter")?.unwrap_or_default();
    let with_assets: Option<Vec<_>> = filter.asset_ids.map(|keys| {
        let assets = keys.iter().filter_map(|key| ask.asset(key).ok());
        assets.flat_map(|asset| ask.registry.trees_of(asset.asset)).map(|tree| tree.id).collect()
    });
    let all = ask.registry.trees(ask.org);
    let found = page.take(all.iter().filter(|tree| {
        filter.tree_ids.as_ref().is_none_or(|keys| keys.iter().any(|key| **key == *tree.key))
            && with_assets.as_ref().is_none_or(|ids| ids.contains(&tree.id))
            && expression.as_ref().is_none_or(|e| e.meets(&|field| values(tree, field)))
    }));
    let items = found.into_iter().map(|tree| page.cut(tree_json(ask, tree))).collect();
    Ok(success(&Json::Array(items), Some(&page)).into())
}

pub(super) fn update(ask: &Ask<'_>) -> Result<Done> {
    let tree = named(ask)?;
    let merge = ask.params.flag("isPatchUpdate", true)?;
    let form: TreeForm = required_member(ask.params, "tree")?;
    let tags = form.tags.clone().unwrap_or_else(|| if merge { tree.tags.clone() } else { BTreeMap::new() });
    let texts = form.texts(|| (tree.name.clone(), tree.names.clone()));
    let texts = TreeTexts { tags, ..texts };
    ask.registry.rename_tree(tree.id, texts, ask.operator, ask.now_micros).map_err(refused)?;
    Ok(success(&Json::Null, None).into())
}

pub(super) fn delete(ask: &Ask<'_>) -> Result<Done> {
    let tree = named(ask)?;
    ask.registry.delete_tree(tree.id, ask.operator, ask.now_micros).map_err(|error| match error.rule() {
        Some(Rule::HasChildren) => refused(error).numbered(Some(HAS_NODES)),
        _ => refused(error),
    })?;
    Ok(success(&Json::Null, None).into())
}

fn tree_json(ask: &Ask<'_>, tree: &Tree) -> Json {
    json!({
        "treeId": &*tree.key,
        "name": text_json(&tree.name, &tree.names),
        "tags": tree.tags,
        "asset": ask.registry.asset(tree.root).map(|root| asset_json(ask.registry, &root)),
        "nodes": ask.registry.tree_size(tree.id),
    })
}

fn values(tree: &Tree, field: &str) -> Vec<Json> {
    match field.split_once('.') {
        None if field == "treeId" => vec![Json::from(&*tree.key)],
        None => {
            std::iter::once(&tree.name).chain(tree.names.values()).map(|t| Json::from(t.as_str())).collect()
        }
        Some(("name", locale)) => {
            vec![Json::from(tree.names.get(locale).unwrap_or(&tree.name).as_str())]
        }
        Some((_, key)) => tree.tags.get(key).map(|text| Json::from(text.as_str())).into_iter().collect(),
    }
}
