//! Rows of trees and nodes.
//!
//! Siblings have ranks that ascend in their order; ranks mean nothing else, so a place before or behind others costs one
//! row, and one between two moves the ranks behind it.

use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params};
use wattline_model::{AssetId, OrgId};

use super::{Branch, Change, TREE_LAYERS_MAX, Tree, TreeId, TreeTexts, tree_id};
use crate::cache::{Cache, Edit};
use crate::error::Error;
use crate::number;
use crate::texts::{decode_texts, encode_texts};

pub(super) fn insert_tree(
    transaction: &Transaction<'_>,
    key: &str,
    org: OrgId,
    texts: &TreeTexts,
    now_micros: i64,
) -> Result<TreeId, Error> {
    transaction
        .execute(
            "INSERT INTO trees (key, org, name, names, tags, created_micros) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                key,
                org.0,
                texts.name,
                encode_texts(&texts.names),
                encode_texts(&texts.tags),
                now_micros
            ],
        )
        .map_err(|e| Error::sqlite("create a tree", e))?;
    tree_id(transaction.last_insert_rowid())
}

pub(super) fn update_tree(
    transaction: &Transaction<'_>,
    tree: TreeId,
    texts: &TreeTexts,
) -> Result<(), Error> {
    transaction
        .execute(
            "UPDATE trees SET name = ?2, names = ?3, tags = ?4 WHERE id = ?1",
            params![tree.0, texts.name, encode_texts(&texts.names), encode_texts(&texts.tags)],
        )
        .map_err(|e| Error::sqlite("change a tree", e))?;
    Ok(())
}

/// Inserts a node behind its siblings.
pub(super) fn insert_node(
    transaction: &Transaction<'_>,
    tree: TreeId,
    asset: AssetId,
    parent: Option<AssetId>,
) -> Result<(), Error> {
    let act = |e| Error::sqlite("associate an asset", e);
    let mut insert = transaction
        .prepare_cached(
            "INSERT INTO tree_nodes (tree, asset, parent, rank) VALUES (?1, ?2, ?3,
             (SELECT coalesce(max(rank), 0) + 1 FROM tree_nodes WHERE tree = ?1 AND parent = ?3))",
        )
        .map_err(act)?;
    insert.execute(params![tree.0, asset.0, parent.map(|parent| parent.0)]).map_err(act)?;
    Ok(())
}

/// Moves a node behind the child `after` of `parent`, or before all its children.
pub(super) fn move_node(
    transaction: &Transaction<'_>,
    branch: Branch,
    parent: AssetId,
    after: Option<AssetId>,
) -> Result<(), Error> {
    let act = |e| Error::sqlite("move a node", e);
    let tree = branch.tree.0;
    let rank: i64 = match after {
        None => {
            let sql = "SELECT coalesce(min(rank), 1) - 1 FROM tree_nodes WHERE tree = ?1 AND parent = ?2";
            transaction.query_row(sql, params![tree, parent.0], |row| row.get(0)).map_err(act)?
        }
        Some(after) => {
            let sql = "SELECT rank FROM tree_nodes WHERE tree = ?1 AND asset = ?2";
            let rank: i64 = transaction.query_row(sql, [tree, after.0], |row| row.get(0)).map_err(act)?;
            let sql = "UPDATE tree_nodes SET rank = rank + 1 WHERE tree = ?1 AND parent = ?2 AND rank > ?3";
            transaction.execute(sql, params![tree, parent.0, rank]).map_err(act)?;
            rank + 1
        }
    };
    let sql = "UPDATE tree_nodes SET parent = ?3, rank = ?4 WHERE tree = ?1 AND asset = ?2";
    transaction.execute(sql, params![tree, branch.asset.0, parent.0, rank]).map_err(act)?;
    Ok(())
}

/// Reads all trees into `cache`, which has all assets.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read trees", e);
    let sql = "SELECT t.id, t.key, t.org, t.name, t.names, t.tags, t.created_micros, n.asset
               FROM trees t LEFT JOIN tree_nodes n ON n.tree = t.id AND n.parent IS NULL ORDER BY t.id";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let tree = decode(row)?;
        cache.apply(Edit::Tree(Change::New(Arc::new(tree))));
    }
    load_nodes(connection, cache)
}

fn decode(row: &Row<'_>) -> Result<Tree, Error> {
    let act = |e| Error::sqlite("read trees", e);
    let id: i64 = row.get(0).map_err(act)?;
    let key: String = row.get(1).map_err(act)?;
    let root: Option<i64> = row.get(7).map_err(act)?;
    let root = root.ok_or_else(|| Error::damaged("trees", id, "root", "does not exist"))?;
    let texts = |column: usize, field: &str| {
        let text: Option<String> = row.get(column).map_err(act)?;
        decode_texts(text.as_deref()).map_err(|e| Error::damaged("trees", id, field, e))
    };
    Ok(Tree {
        id: tree_id(id)?,
        key: key.into(),
        org: OrgId(number("trees", row.get(2).map_err(act)?)?),
        name: row.get(3).map_err(act)?,
        names: texts(4, "names")?,
        tags: texts(5, "tags")?,
        root: AssetId(number("tree_nodes", root)?),
        created_micros: row.get(6).map_err(act)?,
    })
}

fn load_nodes(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read tree nodes", e);
    let sql = "SELECT tree, asset, parent FROM tree_nodes ORDER BY tree, rank, asset";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut read = Vec::new();
    while let Some(row) = rows.next().map_err(act)? {
        let tree_row: i64 = row.get(0).map_err(act)?;
        let damaged = |field: &str| Error::damaged("tree_nodes", tree_row, field, "does not exist");
        let tree = tree_id(tree_row)?;
        let known = cache.trees().tree(tree).ok_or_else(|| damaged("tree"))?;
        let (root, org) = (known.root, known.org);
        let asset = AssetId(number("tree_nodes", row.get(1).map_err(act)?)?);
        if cache.asset(asset).is_none_or(|found| found.org != org) {
            return Err(damaged("asset"));
        }
        let parent: Option<i64> = row.get(2).map_err(act)?;
        match parent {
            Some(parent) => {
                let parent = AssetId(number("tree_nodes", parent)?);
                cache.trees_mut().add(tree, asset, Some(parent));
                read.push((tree, root, asset));
            }
            None if asset == root => {}
            None => return Err(Error::damaged("tree_nodes", tree_row, "parent", "is missing twice")),
        }
    }
    // Only now all parents are known: every node must hang below its root.
    for (tree, root, asset) in read {
        let mut at = Some(asset);
        for _ in 0..TREE_LAYERS_MAX {
            at = at.filter(|&at| at != root).and_then(|at| cache.trees().parent(tree, at)).or(at);
        }
        if at != Some(root) {
            return Err(Error::damaged(
                "tree_nodes",
                i64::from(tree.0),
                "parent",
                "does not lead to the root",
            ));
        }
    }
    Ok(())
}
