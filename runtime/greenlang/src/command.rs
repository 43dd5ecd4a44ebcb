//! The verbs: their table, and the typed command that arguments become.

use std::ffi::OsString;

use crate::args::{self, Flag, Given, Order};
use crate::verb::checkpoint::{self, Checkpoint};
use crate::verb::create::{self, Create};
use crate::verb::delete::{self, Delete};
use crate::verb::events::{self, Events};
use crate::verb::exec::{self, Exec};
use crate::verb::features;
use crate::verb::kill::{self, Kill};
use crate::verb::list::{self, List};
use crate::verb::pause::{self, Pause};
use crate::verb::ps::{self, Ps};
use crate::verb::restore::{self, Restore};
use crate::verb::resume::{self, Resume};
use crate::verb::run::{self, Run};
use crate::verb::spec::{self, Spec};
use crate::verb::start::{self, Start};
use crate::verb::state::{self, State};
use crate::verb::update::{self, Update};

/// What a verb does and takes.
#[derive(Debug)]
pub(crate) struct Page {
    /// The verb.
    pub(crate) name: &'static str,
    /// Its operands, as in a usage line.
    pub(crate) operands: &'static str,
    /// What it does, in one line.
    pub(crate) about: &'static str,
    /// More about it: paragraphs of at most 90 columns, or nothing.
    pub(crate) detail: &'static str,
    /// Its options.
    pub(crate) flags: &'static [Flag],
    /// Where options may stand.
    pub(crate) order: Order,
}

/// A verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// `create`
    Create,
    /// `start`
    Start,
    /// `run`
    Run,
    /// `state`
    State,
    /// `kill`
    Kill,
    /// `delete`
    Delete,
    /// `exec`
    Exec,
    /// `ps`
    Ps,
    /// `list`
    List,
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `update`
    Update,
    /// `events`
    Events,
    /// `features`
    Features,
    /// `spec`
    Spec,
    /// `checkpoint`
    Checkpoint,
    /// `restore`
    Restore,
}

impl Verb {
    /// Every verb, in the order of `--help`.
    pub(crate) const ALL: [Self; 17] = [
        Self::Create,
        Self::Start,
        Self::Run,
        Self::State,
        Self::Kill,
        Self::Delete,
        Self::Exec,
        Self::Ps,
        Self::List,
        Self::Pause,
        Self::Resume,
        Self::Update,
        Self::Events,
        Self::Features,
        Self::Spec,
        Self::Checkpoint,
        Self::Restore,
    ];

    /// Finds the verb of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.page().name == name)
    }

    /// What it does and takes.
    pub(crate) fn page(self) -> &'static Page {
        match self {
            Self::Create => &create::PAGE,
            Self::Start => &start::PAGE,
            Self::Run => &run::PAGE,
            Self::State => &state::PAGE,
            Self::Kill => &kill::PAGE,
            Self::Delete => &delete::PAGE,
            Self::Exec => &exec::PAGE,
            Self::Ps => &ps::PAGE,
            Self::List => &list::PAGE,
            Self::Pause => &pause::PAGE,
            Self::Resume => &resume::PAGE,
            Self::Update => &update::PAGE,
            Self::Events => &events::PAGE,
            Self::Features => &features::PAGE,
            Self::Spec => &spec::PAGE,
            Self::Checkpoint => &checkpoint::PAGE,
            Self::Restore => &restore::PAGE,
        }
    }

    /// Understands the arguments behind the verb.
    ///
    /// # Errors
    ///
    /// The first that does not fit.
    pub(crate) fn read(
        self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Command, args::Error> {
        let page = self.page();
        let given = args::split(arguments, page.flags, page.order)?;
        if given.wants_help() {
            return Ok(Command::Help(Some(self)));
        }
        self.command(given)
    }

    fn command(self, given: Given) -> Result<Command, args::Error> {
        Ok(match self {
            Self::Create => Command::Create(Create::read(given)?),
            Self::Start => Command::Start(Start::read(given)?),
            Self::Run => Command::Run(Run::read(given)?),
            Self::State => Command::State(State::read(given)?),
            Self::Kill => Command::Kill(Kill::read(given)?),
            Self::Delete => Command::Delete(Delete::read(given)?),
            Self::Exec => Command::Exec(Box::new(Exec::read(given)?)),
            Self::Ps => Command::Ps(Ps::read(given)?),
            Self::List => Command::List(List::read(given)?),
            Self::Pause => Command::Pause(Pause::read(given)?),
            Self::Resume => Command::Resume(Resume::read(given)?),
            Self::Update => Command::Update(Box::new(Update::read(given)?)),
            Self::Events => Command::Events(Events::read(given)?),
            Self::Features => {
                given.end()?;
                Command::Features
            }
            Self::Spec => Command::Spec(Spec::read(given)?),
            Self::Checkpoint => Command::Checkpoint(Checkpoint::read(given)?),
            Self::Restore => Command::Restore(Restore::read(given)?),
        })
    }
}

/// What to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Explain the program or a verb.
    Help(Option<Verb>),
    /// Print the version.
    Version,
    /// Make a container.
    Create(Create),
    /// Let its program run.
    Start(Start),
    /// Both, and wait.
    Run(Run),
    /// Say what is known about a container.
    State(State),
    /// Send a signal.
    Kill(Kill),
    /// Remove what is left.
    Delete(Delete),
    /// Run one more process.
    Exec(Box<Exec>),
    /// List processes.
    Ps(Ps),
    /// List containers.
    List(List),
    /// Freeze.
    Pause(Pause),
    /// Thaw.
    Resume(Resume),
    /// Change limits.
    Update(Box<Update>),
    /// Print statistics.
    Events(Events),
    /// Print what this runtime can do.
    Features,
    /// Write a config.json to start from.
    Spec(Spec),
    /// Save a container's processes.
    Checkpoint(Checkpoint),
    /// Bring them back.
    Restore(Restore),
}
