//! Grants: what an account may do, and with which assets.
//!
//! Owns: rights, what a grant may be on, who has which grants, their text form, their rows. Does not own: what follows
//! from the grants of one account ([`crate::permissions`]), where they are enforced (whoever serves a call).
//!
//! An account that was never granted anything is not limited: a service account has its whole organization, an account
//! that signs in with a password has everything. The first grant limits it to what it was granted, and it stays limited
//! when the last grant is taken away: taking away never widens. With the account its grants go, so that a later one of
//! the same name does not have them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use serde_json::{Value, json};
use wattline_model::{AssetId, ModelId, OrgId};

use crate::cache::{Cache, Edit};
use crate::error::{Error, ErrorKind};
use crate::{Branch, Registry, TreeId, audit, number};

/// Grants of one account: what a person keeps in view is far less; for more assets there are models and branches.
pub const GRANTS_PER_ACCOUNT_MAX: usize = 10_000;

/// Grants of all accounts, which are held in memory: some 20 MB.
pub const GRANTS_MAX: usize = 500_000;

/// Bytes of a grant as text: two identifiers and some words.
const TEXT_BYTES_MAX: usize = 512;

/// What may be done with an asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Right {
    /// Read values and attributes.
    Read = 1,
    /// Write and delete values.
    Write = 2,
    /// Send commands; handle events.
    Control = 4,
    /// Change the asset, its model and its place.
    Manage = 8,
}

impl Right {
    /// All of them.
    pub const ALL: [Right; 4] = [Right::Read, Right::Write, Right::Control, Right::Manage];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::Control => "control",
            Right::Manage => "manage",
        }
    }
}

/// A set of rights. None implies another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Rights = Rights(0);

    /// Every right.
    pub const ALL: Rights = Rights(15);

    /// Whether `right` is among them.
    pub const fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Rights) -> Rights {
        Rights(self.0 | others.0)
    }

    /// These without those.
    #[must_use]
    pub const fn without(self, others: Rights) -> Rights {
        Rights(self.0 & !others.0)
    }

    fn read(text: &str) -> Option<Rights> {
        if text == "all" {
            return Some(Rights::ALL);
        }
        let named = |name: &str| Right::ALL.into_iter().find(|right| right.name() == name);
        text.split(',').try_fold(Rights::NONE, |rights, name| Some(rights.and(named(name)?.into())))
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Rights {
        Rights(right as u8)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Rights::ALL {
            return f.write_str("all");
        }
        let names: Vec<&str> =
            Right::ALL.into_iter().filter(|&right| self.has(right)).map(Right::name).collect();
        f.write_str(&names.join(","))
    }
}

/// What a grant is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All assets of an organization, and what belongs to it beside them.
    Organization(OrgId),
    /// All assets of a model and of those that inherit from it.
    Model(ModelId),
    /// An asset of a tree and all that hangs below it there.
    Branch(Branch),
    /// One asset.
    Asset(AssetId),
}

impl Scope {
    /// Its kind, its tree (0 where it is in none) and its number.
    const fn parts(self) -> (&'static str, u32, u32) {
        match self {
            Scope::Organization(org) => ("org", 0, org.0),
            Scope::Model(model) => ("model", 0, model.0),
            Scope::Branch(branch) => ("branch", branch.tree.0, branch.asset.0),
            Scope::Asset(asset) => ("asset", 0, asset.0),
        }
    }

    fn of_parts(kind: &str, tree: u32, item: u32) -> Option<Scope> {
        Some(match (kind, tree) {
            ("org", 0) => Scope::Organization(OrgId(item)),
            ("model", 0) => Scope::Model(ModelId(item)),
            ("branch", 1..) => Scope::Branch(Branch { tree: TreeId(tree), asset: AssetId(item) }),
            ("asset", 0) => Scope::Asset(AssetId(item)),
            _ => return None,
        })
    }

    /// The organization it is of, where it exists.
    fn org(self, cache: &Cache) -> Option<OrgId> {
        match self {
            Scope::Organization(org) => cache.org(org).map(|org| org.id),
            Scope::Model(model) => cache.model(model).map(|entry| entry.model.org),
            Scope::Branch(branch) => {
                let tree = cache.trees().tree(branch.tree)?;
                cache.trees().has(branch.tree, branch.asset).then_some(tree.org)
            }
            Scope::Asset(asset) => cache.asset(asset).map(|device| device.org),
        }
    }
}

/// Rights on something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On what.
    pub scope: Scope,
    /// Which.
    pub rights: Rights,
}

/// Kinds of accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HolderKind {
    /// Signs in with a password; see [`crate::accounts`].
    Account,
    /// Calls the data service; see [`crate::services`].
    Service,
}

impl HolderKind {
    const fn name(self) -> &'static str {
        match self {
            HolderKind::Account => "account",
            HolderKind::Service => "service account",
        }
    }
}

/// An account that has grants, or may have some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Of which kind.
    pub kind: HolderKind,
    /// Its name or access key.
    pub name: &'a str,
}

impl<'a> Holder<'a> {
    /// The account that signs in as `name`.
    pub fn account(name: &'a str) -> Holder<'a> {
        Holder { kind: HolderKind::Account, name }
    }

    /// The service account with this access key.
    pub fn service(name: &'a str) -> Holder<'a> {
        Holder { kind: HolderKind::Service, name }
    }

    fn item(self) -> String {
        format!("{} {}", self.kind.name(), self.name)
    }

    /// The organization it is bound to: a service account's; `NotFound` where there is no such account.
    fn bound(self, cache: &Cache) -> Result<Option<OrgId>, Error> {
        let missing = || Error::not_found(self.item());
        match self.kind {
            HolderKind::Account => cache.account(self.name).map(|_| None).ok_or_else(missing),
            HolderKind::Service => {
                cache.service_account(self.name).map(|account| Some(account.org)).ok_or_else(missing)
            }
        }
    }
}

/// The grants of one account, one for each scope.
pub(crate) type Granted = BTreeMap<Scope, Rights>;

impl Registry {
    /// The grants of an account, in the order of their scopes; `None` where it is not limited to any.
    pub fn grants(&self, holder: Holder<'_>) -> Option<Vec<Grant>> {
        let granted = Arc::clone(self.cache().granted(holder)?);
        Some(granted.iter().map(|(&scope, &rights)| Grant { scope, rights }).collect())
    }

    /// Adds `grants` to those of an account, which is limited to its grants from then on.
    ///
    /// # Errors
    /// `NotFound` where there is no such account or something granted does not exist, `Input` where a service account
    /// would get something of another organization, or there are too many.
    pub fn grant(
        &self,
        holder: Holder<'_>,
        grants: &[Grant],
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        self.change_grants(holder, "grant", operator, now_micros, |granted, _| {
            let mut granted = granted.cloned().unwrap_or_default();
            for grant in grants {
                let rights = granted.entry(grant.scope).or_default();
                *rights = rights.and(grant.rights);
            }
            Ok(Some(granted))
        })
    }

    /// Takes `grants` from an account. What is left of others on the same things stays, and so does the limit to what
    /// is granted.
    ///
    /// # Errors
    /// `NotFound` where there is no such account, or it has not got one of them.
    pub fn revoke_grants(
        &self,
        holder: Holder<'_>,
        grants: &[Grant],
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        self.change_grants(holder, "revoke", operator, now_micros, |granted, cache| {
            let mut granted = granted.cloned().unwrap_or_default();
            for grant in grants {
                let rights = granted.get(&grant.scope).copied().unwrap_or_default();
                let left = rights.without(grant.rights);
                if left == rights {
                    let what = text(cache, *grant);
                    return Err(Error::not_found(format!("{}: grant {what}", holder.item())));
                }
                match left.is_empty() {
                    true => drop(granted.remove(&grant.scope)),
                    false => drop(granted.insert(grant.scope, left)),
                }
            }
            Ok(Some(granted))
        })
    }

    /// Gives an account these grants and no others; with `None` it is not limited any more.
    ///
    /// # Errors
    /// As [`grant`](Registry::grant).
    pub fn set_grants(
        &self,
        holder: Holder<'_>,
        grants: Option<&[Grant]>,
        operator: &str,
        now_micros: i64,
    ) -> Result<(), Error> {
        let granted = grants.map(collected);
        self.change_grants(holder, "set grants", operator, now_micros, |_, _| Ok(granted))
    }

    fn change_grants(
        &self,
        holder: Holder<'_>,
        action: &str,
        operator: &str,
        now_micros: i64,
        act: impl FnOnce(Option<&Granted>, &Cache) -> Result<Option<Granted>, Error>,
    ) -> Result<(), Error> {
        self.change(|transaction, cache| {
            let bound = holder.bound(cache)?;
            let before = cache.granted(holder).map(Arc::clone);
            let after = act(before.as_deref(), cache)?;
            if after.as_ref() == before.as_deref() {
                return Ok(((), Edit::Nothing));
            }
            if let Some(granted) = &after {
                check(cache, holder, bound, granted)?;
            }
            save(transaction, holder, after.as_ref())?;
            let told = |granted: Option<&Granted>| match granted {
                Some(granted) => texts(cache, granted),
                None => json!("not limited"),
            };
            let note = audit::Note {
                operator,
                action,
                item: &holder.item(),
                before: Some(told(before.as_deref())),
                after: Some(told(after.as_ref())),
                micros: now_micros,
            };
            audit::note(transaction, &note)?;
            Ok(((), edit(holder, after)))
        })
    }

    /// The grant that `text` says: `<rights>:<org|model|branch|asset>:<key>`, such as `read,write:model:acme/turbine` or
    /// `read:branch:<tree>/<asset>`; a model of the organization `default` may be named without it.
    ///
    /// # Errors
    /// `Input` for any other text, `NotFound` where there is no such thing.
    pub fn read_grant(&self, text: &str) -> Result<Grant, Error> {
        let shown: String = text.chars().take(80).collect();
        let wrong = |reason: &str| Error::input(format!("grant {shown:?}"), "form", reason);
        let form = "expected <rights>:<org|model|branch|asset>:<key>, such as read,write:model:turbine";
        let mut parts = text.splitn(3, ':');
        let (Some(rights), Some(kind), Some(key), true) =
            (parts.next(), parts.next(), parts.next(), text.len() <= TEXT_BYTES_MAX)
        else {
            return Err(wrong(form));
        };
        let rights = Rights::read(rights).ok_or_else(|| {
            wrong("rights are read, write, control and manage, several with commas between, or all")
        })?;
        let cache = self.cache();
        let missing = || Error::not_found(format!("{kind} {key}"));
        let scope = match kind {
            "org" => cache.org_by_key(key).map(|org| Scope::Organization(org.id)),
            "model" => {
                let (org, model) = key.split_once('/').unwrap_or(("default", key));
                let org = cache.org_by_key(org).map(|org| org.id);
                org.and_then(|org| cache.model_by_key(org, model)).map(|entry| Scope::Model(entry.model.id))
            }
            "branch" => key.split_once('/').and_then(|(tree, asset)| {
                let branch =
                    Branch { tree: cache.trees().by_key(tree)?.id, asset: cache.asset_by_key(asset)?.asset };
                cache.trees().has(branch.tree, branch.asset).then_some(Scope::Branch(branch))
            }),
            "asset" => cache.asset_by_key(key).map(|device| Scope::Asset(device.asset)),
            _ => return Err(wrong(form)),
        };
        Ok(Grant { scope: scope.ok_or_else(missing)?, rights })
    }

    /// The text that [`read_grant`](Registry::read_grant) reads as `grant`.
    pub fn grant_text(&self, grant: Grant) -> String {
        text(&self.cache(), grant)
    }
}

fn text(cache: &Cache, grant: Grant) -> String {
    let org_key = |org| cache.org(org).map_or_else(|| org.to_string(), |org| org.key.clone());
    let (kind, ..) = grant.scope.parts();
    let asset_key =
        |asset| cache.asset(asset).map_or_else(|| asset.to_string(), |device| device.asset_key.to_string());
    let key = match grant.scope {
        Scope::Organization(org) => org_key(org),
        Scope::Model(model) => cache.model(model).map_or_else(
            || model.to_string(),
            |entry| format!("{}/{}", org_key(entry.model.org), entry.model.key),
        ),
        Scope::Branch(branch) => {
            let tree = cache.trees().tree(branch.tree);
            let tree = tree.map_or_else(|| branch.tree.to_string(), |tree| tree.key.to_string());
            format!("{tree}/{}", asset_key(branch.asset))
        }
        Scope::Asset(asset) => asset_key(asset),
    };
    format!("{}:{kind}:{key}", grant.rights)
}

fn texts(cache: &Cache, granted: &Granted) -> Value {
    granted.iter().map(|(&scope, &rights)| text(cache, Grant { scope, rights })).collect()
}

/// One grant for each scope.
fn collected(grants: &[Grant]) -> Granted {
    let mut granted = Granted::new();
    for grant in grants {
        let rights = granted.entry(grant.scope).or_default();
        *rights = rights.and(grant.rights);
    }
    granted
}

/// Whether all that is granted exists, and may be the account's.
fn check(cache: &Cache, holder: Holder<'_>, bound: Option<OrgId>, granted: &Granted) -> Result<(), Error> {
    let too_many = |reason: String| Err(Error::new(ErrorKind::Input, holder.item(), reason));
    if granted.len() > GRANTS_PER_ACCOUNT_MAX {
        let reason = format!("{} grants; at most {GRANTS_PER_ACCOUNT_MAX} are allowed", granted.len());
        return too_many(reason);
    }
    let before = cache.granted(holder);
    let known = before.map_or(0, |granted| granted.len());
    if cache.grant_count() - known + granted.len() > GRANTS_MAX {
        return too_many(format!("all accounts together have at most {GRANTS_MAX} grants"));
    }
    // What it has already may be gone since.
    let is_new = |scope: &&Scope| before.is_none_or(|before| !before.contains_key(scope));
    for &scope in granted.keys().filter(is_new) {
        let (kind, _, item) = scope.parts();
        let org = scope.org(cache).ok_or_else(|| Error::not_found(format!("{kind} {item}")))?;
        if bound.is_some_and(|bound| bound != org) {
            let reason = "a service account has rights in its own organization only";
            return Err(Error::new(ErrorKind::Input, holder.item(), reason));
        }
    }
    Ok(())
}

/// Grants that come with an account that is made in the same transaction.
pub(crate) fn first(
    transaction: &Transaction<'_>,
    cache: &Cache,
    holder: Holder<'_>,
    bound: Option<OrgId>,
    grants: Option<&[Grant]>,
) -> Result<Option<(Edit, Value)>, Error> {
    let Some(grants) = grants else { return Ok(None) };
    let granted = collected(grants);
    check(cache, holder, bound, &granted)?;
    save(transaction, holder, Some(&granted))?;
    let told = texts(cache, &granted);
    Ok(Some((edit(holder, Some(granted)), told)))
}

fn edit(holder: Holder<'_>, granted: Option<Granted>) -> Edit {
    Edit::Grants(holder.kind, holder.name.to_owned(), granted.map(Arc::new))
}

/// Replaces the rows of an account.
pub(crate) fn save(
    transaction: &Transaction<'_>,
    holder: Holder<'_>,
    granted: Option<&Granted>,
) -> Result<(), Error> {
    let act = |e| Error::sqlite("save grants", e);
    let kind = holder.kind.name();
    transaction
        .execute("DELETE FROM limited WHERE kind = ?1 AND holder = ?2", [kind, holder.name])
        .map_err(act)?;
    let Some(granted) = granted else { return Ok(()) };
    transaction
        .execute("INSERT INTO limited (kind, holder) VALUES (?1, ?2)", [kind, holder.name])
        .map_err(act)?;
    let sql = "INSERT INTO grants (kind, holder, scope, tree, item, rights) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = transaction.prepare_cached(sql).map_err(act)?;
    for (scope, rights) in granted {
        let (name, tree, item) = scope.parts();
        statement.execute(params![kind, holder.name, name, tree, item, rights.0]).map_err(act)?;
    }
    Ok(())
}

/// Reads all grants into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read grants", e);
    let sql = "SELECT l.rowid, l.kind, l.holder, g.scope, g.tree, g.item, g.rights FROM limited l
               LEFT JOIN grants g ON g.kind = l.kind AND g.holder = l.holder ORDER BY l.kind, l.holder";
    let mut statement = connection.prepare(sql).map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    let mut all: BTreeMap<(HolderKind, String), Granted> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(act)? {
        let id: i64 = row.get(0).map_err(act)?;
        let kind: String = row.get(1).map_err(act)?;
        let known = [HolderKind::Account, HolderKind::Service];
        let kind = known.into_iter().find(|known| known.name() == kind);
        let kind = kind.ok_or_else(|| Error::damaged("limited", id, "kind", "is unknown"))?;
        let granted = all.entry((kind, row.get(2).map_err(act)?)).or_default();
        let Some(scope) = row.get::<_, Option<String>>(3).map_err(act)? else { continue };
        let tree: u32 = row.get(4).map_err(act)?;
        let item = number("grants", row.get(5).map_err(act)?)?;
        let rights: u8 = row.get(6).map_err(act)?;
        let scope = Scope::of_parts(&scope, tree, item).filter(|_| rights > 0 && rights <= Rights::ALL.0);
        let scope = scope.ok_or_else(|| Error::damaged("grants", id, "scope", "is unknown"))?;
        granted.insert(scope, Rights(rights));
    }
    for ((kind, name), granted) in all {
        cache.apply(Edit::Grants(kind, name, Some(Arc::new(granted))));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
