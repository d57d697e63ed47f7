//! `keywright config …` and `keywright completions`.

use clap_complete::Shell;
use serde_json::json;

use super::{Outcome, Session};
use crate::output::Output;
use crate::render::table::{Cell, table};
use crate::settings::{Origin, Setting, reference};

/// Says that nothing is wrong: what is wrong was said when the settings were loaded.
pub(crate) fn check(session: &Session) -> Outcome {
    let file = session
        .settings
        .file
        .as_ref()
        .map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    if session.output.json {
        session.output.say_json(&json!({"ok": true, "file": session.settings.file}));
    } else {
        session.output.say(&format!("the settings are good ({file})"));
    }
    Outcome::Done
}

/// Prints each setting with where it came from.
pub(crate) fn show(session: &Session) -> Outcome {
    let values = session.settings.values();
    if session.output.json {
        let all = values.iter().map(|value| {
            let shown = if value.setting.is_list() {
                json!(session.settings.texts(value.setting).collect::<Vec<_>>())
            } else {
                json!(Some(value.shown()).filter(|shown| shown != "-"))
            };
            json!({"name": value.setting.name, "value": shown, "from": origin(value.setting, &value.origin)})
        });
        session.output.say_json(&all.collect::<Vec<_>>());
        return Outcome::Done;
    }
    let rows = values.iter().map(|value| {
        vec![
            Cell::from(value.setting.name),
            value.shown().into(),
            origin(value.setting, &value.origin).into(),
        ]
    });
    let text =
        table(&["setting", "value", "from"], rows.collect(), session.output.width(), session.output.paint.on);
    session.output.say(&text);
    Outcome::Done
}

fn origin(setting: &Setting, origin: &Origin) -> String {
    match origin {
        Origin::Flag => format!("--{}", setting.name),
        Origin::Environment => setting.variable(),
        Origin::File(path, line) => format!("{}:{line}", path.display()),
        Origin::Default => "default".to_owned(),
    }
}

/// Prints `docs/configuration.md`.
pub(crate) fn print_reference(output: Output) -> Outcome {
    output.say(reference().trim_end());
    Outcome::Done
}

/// Prints completions for a shell.
pub(crate) fn completions(output: Output, shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "keywright", &mut script);
    output.say(String::from_utf8_lossy(&script).trim_end());
    Outcome::Done
}
