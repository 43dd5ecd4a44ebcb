//! How layers meet: later ones win or add up, variables are put in, and nothing that a level
//! presets is left open.

use std::sync::Arc;

use crate::error::{Error, Place};
use crate::node::quoted;
use crate::value::{List, Missing, Setting, Value, Variables};
use crate::word::nearest;

/// The later value wins.
pub(crate) fn replace<T>(mine: &mut Option<T>, later: Option<T>) {
    if later.is_some() {
        *mine = later;
    }
}

/// The later list adds what is not there yet.
pub(crate) fn join<T: Value>(mine: &mut Option<List<T>>, later: Option<List<T>>) {
    let Some(later) = later else {
        return;
    };
    let Some(mine) = mine else {
        let mut list = List {
            items: Vec::with_capacity(later.items.len()),
            origin: later.origin,
        };
        add(&mut list.items, later.items);
        *mine = Some(list);
        return;
    };
    add(&mut mine.items, later.items);
}

fn add<T: Value>(mine: &mut Vec<Setting<T>>, later: Vec<Setting<T>>) {
    for item in later {
        if !mine.iter().any(|known| known.value == item.value) {
            mine.push(item);
        }
    }
}

/// What a value needs to be resolved.
pub(crate) struct Context<'a> {
    pub(crate) variables: &'a Variables,
    /// The name of the presets.
    pub(crate) level: &'a Arc<str>,
}

impl Context<'_> {
    pub(crate) fn preset<T: Value>(
        &self,
        key: &'static str,
        value: Option<Setting<T>>,
    ) -> Result<Setting<T>, Error> {
        let value = value.ok_or_else(|| Error::MissingKey {
            place: Place {
                file: Arc::clone(self.level),
                line: 0,
                key: key.to_owned(),
            },
            expected: "a preset of the level",
        })?;
        self.expand(value)
    }

    pub(crate) fn optional<T: Value>(
        &self,
        value: Option<Setting<T>>,
    ) -> Result<Option<Setting<T>>, Error> {
        value.map(|value| self.expand(value)).transpose()
    }

    pub(crate) fn list<T: Value>(&self, list: Option<List<T>>) -> Result<Option<List<T>>, Error> {
        let Some(list) = list else {
            return Ok(None);
        };
        let mut items = Vec::with_capacity(list.items.len());
        for item in list.items {
            add(&mut items, vec![self.expand(item)?]);
        }
        Ok(Some(List {
            items,
            origin: list.origin,
        }))
    }

    pub(crate) fn joined<T: Value>(&self, list: Option<List<T>>) -> Result<Vec<Setting<T>>, Error> {
        Ok(self.list(list)?.map_or_else(Vec::new, |list| list.items))
    }

    fn expand<T: Value>(&self, mut setting: Setting<T>) -> Result<Setting<T>, Error> {
        match setting.value.expand(self.variables) {
            Ok(()) => Ok(setting),
            Err(Missing::Unknown(name)) => Err(Error::UnknownVariable {
                place: setting.origin.place(),
                nearest: nearest(&name, self.variables.keys().map(String::as_str)),
                name,
            }),
            Err(Missing::Unclean(path)) => Err(Error::Value {
                place: setting.origin.place(),
                expected: "an absolute path without \"..\", \".\", \"//\" or a slash at its end once variables are put in"
                    .to_owned(),
                found: quoted(&path),
                nearest: None,
            }),
        }
    }
}
