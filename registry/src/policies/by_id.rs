//! One policy of a group, by its `policyId` (data service §3.9).
//!
//! Owns: finding it and changing it within its group. Does not own: the rules, which are the group's ([`super`]).

use wattline_model::{OrgId, Retention};

use super::{Policy, PolicyGroup, PolicyPoint, save};
use crate::Registry;
use crate::error::Error;

/// What is to become of a policy.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyChange {
    /// It keeps these points and no others.
    Keep {
        /// Its points.
        points: Vec<PolicyPoint>,
        /// How long, where that changes.
        retention: Option<Retention>,
    },
    /// It goes: its points have newest values and no history from then on.
    Remove,
}

impl Registry {
    /// The policy of an organization with this id, and its group.
    pub fn policy(&self, org: OrgId, id: &str) -> Option<(PolicyGroup, Policy)> {
        let cache = self.cache();
        let mut of_org = cache.policy_groups().iter().filter(|group| group.org == org);
        of_org.find_map(|group| {
            let policy = group.policies.iter().find(|policy| policy.id == id)?;
            Some((group.clone(), policy.clone()))
        })
    }

    /// Changes one policy; the rest of its group stays.
    ///
    /// # Errors
    /// `NotFound` where there is none, else as [`Registry::save_policy_group`].
    pub fn change_policy(
        &self,
        org: OrgId,
        id: &str,
        change: PolicyChange,
        operator: &str,
        now_micros: i64,
    ) -> Result<PolicyGroup, Error> {
        self.change(|transaction, cache| {
            let mut of_org = cache.policy_groups().iter().filter(|group| group.org == org);
            let group = of_org.find(|group| group.policies.iter().any(|policy| policy.id == id));
            let mut group = group.cloned().ok_or_else(|| Error::not_found(format!("policy {id}")))?;
            match change {
                PolicyChange::Remove => group.policies.retain(|policy| policy.id != id),
                PolicyChange::Keep { points, retention } => {
                    for policy in group.policies.iter_mut().filter(|policy| policy.id == id) {
                        policy.points.clone_from(&points);
                        policy.retention = retention.or(policy.retention);
                    }
                }
            }
            save(transaction, cache, group, operator, now_micros)
        })
    }
}
