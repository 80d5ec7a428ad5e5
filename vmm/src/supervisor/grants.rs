//! What each tenant may use of each accelerator at this moment, and changing it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::accelerators::Device;
use crate::config::grant::GrantText;
use crate::config::reader::list;
use crate::config::{Config, GRANT_KEYS};
use crate::spec::AcceleratorSpec;

/// All grants of a configuration.
pub struct Grants {
    devices: BTreeMap<String, Device>,
    held: Mutex<BTreeMap<Key, Held>>,
}

/// A tenant and an accelerator.
type Key = (String, String);

#[derive(Clone)]
struct Held {
    text: GrantText,
    spec: AcceleratorSpec,
}

/// What a change came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Changed {
    /// The accelerator.
    pub accelerator: String,
    /// Each key with its value before and now.
    pub values: Vec<(String, String, String)>,
}

impl Grants {
    /// What `config` grants of `devices`.
    pub fn new(config: &Config, devices: BTreeMap<String, Device>) -> Self {
        let mut held = BTreeMap::new();
        for (tenant, spec) in config.grants() {
            let key = (tenant.to_owned(), spec.name.clone());
            let text = config.places.texts.get(&key).cloned().unwrap_or_default();
            let spec = spec.clone();
            held.insert(key, Held { text, spec });
        }
        let held = Mutex::new(held);
        Self { devices, held }
    }

    /// Sets each key of `changes` of what `tenant` may use of `accelerator`, or of the only one that
    /// it has. `apply` puts the whole grant into effect. Either all is changed or nothing.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what would be right.
    pub fn change(
        &self,
        tenant: &str,
        accelerator: Option<&str>,
        changes: &[(String, String)],
        apply: impl FnOnce(&AcceleratorSpec) -> Result<(), String>,
    ) -> Result<Changed, String> {
        let mut held = self.held();
        let key = find(&held, tenant, accelerator)?;
        let before = held[&key].clone();
        let mut after = before.clone();
        for (name, value) in changes {
            after.spec = after.text.set(name, value, &before.spec)?;
        }
        self.check_memory(&held, &key, &before.spec, &after.spec)?;
        apply(&after.spec)?;
        let values = GRANT_KEYS
            .iter()
            .filter(|key| changes.iter().any(|(name, _)| name == *key))
            .map(|key| {
                let value = |held: &Held| held.text.value(key).to_owned();
                (key.to_string(), value(&before), value(&after))
            })
            .collect();
        let accelerator = key.1.clone();
        held.insert(key, after);
        Ok(Changed {
            accelerator,
            values,
        })
    }

    /// Refuses to promise more memory than the device has.
    fn check_memory(
        &self,
        held: &BTreeMap<Key, Held>,
        key: &Key,
        before: &AcceleratorSpec,
        after: &AcceleratorSpec,
    ) -> Result<(), String> {
        let Some(device) = self.devices.get(&key.1) else {
            return Ok(());
        };
        let wanted = after.memory.unwrap_or(0);
        let others: u64 = held
            .iter()
            .filter(|(other, _)| other.1 == key.1 && *other != key)
            .map(|(_, held)| held.spec.memory.unwrap_or(0))
            .fold(0, u64::saturating_add);
        if wanted <= before.memory.unwrap_or(0)
            || others.saturating_add(wanted) <= device.global_mem
        {
            return Ok(());
        }
        let left = device.global_mem.saturating_sub(others) >> 20;
        Err(format!(
            "`memory`: {} has {} MiB and others were given {} MiB of it; at most \"{left}MiB\" is left \
             for {}",
            device.device,
            device.global_mem >> 20,
            others >> 20,
            key.0
        ))
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(
    held: &BTreeMap<Key, Held>,
    tenant: &str,
    accelerator: Option<&str>,
) -> Result<Key, String> {
    let theirs: Vec<&str> = held
        .keys()
        .filter(|key| key.0 == tenant)
        .map(|key| key.1.as_str())
        .collect();
    let name = match (accelerator, theirs.as_slice()) {
        (_, []) => {
            let mut tenants: Vec<&str> = held.keys().map(|key| key.0.as_str()).collect();
            tenants.dedup();
            return Err(format!(
                "no tenant with an accelerator is called `{tenant}`; there are {}",
                list(&tenants)
            ));
        }
        (None, [only]) => only,
        (None, several) => {
            return Err(format!(
                "`{tenant}` has several accelerators; write one of {}",
                list(
                    &several
                        .iter()
                        .map(|name| format!("{tenant}.{name}"))
                        .collect::<Vec<_>>()
                        .iter()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                )
            ));
        }
        (Some(name), theirs) if theirs.contains(&name) => name,
        (Some(name), theirs) => {
            return Err(format!(
                "`{tenant}` has no accelerator `{name}`; it has {}",
                list(theirs)
            ));
        }
    };
    Ok((tenant.into(), name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> Grants {
        let held = [
            ("alice", "a", "2GiB"),
            ("bob", "a", "1GiB"),
            ("bob", "b", "1GiB"),
        ];
        let held = held.map(|(tenant, name, memory)| {
            let mut text = GrantText::default();
            let base = AcceleratorSpec {
                name: name.into(),
                api: "opencl".into(),
                ..Default::default()
            };
            let spec = text.set("memory", memory, &base).unwrap();
            ((tenant.to_owned(), name.to_owned()), Held { text, spec })
        });
        let device = Device {
            platform: "Test".into(),
            device: "Test device".into(),
            global_mem: 4 << 30,
            max_alloc: 1 << 30,
        };
        Grants {
            devices: [("a".to_owned(), device)].into(),
            held: Mutex::new(held.into()),
        }
    }

    fn pairs(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        changes
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn a_change_is_applied_and_remembered() {
        let grants = grants();
        let changes = pairs(&[("share", "5"), ("memory", "3GiB")]);
        let mut applied = None;
        let changed = grants.change("alice", None, &changes, |spec| {
            applied = Some((spec.share, spec.memory));
            Ok(())
        });
        assert_eq!(applied, Some((5, Some(3 << 30))));
        let row = |key: &str, from: &str, to: &str| (key.into(), from.into(), to.into());
        assert_eq!(
            changed.unwrap().values,
            [row("share", "none", "5"), row("memory", "2GiB", "3GiB")]
        );
        let again = grants.change("alice", Some("a"), &pairs(&[("share", "none")]), |spec| {
            assert_eq!((spec.share, spec.memory), (1, Some(3 << 30)));
            Ok(())
        });
        assert_eq!(again.unwrap().values, [row("share", "5", "none")]);
    }

    #[test]
    fn what_cannot_be_applied_is_not_remembered() {
        let grants = grants();
        let refused = grants.change("alice", None, &pairs(&[("share", "5")]), |_| {
            Err("the machine has ended".into())
        });
        assert_eq!(refused, Err("the machine has ended".into()));
        let half = pairs(&[("share", "5"), ("cap", "x")]);
        let never = |_: &AcceleratorSpec| panic!("nothing is to be applied");
        assert!(grants.change("alice", None, &half, never).is_err());
        let values = grants.change("alice", None, &pairs(&[("share", "2")]), |_| Ok(()));
        assert_eq!(values.unwrap().values[0].1, "none");
    }

    #[test]
    fn names_and_sums_are_checked() {
        let grants = grants();
        let complaint = |tenant, accelerator, key, value| {
            let never = |_: &AcceleratorSpec| panic!("nothing is to be applied");
            grants
                .change(tenant, accelerator, &pairs(&[(key, value)]), never)
                .unwrap_err()
        };
        let error = complaint("carol", None, "share", "2");
        assert!(error.ends_with("there are `alice` and `bob`"), "{error}");
        let error = complaint("bob", None, "share", "2");
        assert!(error.ends_with("`bob.a` and `bob.b`"), "{error}");
        let error = complaint("alice", Some("b"), "share", "2");
        assert!(error.ends_with("it has `a`"), "{error}");
        let error = complaint("alice", None, "memory", "4GiB");
        assert!(error.contains("at most \"3072MiB\" is left"), "{error}");
    }
}
