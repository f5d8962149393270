//! Products: kinds of devices that share a model and a way to prove themselves.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};
use wattline_model::{ModelId, OrgId};

use crate::cache::{Cache, Edit, ProductEntry};
use crate::error::{Error, ErrorKind};
use crate::secret::random_key;
use crate::{Registry, Secret, check, number};

/// Products of one registry.
pub const PRODUCTS_MAX: usize = 100_000;

/// A product.
#[derive(Clone, Debug)]
pub struct Product {
    /// Its identifier, unique in the whole registry: a device names it without an organization when it connects.
    pub key: String,
    /// Display name.
    pub name: String,
    /// Its organization.
    pub org: OrgId,
    /// The model of its devices.
    pub model: ModelId,
    /// Its secret, for dynamic activation (secure mode 3).
    pub secret: Secret,
    /// Whether a device may prove itself with the product's secret and be told its own.
    pub dynamic_activation: bool,
    /// Whether its devices must connect over TLS with a client certificate.
    pub require_certificate: bool,
    /// Whether its devices are gateways, which may speak for others.
    pub gateway: bool,
}

/// A product to create.
#[derive(Clone, Debug)]
pub struct NewProduct {
    /// Its organization.
    pub org: OrgId,
    /// Its identifier; none = generated.
    pub key: Option<String>,
    /// Display name; empty = the key.
    pub name: String,
    /// The identifier of the model of its devices, in the same organization.
    pub model_key: String,
    /// Its secret; none = generated.
    pub secret: Option<Secret>,
    /// See [`Product::dynamic_activation`].
    pub dynamic_activation: bool,
    /// See [`Product::require_certificate`].
    pub require_certificate: bool,
    /// See [`Product::gateway`].
    pub gateway: bool,
}

impl Registry {
    /// The product with this identifier.
    pub fn product(&self, product_key: &str) -> Option<Arc<Product>> {
        self.cache().product(product_key).map(|entry| Arc::clone(&entry.product))
    }

    /// All products, by identifier.
    pub fn products(&self) -> Vec<Arc<Product>> {
        let mut all: Vec<_> = self.cache().products().cloned().collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Creates a product.
    ///
    /// # Errors
    /// `Input` for a bad definition, `NotFound` where the organization or model does not exist, `Conflict` where the
    /// key is taken.
    pub fn create_product(&self, new: NewProduct) -> Result<Arc<Product>, Error> {
        if let Some(key) = &new.key {
            check::identifier("product", "productKey", key)?;
        }
        let item = format!("product {}", new.key.as_deref().unwrap_or(&new.name));
        if !new.name.is_empty() {
            check::name(&item, "name", &new.name)?;
        }
        if let Some(secret) = &new.secret {
            check::secret(&item, "productSecret", secret)?;
        }
        let secret = new.secret.clone().map_or_else(Secret::generate, Ok)?;
        self.change(|transaction, cache| {
            if cache.org(new.org).is_none() {
                return Err(Error::not_found(new.org.to_string()));
            }
            let model = cache
                .model_by_key(new.org, &new.model_key)
                .ok_or_else(|| Error::not_found(format!("model {}", new.model_key)))?;
            if cache.products().count() >= PRODUCTS_MAX {
                return Err(Error::new(ErrorKind::Input, item, format!("there are {PRODUCTS_MAX} already")));
            }
            let key = match new.key {
                Some(key) if cache.product(&key).is_some() => {
                    return Err(Error::conflict(item, "productKey", "is taken"));
                }
                Some(key) => key,
                None => free_key(cache)?,
            };
            let product = Product {
                name: if new.name.is_empty() { key.clone() } else { new.name },
                key,
                org: new.org,
                model: model.model.id,
                secret,
                dynamic_activation: new.dynamic_activation,
                require_certificate: new.require_certificate,
                gateway: new.gateway,
            };
            transaction
                .execute(
                    "INSERT INTO products
                     (key, name, org, model, secret, dynamic_activation, require_certificate, gateway)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        product.key,
                        product.name,
                        product.org.0,
                        product.model.0,
                        product.secret.expose(),
                        product.dynamic_activation,
                        product.require_certificate,
                        product.gateway,
                    ],
                )
                .map_err(|e| Error::sqlite("create a product", e))?;
            let entry = entry(product, transaction.last_insert_rowid());
            Ok((Arc::clone(&entry.product), Edit::Product(entry)))
        })
    }
}

fn free_key(cache: &Cache) -> Result<String, Error> {
    loop {
        let key = random_key()?;
        if cache.product(&key).is_none() {
            return Ok(key);
        }
    }
}

fn entry(product: Product, row: i64) -> ProductEntry {
    let key = product.key.as_str().into();
    ProductEntry { product: Arc::new(product), row, key }
}

/// Reads all products into `cache`.
pub(crate) fn load(connection: &Connection, cache: &mut Cache) -> Result<(), Error> {
    let act = |e| Error::sqlite("read products", e);
    let mut statement = connection
        .prepare(
            "SELECT id, key, name, org, model, secret, dynamic_activation, require_certificate, gateway
             FROM products ORDER BY id",
        )
        .map_err(act)?;
    let mut rows = statement.query([]).map_err(act)?;
    while let Some(row) = rows.next().map_err(act)? {
        let entry = decode(row)?;
        if cache.model(entry.product.model).is_none() {
            return Err(Error::damaged("products", entry.row, "model", "does not exist"));
        }
        cache.apply(Edit::Product(entry));
    }
    Ok(())
}

fn decode(row: &Row<'_>) -> Result<ProductEntry, Error> {
    let act = |e| Error::sqlite("read products", e);
    let secret: String = row.get(5).map_err(act)?;
    let product = Product {
        key: row.get(1).map_err(act)?,
        name: row.get(2).map_err(act)?,
        org: OrgId(number("products", row.get(3).map_err(act)?)?),
        model: ModelId(number("products", row.get(4).map_err(act)?)?),
        secret: Secret::from(secret),
        dynamic_activation: row.get(6).map_err(act)?,
        require_certificate: row.get(7).map_err(act)?,
        gateway: row.get(8).map_err(act)?,
    };
    Ok(entry(product, row.get(0).map_err(act)?))
}
