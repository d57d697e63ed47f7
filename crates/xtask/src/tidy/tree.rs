//! The text files of the repository as git sees them: tracked, or new and not ignored.

use std::collections::BTreeSet;
use std::path::Path;

use crate::process;

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

#[derive(Debug)]
pub(super) struct File {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|extension| extension == "rs")
    }
}

impl Tree {
    /// Reads every file that git lists. What is no UTF-8 (pictures, recorded bytes) is left out: no rule is about it.
    pub(super) fn load(root: &Path) -> anyhow::Result<Self> {
        let mut command = process::command(root, "git");
        command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]);
        let listing = String::from_utf8(process::output_of(&mut command)?)?;
        let mut files = Vec::new();
        for path in listing.split('\0').filter(|path| !path.is_empty()) {
            // A file that is deleted but still tracked, or that is no text, has nothing to check.
            if let Ok(text) = std::fs::read_to_string(root.join(path)) {
                files.push(File { path: path.to_owned(), text });
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }

    /// The files below `folder`, each with the rest of its path.
    pub(super) fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a File)> {
        self.files.iter().filter_map(move |file| {
            let rest = file.path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((rest, file))
        })
    }

    /// Every folder that holds a file, from the root.
    pub(super) fn folders(&self) -> BTreeSet<&str> {
        let mut folders = BTreeSet::new();
        for file in &self.files {
            let mut path = file.path.as_str();
            while let Some((parent, _)) = path.rsplit_once('/') {
                folders.insert(parent);
                path = parent;
            }
        }
        folders
    }
}

#[cfg(test)]
impl Tree {
    /// A tree of these (path, text) pairs.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        Self { files }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_folder_on_the_way_to_a_file_is_a_folder() {
        let tree = Tree::of(&[("crates/a/src/b/c.rs", ""), ("README.md", "")]);
        let folders: Vec<_> = tree.folders().into_iter().collect();
        assert_eq!(folders, ["crates", "crates/a", "crates/a/src", "crates/a/src/b"]);
    }

    #[test]
    fn below_gives_the_rest_of_the_path_and_respects_whole_names() {
        let tree = Tree::of(&[("a/b/c.sql", ""), ("a/bc/d.sql", "")]);
        let rests: Vec<_> = tree.below("a/b").map(|(rest, _)| rest).collect();
        assert_eq!(rests, ["c.sql"]);
    }
}
