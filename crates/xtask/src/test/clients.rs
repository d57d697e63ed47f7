//! The vendors' own clients that the dialects are tested with, installed by name below `target/test-tools`.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{node, python};
use crate::workspace::Workspace;

/// The Pythons, each with what is installed there. The SDKs of the mainland and of the world and the one that the command line
/// wants put different files in the same places.
const PYTHONS: &[python::Venv] = &[
    python::Venv {
        variable: "KEYWRIGHT_TEST_PYTHON",
        folder: "venv",
        requirements: "crates/xtask/python-requirements.txt",
    },
    python::Venv {
        variable: "KEYWRIGHT_TEST_PYTHON_INTL",
        folder: "venv-intl",
        requirements: "crates/xtask/python-requirements-intl.txt",
    },
    python::Venv {
        variable: "KEYWRIGHT_TEST_PYTHON_TCCLI",
        folder: "venv-tccli",
        requirements: "crates/xtask/python-requirements-tccli.txt",
    },
];
/// The folder of Node modules that has a vendor's client.
const NODE_VARIABLE: &str = "KEYWRIGHT_TEST_NODE_MODULES";

/// Installs what is not there yet; gives the variable in which the tests find each.
pub(super) fn install(workspace: &Workspace) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut found = Vec::new();
    for venv in PYTHONS {
        found.push((venv.variable, python::install(workspace, venv)?));
    }
    found.push((NODE_VARIABLE, node::install(workspace)?));
    Ok(found)
}

/// What an installation was made from. It is written last, so that half an installation is made anew.
pub(super) fn stamp(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_anything_is_another_installation() {
        let stamps = [
            stamp(&[b"Python 3.11", b"a==1"]),
            stamp(&[b"Python 3.11", b"a==2"]),
            stamp(&[b"Python 3.12", b"a==1"]),
        ];
        assert_ne!(stamps[0], stamps[1]);
        assert_ne!(stamps[0], stamps[2]);
    }

    #[test]
    fn the_clients_that_the_dialects_promise_to_work_with_are_installed() {
        let python = include_str!("../../python-requirements.txt");
        let international = include_str!("../../python-requirements-intl.txt");
        let command_line = include_str!("../../python-requirements-tccli.txt");
        for (requirements, client) in [
            (python, "tencentcloud-sdk-python-apigateway=="),
            (python, "schemathesis=="),
            (international, "tencentcloud-sdk-python-intl-en=="),
            (command_line, "tccli=="),
        ] {
            let packages = python::packages(requirements.as_bytes());
            assert!(packages.iter().any(|line| line.starts_with(client)), "{client}: {packages:?}");
            assert!(packages.iter().all(|line| line.contains("==")), "not all pinned: {packages:?}");
        }
        assert!(include_str!("../../node/package.json").contains("\"tencentcloud-sdk-nodejs\""));
    }
}
