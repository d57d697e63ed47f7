//! `docs/configuration.md`, written from the table.

use std::fmt::Write as _;

use super::{ALL, Setting, UsedBy};

const INTRODUCTION: &str = "\
# Configuration

Made by `keywright config reference`; change `crates/keywright/src/settings/mod.rs` instead.

Every setting is a flag, an environment variable and a line of `keywright.toml` (or of the file that `--config` or
`KEYWRIGHT_CONFIG` names), in that order of precedence. Lengths of time are written `500ms`, `2s`, `1h`. What is unknown
is refused with the nearest known name. A setting that can be repeated is a list in the file, and separated by commas in
the environment. Secrets have no flag, since every process of a machine can read the arguments of the others; `--key` is
there for trying things out. `keywright config show` prints each value with where it came from, `keywright config check`
says what is wrong.

```toml
# keywright.toml
listen = \"127.0.0.1:7700\"
data-dir = \"./keywright-data\"
dialect = [\"onenet\", \"tencent=127.0.0.1:7711\"]
max-staleness = \"60s\"
```
";

/// The page.
pub(crate) fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let groups = [
        (UsedBy::Client, "For commands that call a server"),
        (UsedBy::Data, "For `serve` and the commands on a data directory"),
        (UsedBy::Listen, "For `serve` and `follow`"),
        (UsedBy::Serve, "For `serve`"),
        (UsedBy::Follow, "For `follow`"),
    ];
    for (used_by, title) in groups {
        let _ = write!(
            page,
            "\n## {title}\n\n| setting | flag | variable | default | |\n| --- | --- | --- | --- | --- |\n"
        );
        for setting in ALL.iter().filter(|setting| setting.used_by == used_by) {
            let _ = writeln!(page, "{}", row(setting));
        }
    }
    page
}

fn row(setting: &Setting) -> String {
    let flag = if setting.has_flag() {
        format!("`--{} {}`", setting.name, setting.value_name)
    } else {
        "none".to_owned()
    };
    let default = setting.default.map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
    format!(
        "| `{}` | {flag} | `{}` | {default} | {} |",
        setting.name,
        setting.variable(),
        setting.help.replace('|', "\\|")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_the_page_once() {
        let page = reference();
        for setting in ALL {
            assert_eq!(page.matches(&format!("\n| `{}` |", setting.name)).count(), 1, "{}", setting.name);
        }
        assert!(page.contains("| `root-key` | none | `KEYWRIGHT_ROOT_KEY` | none |"));
    }
}
