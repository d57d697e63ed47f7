//! Files stay short enough to be read in one go.

use super::finding::Finding;
use super::tree::Tree;

const RULE: &str = "size";
const LINES_SOFT: usize = 500;
const LINES_HARD: usize = 800;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust().filter_map(|file| judge(&file.path, file.text.lines().count())).collect()
}

fn judge(path: &str, lines: usize) -> Option<Finding> {
    let remedy = "move one noun, one verb or the tests into a file of their own";
    let problem = |limit: usize| format!("{lines} lines, {limit} at most");
    if lines > LINES_HARD {
        return Some(Finding::error(RULE, path, problem(LINES_HARD), remedy));
    }
    (lines > LINES_SOFT).then(|| Finding::error(RULE, path, problem(LINES_SOFT), remedy).warning())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn check_lines(path: &str, lines: usize, expected: Option<Level>) {
        let tree = Tree::of(&[(path, &"x\n".repeat(lines))]);
        let levels: Vec<_> = check(&tree).into_iter().map(|finding| finding.level).collect();
        assert_eq!(levels, Vec::from_iter(expected), "{path} with {lines} lines");
    }

    #[test]
    fn a_long_file_warns_and_a_very_long_one_fails() {
        check_lines("a.rs", 500, None);
        check_lines("a.rs", 501, Some(Level::Warning));
        check_lines("a.rs", 800, Some(Level::Warning));
        check_lines("a.rs", 801, Some(Level::Error));
    }

    #[test]
    fn only_rust_is_measured() {
        check_lines("Cargo.lock", 5000, None);
    }
}
