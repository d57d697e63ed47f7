//! Where PostgreSQL's programs are: Debian keeps those that run a server out of the path, one folder a version.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::process::{command, output_of};

const DEBIAN: &str = "/usr/lib/postgresql";
/// The oldest that Keywright works with.
const VERSION_MIN: u32 = 15;

/// The folder with `initdb` and `postgres`: the newest of Debian's, or the one that `pg_config` names.
pub(super) fn programs(root: &Path) -> anyhow::Result<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let names = versions.filter_map(|entry| entry.file_name().into_string().ok());
    if let Some(version) = newest(names) {
        return Ok(Path::new(DEBIAN).join(version.to_string()).join("bin"));
    }
    let asked = output_of(command(root, "pg_config").arg("--bindir"));
    let said = asked.ok().map(|path| PathBuf::from(String::from_utf8_lossy(&path).trim()));
    match said.filter(|path| path.join("initdb").exists()) {
        Some(path) => Ok(path),
        None => {
            bail!("no PostgreSQL {VERSION_MIN} or newer: neither below {DEBIAN} nor where pg_config says")
        }
    }
}

fn newest(names: impl Iterator<Item = String>) -> Option<u32> {
    names.filter_map(|name| name.parse().ok()).filter(|version| *version >= VERSION_MIN).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_good_version_counts() {
        let of = |names: &[&str]| newest(names.iter().map(|name| (*name).to_owned()));
        assert_eq!(of(&["9.6", "13", "15", "17", "common"]), Some(17));
        assert_eq!(of(&["14"]), None);
    }
}
