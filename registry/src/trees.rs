//! Asset trees: how an organization arranges its assets, as many ways as it likes.
//!
//! Owns: trees and their nodes with their rules (one root, layers, no cycles, an asset once in a tree), their rows, and
//! the table in memory that answers [`Registry::ancestors`], children and paths without IO. Does not own: the assets
//! ([`crate::devices`], [`crate::assets`]), who may see a branch.
//!
//! A node is an asset in a tree, so the same asset may be in several trees, in another place in each.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Transaction, params};
use serde_json::json;
use wattline_model::{AssetId, OrgId};

use crate::cache::{Cache, Edit};
use crate::error::{Error, Rule};
use crate::secret::random_key;
use crate::{Registry, audit, check, number};

pub(crate) use self::rows::load;
pub(crate) use self::table::{Change, Trees};

mod rows;
mod table;

/// Trees of one organization: ways of looking at its assets, each of which a person set up.
pub const TREES_PER_ORG_MAX: usize = 100;

/// Layers of a tree, the root among them (asset tree service: 7).
pub const TREE_LAYERS_MAX: usize = 7;

/// Nodes of one tree: a fleet, twice. What one load or one branch may hold.
pub const TREE_NODES_MAX: usize = 200_000;

/// Nodes of all trees, at some 120 bytes each.
pub const NODES_MAX: usize = 4_000_000;

/// Assets of one call to [`Registry::associate`]: one transaction must not hold up others for long.
pub const ASSOCIATED_PER_CALL_MAX: usize = 1_000;

/// The number of a tree. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeId(pub u32);

impl std::fmt::Display for TreeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tree#{}", self.0)
    }
}

/// An asset tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its number.
    pub id: TreeId,
    /// Its identifier, unique in the registry; `treeId` in the APIs.
    pub key: Arc<str>,
    /// Its organization; all its assets are of it.
    pub org: OrgId,
    /// Display name.
    pub name: String,
    /// Display names in further languages, by locale.
    pub names: BTreeMap<String, String>,
    /// Free keys and texts.
    pub tags: BTreeMap<String, String>,
    /// Its topmost asset.
    pub root: AssetId,
    /// When it was created, microseconds since the epoch.
    pub created_micros: i64,
}

/// What people call a tree, to create or to change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeTexts {
    /// Display name.
    pub name: String,
    /// Display names in further languages, by locale.
    pub names: BTreeMap<String, String>,
    /// Free keys and texts.
    pub tags: BTreeMap<String, String>,
}

/// An asset in a tree: all that hangs below it there is a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch {
    /// The tree.
    pub tree: TreeId,
    /// Its topmost asset.
    pub asset: AssetId,
}

impl Registry {
    /// Every branch that `asset` is in: in each of its trees the asset itself first, then its parents up to the root.
    /// Memory only; at most [`TREE_LAYERS_MAX`] a tree.
    pub fn ancestors(&self, asset: AssetId) -> Vec<Branch> {
        self.cache().trees().ancestors(asset)
    }

    /// The tree with this identifier.
    pub fn tree(&self, key: &str) -> Option<Arc<Tree>> {
        self.cache().trees().by_key(key).cloned()
    }

    /// The tree with this number.
    pub fn tree_by_id(&self, id: TreeId) -> Option<Arc<Tree>> {
        self.cache().trees().tree(id).cloned()
    }

    /// The trees of an organization, oldest first.
    pub fn trees(&self, org: OrgId) -> Vec<Arc<Tree>> {
        self.cache().trees().all().filter(|tree| tree.org == org).cloned().collect()
    }

    /// The trees that an asset is in, oldest first.
    pub fn trees_of(&self, asset: AssetId) -> Vec<Arc<Tree>> {
        let cache = self.cache();
        let trees = cache.trees();
        trees.of_asset(asset).iter().filter_map(|&id| trees.tree(id).cloned()).collect()
    }

    /// How many assets are in a tree.
    pub fn tree_size(&self, tree: TreeId) -> usize {
        self.cache().trees().size(tree)
    }

    /// The assets right below `asset`, in their order; nothing where it is not in the tree.
    pub fn children(&self, tree: TreeId, asset: AssetId) -> Vec<AssetId> {
        self.cache().trees().children(tree, asset).to_vec()
    }

    /// From the root of the tree to `asset`, both among them; nothing where it is not in the tree.
    pub fn tree_path(&self, tree: TreeId, asset: AssetId) -> Vec<AssetId> {
        self.cache().trees().path(tree, asset)
    }

    /// `asset` and all below it, parents before children, siblings in their order; nothing where it is not in the tree.
    pub fn branch(&self, branch: Branch) -> Vec<AssetId> {
        self.cache().trees().branch(branch.tree, branch.asset)
    }

    /// Creates a tree with `root` as its topmost asset.
    ///
    /// # Errors
    /// `Input` for a bad name, `NotFound` where the asset is not of the organization, [`Rule::TreesMax`].
    pub fn create_tree(
        &self,
        org: OrgId,
        texts: TreeTexts,
        root: AssetId,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Tree>, Error> {
        check_texts(&texts)?;
        self.change(|transaction, cache| {
            let root = own(cache, org, root)?;
            let trees = cache.trees();
            if trees.all().filter(|tree| tree.org == org).count() >= TREES_PER_ORG_MAX {
                let reason = format!("the organization has {TREES_PER_ORG_MAX} trees already");
                return Err(Error::input("tree", "name", reason).under(Rule::TreesMax));
            }
            room(trees, None, 1)?;
            let mut key: Arc<str> = random_key()?.into();
            while trees.by_key(&key).is_some() {
                key = random_key()?.into();
            }
            let id = rows::insert_tree(transaction, &key, org, &texts, now_micros)?;
            rows::insert_node(transaction, id, root, None)?;
            let TreeTexts { name, names, tags } = texts;
            let tree = Tree { id, key, org, name, names, tags, root, created_micros: now_micros };
            let after = Some(json!({"name": tree.name, "root": key_of(cache, root)}));
            note(transaction, operator, "create tree", &tree, None, after, now_micros)?;
            let tree = Arc::new(tree);
            Ok((Arc::clone(&tree), Edit::Tree(Change::New(tree))))
        })
    }

    /// Calls a tree something else.
    ///
    /// # Errors
    /// `Input` for a bad name, [`Rule::NoTree`].
    pub fn rename_tree(
        &self,
        tree: TreeId,
        texts: TreeTexts,
        operator: &str,
        now_micros: i64,
    ) -> Result<Arc<Tree>, Error> {
        check_texts(&texts)?;
        self.change(|transaction, cache| {
            let old = find(cache, tree)?;
            if (&old.name, &old.names, &old.tags) == (&texts.name, &texts.names, &texts.tags) {
                return Ok((Arc::clone(old), Edit::Nothing));
            }
            rows::update_tree(transaction, tree, &texts)?;
            let (before, after) = (json!({"name": old.name}), json!({"name": texts.name}));
            note(transaction, operator, "change tree", old, Some(before), Some(after), now_micros)?;
            let TreeTexts { name, names, tags } = texts;
            let tree = Arc::new(Tree { name, names, tags, ..Tree::clone(old) });
            Ok((Arc::clone(&tree), Edit::Tree(Change::Renamed(tree))))
        })
    }

    /// Removes a tree that has no node but its root. The root's asset stays.
    ///
    /// # Errors
    /// [`Rule::NoTree`], [`Rule::HasChildren`].
    pub fn delete_tree(&self, tree: TreeId, operator: &str, now_micros: i64) -> Result<(), Error> {
        self.change(|transaction, cache| {
            let old = find(cache, tree)?;
            childless(cache, old, old.root)?;
            transaction
                .execute("DELETE FROM trees WHERE id = ?1", [tree.0])
                .map_err(|e| Error::sqlite("delete a tree", e))?;
            let before = Some(json!({"name": old.name}));
            note(transaction, operator, "delete tree", old, before, None, now_micros)?;
            Ok(((), Edit::Tree(Change::Gone(tree))))
        })
    }

    /// Puts `assets` below `parent`, behind the children it has, all or none.
    ///
    /// # Errors
    /// `NotFound` where an asset is not of the tree's organization; [`Rule::NoTree`], [`Rule::NoParent`],
    /// [`Rule::InTree`], [`Rule::Layers`]; `Input` where the tree or all trees are full.
    pub fn associate(
        &self,
        tree: TreeId,
        parent: AssetId,
        assets: &[AssetId],
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        if assets.len() > ASSOCIATED_PER_CALL_MAX {
            let reason = format!("{} given; at most {ASSOCIATED_PER_CALL_MAX} are allowed", assets.len());
            return Err(Error::input("tree", "assets", reason));
        }
        self.change(|transaction, cache| {
            let old = find(cache, tree)?;
            let trees = cache.trees();
            let depth = trees.path(tree, parent).len();
            if depth == 0 {
                return Err(no_parent(cache, old, parent));
            }
            if depth + 1 > TREE_LAYERS_MAX {
                return Err(too_deep(old, depth + 1));
            }
            room(trees, Some(tree), assets.len())?;
            let mut placed: Vec<AssetId> = Vec::with_capacity(assets.len());
            for &asset in assets {
                own(cache, old.org, asset)?;
                if trees.has(tree, asset) || placed.contains(&asset) {
                    let reason = format!("asset {} is in the tree already", key_of(cache, asset));
                    return Err(Error::conflict(item(old), "assetId", reason).under(Rule::InTree));
                }
                rows::insert_node(transaction, tree, asset, Some(parent))?;
                placed.push(asset);
            }
            if placed.is_empty() {
                return Ok(((), Edit::Nothing));
            }
            let keys: Vec<String> = placed.iter().map(|&asset| key_of(cache, asset)).collect();
            let after = Some(json!({"parent": key_of(cache, parent), "assets": keys}));
            note(transaction, operator, "associate assets", old, None, after, now_micros)?;
            Ok(((), Edit::Tree(Change::Placed { tree, parent, assets: placed })))
        })
    }

    /// Moves `asset` and all below it to `parent`: behind its child `after`, or before all its children.
    ///
    /// # Errors
    /// [`Rule::NoTree`], [`Rule::NoNode`], [`Rule::Root`], [`Rule::NoParent`], [`Rule::Descendant`], [`Rule::Layers`];
    /// `Input` where `after` is no other child of `parent`.
    pub fn move_node(
        &self,
        branch: Branch,
        parent: AssetId,
        after: Option<AssetId>,
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        let Branch { tree, asset } = branch;
        self.change(|transaction, cache| {
            let old = find(cache, tree)?;
            let trees = cache.trees();
            let before = parent_of(cache, old, asset)?;
            let path = trees.path(tree, parent);
            if path.is_empty() {
                return Err(no_parent(cache, old, parent));
            }
            if path.contains(&asset) {
                let reason = format!("asset {} is or hangs below what is moved", key_of(cache, parent));
                return Err(Error::conflict(item(old), "parentAssetId", reason).under(Rule::Descendant));
            }
            let layers = path.len() + trees.height(tree, asset);
            if layers > TREE_LAYERS_MAX {
                return Err(too_deep(old, layers));
            }
            let is_sibling = |other: AssetId| other != asset && trees.children(tree, parent).contains(&other);
            if let Some(other) = after.filter(|&other| !is_sibling(other)) {
                let reason = format!("asset {} is no other child of the parent", key_of(cache, other));
                return Err(Error::input(item(old), "preAssetId", reason));
            }
            rows::move_node(transaction, branch, parent, after)?;
            let at = |parent| Some(json!({"asset": key_of(cache, asset), "parent": key_of(cache, parent)}));
            note(transaction, operator, "move node", old, at(before), at(parent), now_micros)?;
            Ok(((), Edit::Tree(Change::Moved { branch, parent, after })))
        })
    }

    /// Takes an asset out of a tree; the asset itself stays.
    ///
    /// # Errors
    /// [`Rule::NoTree`], [`Rule::NoNode`], [`Rule::Root`], [`Rule::HasChildren`].
    pub fn remove_node(&self, branch: Branch, operator: &str, now_micros: i64) -> Result<(), Error> {
        let Branch { tree, asset } = branch;
        self.change(|transaction, cache| {
            let old = find(cache, tree)?;
            let parent = parent_of(cache, old, asset)?;
            childless(cache, old, asset)?;
            transaction
                .execute("DELETE FROM tree_nodes WHERE tree = ?1 AND asset = ?2", params![tree.0, asset.0])
                .map_err(|e| Error::sqlite("remove a node", e))?;
            let before = Some(json!({"asset": key_of(cache, asset), "parent": key_of(cache, parent)}));
            note(transaction, operator, "remove node", old, before, None, now_micros)?;
            Ok(((), Edit::Tree(Change::Removed(branch))))
        })
    }
}

fn item(tree: &Tree) -> String {
    format!("tree {}", tree.key)
}

fn check_texts(texts: &TreeTexts) -> Result<(), Error> {
    check::name("tree", "name", &texts.name)?;
    check::names("tree", "name", &texts.names)?;
    check::tags("tree", &texts.tags)
}

fn find(cache: &Cache, tree: TreeId) -> Result<&Arc<Tree>, Error> {
    let found = cache.trees().tree(tree);
    found.ok_or_else(|| Error::not_found(tree.to_string()).under(Rule::NoTree))
}

/// The asset, where it is of the organization: others are not told that it exists.
fn own(cache: &Cache, org: OrgId, asset: AssetId) -> Result<AssetId, Error> {
    match cache.asset(asset) {
        Some(found) if found.org == org => Ok(asset),
        _ => Err(Error::not_found(asset.to_string())),
    }
}

/// The parent of a node that is not the root.
fn parent_of(cache: &Cache, tree: &Tree, asset: AssetId) -> Result<AssetId, Error> {
    if tree.root == asset {
        let reason = "the root is neither moved nor removed";
        return Err(Error::conflict(item(tree), "assetId", reason).under(Rule::Root));
    }
    let path = cache.trees().path(tree.id, asset);
    match path.as_slice() {
        [.., parent, _] => Ok(*parent),
        _ => {
            let what = format!("asset {} in {}", key_of(cache, asset), item(tree));
            Err(Error::not_found(what).under(Rule::NoNode))
        }
    }
}

fn childless(cache: &Cache, tree: &Tree, asset: AssetId) -> Result<(), Error> {
    match cache.trees().children(tree.id, asset).len() {
        0 => Ok(()),
        n => {
            let reason = format!("asset {} has {n} nodes below it; remove them first", key_of(cache, asset));
            Err(Error::conflict(item(tree), "assetId", reason).under(Rule::HasChildren))
        }
    }
}

fn no_parent(cache: &Cache, tree: &Tree, parent: AssetId) -> Error {
    let what = format!("asset {} in {}", key_of(cache, parent), item(tree));
    Error::not_found(what).under(Rule::NoParent)
}

fn too_deep(tree: &Tree, layers: usize) -> Error {
    let reason = format!("would have {layers} layers; at most {TREE_LAYERS_MAX} are allowed");
    Error::input(item(tree), "parentAssetId", reason).under(Rule::Layers)
}

/// Whether `more` nodes fit into `tree` and into all trees.
fn room(trees: &Trees, tree: Option<TreeId>, more: usize) -> Result<(), Error> {
    let size = tree.map_or(0, |tree| trees.size(tree));
    let full = |what: &str, max: usize| {
        let reason = format!("{what} would have more than {max} nodes");
        Err(Error::input("tree", "assets", reason))
    };
    if size + more > TREE_NODES_MAX {
        return full("it", TREE_NODES_MAX);
    }
    if trees.nodes() + more > NODES_MAX {
        return full("all trees together", NODES_MAX);
    }
    Ok(())
}

/// The identifier of an asset, for messages and notes.
fn key_of(cache: &Cache, asset: AssetId) -> String {
    cache.asset(asset).map_or_else(|| asset.to_string(), |found| found.asset_key.to_string())
}

fn note(
    transaction: &Transaction<'_>,
    operator: &str,
    action: &str,
    tree: &Tree,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
    micros: i64,
) -> Result<(), Error> {
    audit::note(transaction, &audit::Note { operator, action, item: &tree.key, before, after, micros })
}

/// A tree's number from its row.
pub(crate) fn tree_id(row: i64) -> Result<TreeId, Error> {
    number("trees", row).map(TreeId)
}

#[cfg(test)]
mod tests;
