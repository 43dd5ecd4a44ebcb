//! One layer applied to the tree.

use std::cell::RefCell;
use std::io::Read;

use crate::archive::{Archive, Kind};
use crate::error::{Error, Fault, shown};
use crate::image::{Image, Layer};
use crate::limits::Limits;
use crate::name::{Name, Whiteout};
use crate::stream::{Bounded, Bounds, Meter, unpacked};
use crate::tree::Tree;

/// What the layers so far have used of the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// One layer, and which it is.
pub(crate) struct Applying<'a> {
    pub(crate) image: &'a Image,
    pub(crate) layer: &'a Layer,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) limits: &'a Limits,
}

impl Applying<'_> {
    /// Verifies a layer as it is stored, unpacks it, and verifies what came out.
    pub(crate) fn apply(
        &self,
        tree: &mut Tree,
        used: &mut Used,
        meter: &RefCell<Meter<'_>>,
    ) -> Result<(), Error> {
        let verified = self.verify(meter);
        verified.map_err(|fault| self.failed(fault))?;
        let bounds = self.bounds(used);
        let source = unpacked(&self.layer.section, meter).map_err(|fault| self.failed(fault))?;
        let mut archive = Archive::new(Bounded::new(source, bounds));
        tree.begin(self.number);
        self.entries(&mut archive, tree, used)?;
        let (digest, bytes) = archive
            .into_source()
            .finish()
            .map_err(|fault| self.failed(fault))?;
        let checked = self.layer.diff_id.check(digest);
        checked.map_err(|fault| self.failed(fault))?;
        used.bytes = used.bytes.saturating_add(bytes);
        tree.end_layer().map_err(|fault| self.failed(fault))
    }

    /// Checks the layer as it is stored, so that nothing reads what nobody vouches for.
    fn verify(&self, meter: &RefCell<Meter<'_>>) -> Result<(), Fault> {
        let section = &self.layer.section;
        match self.layer.digest {
            Some(wanted) => wanted.check(section.digest(meter)?),
            None => {
                // The old form names no digest of what is stored, which is the layer unpacked.
                let bounds = self.bounds(&Used::default());
                let (found, _) = Bounded::new(unpacked(section, meter)?, bounds).finish()?;
                self.layer.diff_id.check(found)
            }
        }
    }

    fn bounds(&self, used: &Used) -> Bounds {
        let Limits {
            unpacked_bytes,
            ratio,
            bomb_bytes,
            ..
        } = *self.limits;
        Bounds {
            left: unpacked_bytes.saturating_sub(used.bytes),
            limit: unpacked_bytes,
            bomb: self
                .layer
                .section
                .len()
                .saturating_mul(ratio)
                .max(bomb_bytes),
            ratio,
        }
    }

    fn entries<R: Read>(
        &self,
        archive: &mut Archive<Bounded<R>>,
        tree: &mut Tree,
        used: &mut Used,
    ) -> Result<(), Error> {
        while let Some(entry) = archive.next().map_err(|fault| self.failed(fault))? {
            let failed = |fault| Error::Entry {
                entry: shown(&entry.name),
                layer: self.number,
                digest: Box::new(self.layer.diff_id),
                fault,
            };
            used.entries += 1;
            if used.entries > self.limits.entries {
                let (of, limit) = ("entries", self.limits.entries);
                return Err(failed(Fault::Limit { of, limit }));
            }
            let holds_data = matches!(entry.kind, Kind::File | Kind::Sparse(_));
            let limit = self.limits.unpacked_bytes;
            if holds_data && entry.size > limit.saturating_sub(used.bytes) {
                let of = "bytes unpacked";
                return Err(failed(Fault::Limit { of, limit }));
            }
            if matches!(entry.kind, Kind::Sparse(_)) {
                used.bytes = used.bytes.saturating_add(entry.size);
            }
            let name = Name::new(&entry.name).map_err(failed)?;
            match name.whiteout().map_err(failed)? {
                Some(Whiteout::Foreign) => tree.note(&entry.name, "it is no entry of an image"),
                Some(what) => tree.white_out(&name, what).map_err(failed)?,
                None => tree.place(&name, &entry, archive).map_err(failed)?,
            }
        }
        Ok(())
    }

    fn failed(&self, fault: Fault) -> Error {
        let digest = self.layer.digest.unwrap_or(self.layer.diff_id);
        Error::Part {
            what: format!("layer {} ({digest})", self.number),
            path: self.image.reference().path.clone(),
            fault,
        }
    }
}
