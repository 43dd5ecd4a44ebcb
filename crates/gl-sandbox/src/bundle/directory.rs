//! A root that is somebody's files, read-only: a directory that the caller names, or an image.

use std::path::Path;

use gl_image::Cached;
use serde_json::{Value as Json, json};

use super::{config, masked, namespaces, refuse_paths};
use crate::error::Error;
use crate::image::Image;
use crate::run::Request;
use crate::user::User;
use crate::view::{basic_mounts, real};

/// The config for a directory.
pub(super) fn config_of(root: &Path, dir: &Path, request: &Request) -> Result<Json, Error> {
    let refused = |problem: String| Error::Path {
        option: "--rootfs".to_owned(),
        path: root.to_owned(),
        problem: problem.into(),
    };
    refuse_paths(
        request,
        "put it into the root before, or leave --rootfs out",
    )?;
    let real = real(root).map_err(|err| refused(err.to_string()))?;
    let real = real
        .to_str()
        .ok_or_else(|| refused("it is not UTF-8".to_owned()))?;
    Ok(of_tree(real, &User::default(), dir, request))
}

/// The config for an image.
pub(super) fn config_of_image(
    image: &Image,
    held: &Cached,
    dir: &Path,
    request: &Request,
) -> Result<Json, Error> {
    refuse_paths(request, "put it into the image, or leave --image out")?;
    let root = held.rootfs();
    let root = root.to_str().ok_or_else(|| Error::Path {
        option: "--image".to_owned(),
        path: root.to_owned(),
        problem: "the cache's path is not UTF-8".into(),
    })?;
    Ok(of_tree(root, &image.user, dir, request))
}

fn of_tree(root: &str, user: &User, dir: &Path, request: &Request) -> Json {
    let cwd = request.cwd.as_deref().unwrap_or("/");
    let mut config = config(dir, request, user, cwd);
    config["root"] = json!({ "path": root, "readonly": true });
    config["mounts"] = Json::Array(basic_mounts());
    config["linux"]["namespaces"] = namespaces(&request.profile, &[]);
    config["linux"]["maskedPaths"] = masked(&[]);
    config
}
