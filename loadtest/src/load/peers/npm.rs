//! The npm packages of the servers in Node, in the folder `peers` beside this program: installed once, as locked.

use super::on_path;
use crate::load::Failure;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../../peers/package.json")),
    ("package-lock.json", LOCK),
    ("socketio.mjs", include_str!("../../../peers/socketio.mjs")),
];

const LOCK: &str = include_str!("../../../peers/package-lock.json");

/// The folder with the packages, which are installed if they are not there as locked.
pub(super) fn packages() -> Result<PathBuf, Failure> {
    let folder = env::current_exe()?.with_file_name("peers");
    fs::create_dir_all(&folder)?;
    // Two of these programs may need them at once.
    let claim = fs::File::create(folder.join("lock"))?;
    claim.lock()?;
    for (name, text) in FILES {
        if fs::read_to_string(folder.join(name)).is_ok_and(|there| there == text) {
            continue;
        }
        fs::write(folder.join(name), text)?;
    }
    let installed = folder.join("node_modules/.for");
    if fs::read_to_string(&installed).is_ok_and(|lock| lock == LOCK) {
        return Ok(folder);
    }
    eprintln!("installs npm packages in {}: {}", folder.display(), versions());
    let npm = on_path("npm").ok_or_else(|| Failure::Setup("npm is not installed here".to_owned()))?;
    let mut install = Command::new(npm);
    install.args(["ci", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
    let output = install.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::Setup(format!("npm ci failed: {said}")));
    }
    fs::write(installed, LOCK)?;
    Ok(folder)
}

/// The packages that are asked for.
pub(super) fn versions() -> String {
    let package: serde_json::Value = serde_json::from_str(FILES[0].1).unwrap_or_default();
    let dependencies = package["dependencies"].as_object();
    let named = dependencies.into_iter().flatten();
    let named = named.map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()));
    named.collect::<Vec<_>>().join(", ")
}
