//! A resolved profile as a flat list, for showing it and for comparing two.

use serde_json::Value as Json;

use crate::value::{List, Origin, Setting, Value};

/// One value of a profile; one item where the key holds a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key with its section.
    pub key: &'static str,
    /// The value in its one spelling; an empty list for a list that says "none".
    pub value: Json,
    /// Where it was set.
    pub origin: Origin,
}

/// What a key of a resolved profile holds.
pub(crate) trait Shown {
    fn entries(&self, key: &'static str, out: &mut Vec<Entry>);

    /// The value as a file would have it, if it is set.
    fn json(&self) -> Option<Json>;
}

impl<T: Value> Shown for Setting<T> {
    fn entries(&self, key: &'static str, out: &mut Vec<Entry>) {
        out.push(Entry {
            key,
            value: self.value.json(),
            origin: self.origin.clone(),
        });
    }

    fn json(&self) -> Option<Json> {
        Some(self.value.json())
    }
}

impl<T: Value> Shown for Option<Setting<T>> {
    fn entries(&self, key: &'static str, out: &mut Vec<Entry>) {
        if let Some(setting) = self {
            setting.entries(key, out);
        }
    }

    fn json(&self) -> Option<Json> {
        self.as_ref().map(|setting| setting.value.json())
    }
}

impl<T: Value> Shown for Vec<Setting<T>> {
    fn entries(&self, key: &'static str, out: &mut Vec<Entry>) {
        for item in self {
            item.entries(key, out);
        }
    }

    fn json(&self) -> Option<Json> {
        let items = self.iter().map(|item| item.value.json());
        (!self.is_empty()).then(|| items.collect())
    }
}

impl<T: Value> Shown for Option<List<T>> {
    fn entries(&self, key: &'static str, out: &mut Vec<Entry>) {
        match self {
            Some(list) if list.items.is_empty() => out.push(Entry {
                key,
                value: Json::Array(Vec::new()),
                origin: list.origin.clone(),
            }),
            Some(list) => list.items.entries(key, out),
            None => {}
        }
    }

    fn json(&self) -> Option<Json> {
        let list = self.as_ref()?;
        Some(list.items.iter().map(|item| item.value.json()).collect())
    }
}
