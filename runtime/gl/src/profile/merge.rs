//! `gl profile merge`: one profile that allows what any of several allows.

use crate::status::Status;

use gl_profile::Profile;
use gl_record::Tier;

use crate::cli;
use crate::error::Error;
use crate::{output, record};

pub(super) fn perform(options: &cli::Merge) -> Result<Status, Error> {
    let profiles = options.profiles.iter().map(|name| super::resolve(name));
    let profiles: Vec<Profile> = profiles.collect::<Result<_, _>>()?;
    let name = record::name(options.name.as_deref(), &options.output);
    let tier = options.tier.map(Tier::from);
    let merged = gl_record::merge(&profiles, &name, tier)?;
    let existing = record::existing(options.force);
    gl_record::write(&options.output, &merged.draft.text(), existing)?;
    let mut out = format!(
        "wrote {}: profile {name} allows what any of {} profiles allows\n",
        options.output.display(),
        profiles.len()
    );
    for (name, brought) in &merged.brought {
        match brought.is_empty() {
            true => out.push_str(&format!("{name}: nothing that the others have not\n")),
            false => out.push_str(&format!("{name}: {} alone\n", brought.join(", "))),
        }
    }
    output::text(&out)?;
    Ok(Status::SUCCESS)
}
