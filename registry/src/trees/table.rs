//! All trees in memory: who is above and below whom.
//!
//! Owns: the table and the changes of it. Does not own: the rules; what is applied here was checked and committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use wattline_model::AssetId;

use super::{Branch, Tree, TreeId};

/// What a committed transaction changed.
pub(crate) enum Change {
    /// A new tree with its root.
    New(Arc<Tree>),
    /// A tree with other texts.
    Renamed(Arc<Tree>),
    /// A tree that is gone.
    Gone(TreeId),
    /// New children of `parent`, behind those it has.
    Placed { tree: TreeId, parent: AssetId, assets: Vec<AssetId> },
    /// A branch that hangs somewhere else: behind the child `after` of `parent`, or before all its children.
    Moved { branch: Branch, parent: AssetId, after: Option<AssetId> },
    /// A node that is gone.
    Removed(Branch),
}

/// All trees.
#[derive(Default)]
pub(crate) struct Trees {
    by_id: BTreeMap<TreeId, Entry>,
    by_key: HashMap<Arc<str>, TreeId>,
    /// Ascending; few, as an asset is in few trees.
    of_asset: HashMap<AssetId, Vec<TreeId>>,
    nodes: usize,
}

struct Entry {
    tree: Arc<Tree>,
    nodes: HashMap<AssetId, Node>,
}

#[derive(Default)]
struct Node {
    parent: Option<AssetId>,
    children: Vec<AssetId>,
}

impl Trees {
    pub(crate) fn tree(&self, id: TreeId) -> Option<&Arc<Tree>> {
        self.by_id.get(&id).map(|entry| &entry.tree)
    }

    pub(crate) fn by_key(&self, key: &str) -> Option<&Arc<Tree>> {
        self.tree(*self.by_key.get(key)?)
    }

    /// Oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Tree>> {
        self.by_id.values().map(|entry| &entry.tree)
    }

    pub(crate) fn of_asset(&self, asset: AssetId) -> &[TreeId] {
        self.of_asset.get(&asset).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn size(&self, tree: TreeId) -> usize {
        self.by_id.get(&tree).map_or(0, |entry| entry.nodes.len())
    }

    /// Nodes of all trees.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(crate) fn has(&self, tree: TreeId, asset: AssetId) -> bool {
        self.node(tree, asset).is_some()
    }

    pub(crate) fn children(&self, tree: TreeId, asset: AssetId) -> &[AssetId] {
        self.node(tree, asset).map_or(&[], |node| node.children.as_slice())
    }

    /// The node right above, where there is one.
    pub(super) fn parent(&self, tree: TreeId, asset: AssetId) -> Option<AssetId> {
        self.node(tree, asset)?.parent
    }

    pub(crate) fn path(&self, tree: TreeId, asset: AssetId) -> Vec<AssetId> {
        let mut path: Vec<AssetId> = self.upwards(tree, asset).collect();
        path.reverse();
        path
    }

    pub(crate) fn ancestors(&self, asset: AssetId) -> Vec<Branch> {
        let trees = self.of_asset(asset).iter();
        trees.flat_map(|&tree| self.upwards(tree, asset).map(move |asset| Branch { tree, asset })).collect()
    }

    pub(crate) fn branch(&self, tree: TreeId, asset: AssetId) -> Vec<AssetId> {
        let mut found = Vec::new();
        let mut open = Vec::new();
        if self.has(tree, asset) {
            open.push(asset);
        }
        while let Some(asset) = open.pop() {
            found.push(asset);
            open.extend(self.children(tree, asset).iter().rev());
        }
        found
    }

    /// Layers of the branch below and with `asset`.
    pub(crate) fn height(&self, tree: TreeId, asset: AssetId) -> usize {
        // As deep as the tree has layers, which are few.
        1 + self.children(tree, asset).iter().map(|&child| self.height(tree, child)).max().unwrap_or(0)
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::New(tree) => {
                let (id, root) = (tree.id, tree.root);
                self.by_key.insert(Arc::clone(&tree.key), id);
                self.by_id.insert(id, Entry { tree, nodes: HashMap::new() });
                self.add(id, root, None);
            }
            Change::Renamed(tree) => {
                if let Some(entry) = self.by_id.get_mut(&tree.id) {
                    entry.tree = tree;
                }
            }
            Change::Gone(id) => {
                if let Some(entry) = self.by_id.remove(&id) {
                    self.by_key.remove(&entry.tree.key);
                    self.nodes -= entry.nodes.len();
                    entry.nodes.keys().for_each(|&asset| self.forget(id, asset));
                }
            }
            Change::Placed { tree, parent, assets } => {
                for asset in assets {
                    self.add(tree, asset, Some(parent));
                }
            }
            Change::Moved { branch, parent, after } => self.hang(branch, parent, after),
            Change::Removed(Branch { tree, asset }) => {
                let Some(entry) = self.by_id.get_mut(&tree) else { return };
                let Some(node) = entry.nodes.remove(&asset) else { return };
                if let Some(parent) = node.parent.and_then(|parent| entry.nodes.get_mut(&parent)) {
                    parent.children.retain(|&child| child != asset);
                }
                self.nodes -= 1;
                self.forget(tree, asset);
            }
        }
    }

    /// Adds a node behind the children that `parent` has. The parent may come later: files are read in any order.
    pub(super) fn add(&mut self, tree: TreeId, asset: AssetId, parent: Option<AssetId>) {
        let Some(entry) = self.by_id.get_mut(&tree) else { return };
        entry.nodes.entry(asset).or_default().parent = parent;
        if let Some(parent) = parent {
            entry.nodes.entry(parent).or_default().children.push(asset);
        }
        let trees = self.of_asset.entry(asset).or_default();
        let place = trees.partition_point(|&id| id < tree);
        trees.insert(place, tree);
        self.nodes += 1;
    }

    fn hang(&mut self, Branch { tree, asset }: Branch, parent: AssetId, after: Option<AssetId>) {
        let Some(entry) = self.by_id.get_mut(&tree) else { return };
        let Some(node) = entry.nodes.get_mut(&asset) else { return };
        if let Some(before) = node.parent.replace(parent).and_then(|before| entry.nodes.get_mut(&before)) {
            before.children.retain(|&child| child != asset);
        }
        let Some(node) = entry.nodes.get_mut(&parent) else { return };
        let behind = after.and_then(|after| node.children.iter().position(|&child| child == after));
        node.children.insert(behind.map_or(0, |place| place + 1), asset);
    }

    fn forget(&mut self, tree: TreeId, asset: AssetId) {
        if let Some(trees) = self.of_asset.get_mut(&asset) {
            trees.retain(|&id| id != tree);
            if trees.is_empty() {
                self.of_asset.remove(&asset);
            }
        }
    }

    fn node(&self, tree: TreeId, asset: AssetId) -> Option<&Node> {
        self.by_id.get(&tree)?.nodes.get(&asset)
    }

    /// From `asset` to the root; nothing where it is not in the tree.
    fn upwards(&self, tree: TreeId, asset: AssetId) -> impl Iterator<Item = AssetId> {
        let first = self.has(tree, asset).then_some(asset);
        std::iter::successors(first, move |&asset| self.parent(tree, asset))
    }
}
