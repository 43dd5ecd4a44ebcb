//! Finding the layers of a profile: what it extends, each once, and the presets of its level.

use crate::builtin;
use crate::error::Error;
use crate::layer::Layer;
use crate::node::Format;
use crate::value::{Level, Name, Setting, SourceKind};
use crate::word::nearest;

/// Profiles that extend one another, at most.
pub const MAX_DEPTH: usize = 16;

/// The text of a profile, found by its name.
#[derive(Debug, Clone)]
pub struct SourceText {
    /// What messages call it: a path.
    pub file: String,
    /// What is in it.
    pub text: String,
    /// Its language.
    pub format: Format,
}

/// Where profiles that are not built in are found.
pub trait Source {
    /// The profile of this name, if there is one. Never asked for a built-in one.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`] for one that is there and cannot be read.
    fn find(&self, name: &str) -> Result<Option<SourceText>, Error>;

    /// The names of all profiles, to suggest one where a name is mistyped.
    ///
    /// # Errors
    ///
    /// [`Error::Unlisted`] if some may be there that cannot be seen.
    fn names(&self) -> Result<Vec<String>, Error>;
}

/// No profiles but the built-in ones.
impl Source for () {
    fn find(&self, _name: &str) -> Result<Option<SourceText>, Error> {
        Ok(None)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}

/// What to resolve.
#[derive(Debug, Clone)]
pub enum Start {
    /// The profile of this name.
    Name(String),
    /// A profile that was read.
    Layer(Box<Layer>),
}

impl From<&str> for Start {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for Start {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<Layer> for Start {
    fn from(layer: Layer) -> Self {
        Self::Layer(Box::new(layer))
    }
}

/// The layers of a profile.
pub(crate) struct Layers {
    /// The lowest: the presets of the level that the others set.
    pub(crate) presets: Layer,
    /// The others, lowest first: base, what the profile extends, the profile.
    pub(crate) explicit: Vec<Layer>,
}

pub(crate) fn collect(
    (base, top): (Option<Layer>, Option<Layer>),
    start: Start,
    source: &dyn Source,
) -> Result<Layers, Error> {
    let mut collector = Collector {
        source,
        chain: Vec::new(),
        layers: Vec::new(),
    };
    let layer = match start {
        Start::Layer(layer) => free(*layer)?,
        Start::Name(name) => collector.find(&name, None)?,
    };
    collector.add(layer)?;
    let explicit = base.into_iter().chain(collector.layers).chain(top);
    let explicit: Vec<_> = explicit.collect();
    let set = explicit
        .iter()
        .rev()
        .find_map(|layer| layer.general.level.as_ref());
    let level = set.map_or(Level::Standard, |level| level.value);
    Ok(Layers {
        presets: builtin::presets(level)?,
        explicit,
    })
}

/// Refuses a file that has the name of a built-in profile: by that name the built-in one is found.
fn free(layer: Layer) -> Result<Layer, Error> {
    let taken = builtin::canonical(layer.name.value.as_str()).is_some();
    if taken && layer.name.origin.kind == SourceKind::File {
        return Err(Error::Reserved {
            place: layer.name.origin.place(),
            name: layer.name.value.as_str().to_owned(),
        });
    }
    Ok(layer)
}

struct Collector<'a> {
    source: &'a dyn Source,
    /// The names from the start to the layer at hand.
    chain: Vec<Name>,
    /// What is complete, in order.
    layers: Vec<Layer>,
}

impl Collector<'_> {
    fn add(&mut self, mut layer: Layer) -> Result<(), Error> {
        self.chain.push(layer.name.value.clone());
        for parent in std::mem::take(&mut layer.extends) {
            self.extend(&parent)?;
        }
        self.chain.pop();
        self.layers.push(layer);
        Ok(())
    }

    fn extend(&mut self, parent: &Setting<Name>) -> Result<(), Error> {
        let name = parent.value.as_str();
        let name = builtin::canonical(name).unwrap_or(name);
        let names = |chain: &[Name]| {
            let chain = chain.iter().map(Name::as_str);
            chain.chain([name]).collect::<Vec<_>>().join(" -> ")
        };
        if let Some(start) = self.chain.iter().position(|known| known.as_str() == name) {
            return Err(Error::Cycle {
                place: parent.origin.place(),
                chain: names(self.chain.get(start..).unwrap_or_default()),
            });
        }
        if self.chain.len() >= MAX_DEPTH {
            return Err(Error::TooDeep {
                place: parent.origin.place(),
                limit: MAX_DEPTH,
                chain: names(&self.chain),
            });
        }
        if self
            .layers
            .iter()
            .any(|layer| layer.name.value.as_str() == name)
        {
            return Ok(());
        }
        let layer = self.find(name, Some(parent))?;
        self.add(layer)
    }

    fn find(&self, name: &str, parent: Option<&Setting<Name>>) -> Result<Layer, Error> {
        if let Some(layer) = builtin::layer(name)? {
            return Ok(layer);
        }
        // A text that can be no name is not handed to a source, which may make a path of it.
        let found = match Name::new(name) {
            Some(_) => self.source.find(name)?,
            None => None,
        };
        let Some(found) = found else {
            let known = self.source.names()?;
            let known = known.iter().map(String::as_str);
            let builtin = builtin::words().map(|word| -> &str { word });
            return Err(Error::UnknownProfile {
                place: parent.map(|parent| parent.origin.place()),
                name: name.to_owned(),
                nearest: nearest(name, builtin.chain(known)),
            });
        };
        let layer = Layer::parse(&found.file, &found.text, found.format)?;
        if layer.name.value.as_str() != name {
            return Err(Error::Value {
                place: layer.name.origin.place(),
                expected: format!("{name:?}, the name that the profile is found by"),
                found: format!("{:?}", layer.name.value.as_str()),
                nearest: None,
            });
        }
        Ok(layer)
    }
}
