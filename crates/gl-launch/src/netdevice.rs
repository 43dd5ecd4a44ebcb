//! `linux.netDevices`: interfaces of the host that move into the container's network namespace.
//!
//! What the spec says: a name that is taken there is an error, permanent addresses of global scope move
//! along, and the interface is up afterwards. From then on it is the container's: the kernel gives
//! hardware back to the first namespace when the container's is gone, and removes what is virtual. A launch that
//! fails gives everything back by itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use gl_plan::{Kind, NetDevice};
use rustix::io::Errno;

use crate::error::Error;
use crate::namespace;
use crate::rtnetlink::{Address, Link, Routes};

/// Interfaces that were moved, until the container is created.
#[derive(Debug)]
pub(crate) struct Moved {
    host: OwnedFd,
    inside: Routes,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    name: String,
    index: u32,
    was_up: bool,
    addresses: Vec<Address>,
}

/// Moves the interfaces of a plan from the network namespace of this process to `namespace`.
pub(crate) fn give(devices: &[NetDevice], namespace: BorrowedFd<'_>) -> Result<Moved, Error> {
    let failed = |source| Error::Host {
        what: "talk to the kernel about linux.netDevices",
        source,
    };
    let outside = Routes::here().map_err(failed)?;
    let host = namespace::own_namespace(Kind::Network)?;
    namespace::enter(namespace, Kind::Network).map_err(failed)?;
    let inside = Routes::here();
    namespace::enter(host.as_fd(), Kind::Network).map_err(failed)?;
    let mut moved = Moved {
        host,
        inside: inside.map_err(failed)?,
        devices: Vec::new(),
    };
    for device in devices {
        if let Err(err) = moved.take(&outside, device, namespace) {
            moved.give_back();
            return Err(err);
        }
    }
    Ok(moved)
}

impl Moved {
    fn take(
        &mut self,
        outside: &Routes,
        device: &NetDevice,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let failed = |what| {
            let device = device.host.clone();
            move |source| Error::NetDevice {
                what,
                device,
                source,
            }
        };
        let link = outside.link(&device.host).map_err(failed("find"))?;
        let link = link.ok_or(Errno::NODEV).map_err(failed("find"))?;
        let name = device.name.as_deref().unwrap_or(&device.host);
        let is_template = name.ends_with("%d");
        let before = self
            .inside
            .links()
            .map_err(failed("look for the name of"))?;
        let taken = |one: &Link| one.name == name.as_bytes();
        if !is_template && before.iter().any(taken) {
            return Err(failed("name")(Errno::EXIST));
        }
        let addresses = outside.addresses(link.index);
        let addresses = addresses.map_err(failed("read the addresses of"))?;
        let renamed = device.name.as_deref();
        outside
            .hand_over(link.index, namespace, renamed)
            .map_err(failed("move"))?;
        let after = self.inside.links().map_err(failed("find the moved"))?;
        let is_new = |one: &&Link| !before.iter().any(|old| old.index == one.index);
        let new = after.iter().find(|one| match is_template {
            true => is_new(one),
            false => taken(one),
        });
        let index = new
            .ok_or(Errno::NODEV)
            .map_err(failed("find the moved"))?
            .index;
        self.devices.push(Device {
            name: device.host.clone(),
            index,
            was_up: link.is_up,
            addresses: addresses.clone(),
        });
        for address in &addresses {
            self.inside
                .add(index, address)
                .map_err(failed("keep the addresses of"))?;
        }
        self.inside.raise(index).map_err(failed("raise"))
    }

    /// Moves all back to where they were. The first failure is told by whoever calls this; what fails here
    /// does not keep the rest.
    pub(crate) fn give_back(&mut self) {
        let Ok(outside) = Routes::here() else {
            return;
        };
        for device in self.devices.drain(..).rev() {
            let back = self
                .inside
                .hand_over(device.index, self.host.as_fd(), Some(&device.name))
                .and_then(|()| outside.link(&device.name));
            if let Ok(Some(link)) = back {
                device.restore(&outside, link.index);
            }
        }
    }
}

impl Device {
    fn restore(&self, outside: &Routes, index: u32) {
        for address in &self.addresses {
            match outside.add(index, address) {
                // One that is refused there is not missed by anybody who has the others.
                Ok(()) | Err(_) => {}
            }
        }
        if self.was_up {
            match outside.raise(index) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
