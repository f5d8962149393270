//! What a statement sees, by who runs it.
//!
//! Owns: [`Scope`], the catalog of one account with the session and the kept plans over it; [`Scopes`], which account
//! has which. Does not own: what was granted (`registry`), which rows a table leaves out (`tables`, `catalog`).
//!
//! A plan holds tables, and the tables of a catalog know whom they are for. So no plan can be kept for one account and
//! run for another: each limited account has tables, functions and plans of its own, made anew when what it may do
//! changes. Whoever may do everything shares one.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::{FunctionRegistry as _, SessionState};
use parking_lot::Mutex;
use wattline_registry::{Holder, Permissions, Registry, Right, Rights};

use crate::catalog::{Catalog, Catalogs};
use crate::engine::Caller;
use crate::error::{Error, ErrorKind};
use crate::pg;
use crate::plans::{Plans, SHAPES_MAX};

/// Limited accounts whose scopes are kept: as many as are at work at a time. A scope takes a few hundred kilobytes with
/// its tables.
const SCOPES_MAX: usize = 64;

/// Shapes remembered for a limited account.
const LIMITED_SHAPES_MAX: usize = SHAPES_MAX / 8;

/// What statements of one account see.
pub(crate) struct Scope {
    pub(crate) catalog: Arc<Catalog>,
    /// What each statement's session is copied from.
    pub(crate) state: SessionState,
    pub(crate) plans: Plans,
}

impl Scope {
    /// Of whoever may do everything.
    pub(crate) fn of_all(catalog: Arc<Catalog>, state: SessionState) -> Scope {
        Scope { catalog, state, plans: Plans::new(SHAPES_MAX) }
    }

    /// Of an account, over what `all` sees.
    fn limited(all: &Scope, account: &Arc<str>, permissions: Arc<Permissions>) -> Scope {
        let limit = Limit { account: Arc::clone(account), permissions };
        let catalog = Arc::new(all.catalog.limited(limit));
        let mut state = all.state.clone();
        state.register_catalog_list(Arc::new(Catalogs(Arc::clone(&catalog))));
        for function in pg::functions::all(&catalog) {
            // They are there already, over the other catalog.
            drop(state.register_udf(function));
        }
        Scope { catalog, state, plans: Plans::new(LIMITED_SHAPES_MAX) }
    }

    /// Refuses a statement that wants `right` on something where `rights` are what its account has there.
    pub(crate) fn demand(
        &self,
        right: Right,
        rights: impl FnOnce(&Permissions) -> Rights,
        what: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match self.catalog.limit() {
            Some(limit) if !rights(&limit.permissions).has(right) => Err(limit.denied(right, &what())),
            _ => Ok(()),
        }
    }
}

/// An account, and what it is limited to.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) account: Arc<str>,
    pub(crate) permissions: Arc<Permissions>,
}

impl Limit {
    /// The account has not got `right` on `what`.
    pub(crate) fn denied(&self, right: Right, what: &str) -> Error {
        let message =
            format!("permission denied: account {} has no right to {} {what}", self.account, right.name());
        Error::new(ErrorKind::Denied, message)
    }
}

/// The scopes there are.
pub(crate) struct Scopes {
    all: Arc<Scope>,
    limited: Mutex<HashMap<Arc<str>, Limited>>,
}

/// A limited account's scope, and what it was made for.
type Limited = (Arc<Permissions>, Arc<Scope>);

impl Scopes {
    pub(crate) fn new(all: Arc<Scope>) -> Scopes {
        Scopes { all, limited: Mutex::default() }
    }

    /// What `caller` sees.
    pub(crate) fn of(&self, registry: &Registry, caller: &Caller) -> Arc<Scope> {
        let Some(account) = &caller.account else { return Arc::clone(&self.all) };
        let permissions = registry.permissions(Holder::account(account));
        if permissions.is_everything() {
            return Arc::clone(&self.all);
        }
        let mut limited = self.limited.lock();
        if let Some((of, scope)) = limited.get_mut(account)
            && *of == permissions
        {
            // The same may have been worked out anew; next time a look at the pointer will do.
            *of = permissions;
            return Arc::clone(scope);
        }
        let scope = Arc::new(Scope::limited(&self.all, account, Arc::clone(&permissions)));
        if limited.len() >= SCOPES_MAX && !limited.contains_key(account) {
            // Those at work are back with their next statement.
            limited.clear();
        }
        limited.insert(Arc::clone(account), (permissions, Arc::clone(&scope)));
        scope
    }
}
