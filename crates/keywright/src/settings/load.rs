//! Where values come from: flags, then the environment, then the file, then the defaults. Every fault is named at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use keywright_model::document::nearest;
use toml::Spanned;
use zeroize::Zeroizing;

use super::{ALL, Origin, Setting, Settings, Value};

/// Names the file, as `--config` does.
const CONFIG_VARIABLE: &str = "KEYWRIGHT_CONFIG";
/// The file that is read if it is there.
const FILE_DEFAULT: &str = "keywright.toml";
/// Variables that are no settings: what commands read a secret from, and the file's name.
const OTHER_VARIABLES: &[&str] = &[CONFIG_VARIABLE, "KEYWRIGHT_SECRET"];
/// Variables of the project's own tests, which start this program with them.
const TEST_VARIABLES: &[&str] = &["KEYWRIGHT_TEST_", "KEYWRIGHT_CANARY_"];

/// What the outside says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// Flags by the setting's name.
    pub flags: BTreeMap<String, Vec<String>>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The file that `--config` names.
    pub config: Option<PathBuf>,
}

/// All that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n       "))
    }
}

impl std::error::Error for Faults {}

type FileValues = BTreeMap<String, (Vec<String>, usize)>;

/// Puts the settings together.
pub(crate) fn load(sources: &Sources) -> Result<Settings, Faults> {
    let mut faults = Vec::new();
    unknown_variables(sources, &mut faults);
    let named =
        sources.config.clone().or_else(|| sources.environment.get(CONFIG_VARIABLE).map(PathBuf::from));
    let file = named.clone().or_else(|| Some(PathBuf::from(FILE_DEFAULT)).filter(|path| path.exists()));
    let from_file = match &file {
        Some(path) => read_file(path, &mut faults),
        None => FileValues::new(),
    };
    let values: Vec<Value> =
        ALL.iter().map(|setting| value(setting, sources, &from_file, file.as_deref())).collect();
    for value in &values {
        check(value, &mut faults);
    }
    if faults.is_empty() { Ok(Settings { values, file }) } else { Err(Faults(faults)) }
}

fn value(setting: &'static Setting, sources: &Sources, from_file: &FileValues, file: Option<&Path>) -> Value {
    let of = |texts: Vec<String>, origin| Value {
        setting,
        texts: texts.into_iter().map(Zeroizing::new).collect(),
        origin,
    };
    if let Some(texts) = sources.flags.get(setting.name) {
        return of(texts.clone(), Origin::Flag);
    }
    if let Some(text) = sources.environment.get(&setting.variable()) {
        let list = |text: &str| {
            text.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        };
        let texts = if setting.is_list() { list(text) } else { vec![text.clone()] };
        return of(texts, Origin::Environment);
    }
    if let Some(((texts, line), file)) = from_file.get(setting.name).zip(file) {
        return of(texts.clone(), Origin::File(file.to_owned(), *line));
    }
    of(setting.default.map(str::to_owned).into_iter().collect(), Origin::Default)
}

fn check(value: &Value, faults: &mut Vec<String>) {
    let place = match &value.origin {
        Origin::Flag => format!("--{}", value.setting.name),
        Origin::Environment => value.setting.variable(),
        Origin::File(path, line) => format!("{}:{line}: {}", path.display(), value.setting.name),
        Origin::Default => value.setting.name.to_owned(),
    };
    for text in &value.texts {
        if let Err(what) = value.setting.kind.check(text) {
            faults.push(format!("{place}: {what}"));
        }
    }
}

fn unknown_variables(sources: &Sources, faults: &mut Vec<String>) {
    let known: Vec<String> = ALL.iter().map(Setting::variable).collect();
    let known = || known.iter().map(String::as_str).chain(OTHER_VARIABLES.iter().copied());
    for name in sources.environment.keys().filter(|name| name.starts_with("KEYWRIGHT_")) {
        let test = TEST_VARIABLES.iter().any(|prefix| name.starts_with(prefix));
        if !test && !known().any(|known| known == name) {
            faults.push(format!("{name}: no such setting{}", did_you_mean(name, known().map(str::to_owned))));
        }
    }
}

/// Compares without regard to case, as the names of variables are upper case.
fn did_you_mean(name: &str, known: impl Iterator<Item = String>) -> String {
    let known: Vec<String> = known.collect();
    let lower: Vec<String> = known.iter().map(|name| name.to_lowercase()).collect();
    let near = nearest(name, lower.iter().map(String::as_str));
    let near = near.and_then(|near| known.iter().find(|known| known.to_lowercase() == near));
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn read_file(path: &Path, faults: &mut Vec<String>) -> FileValues {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) => {
            faults.push(format!("{shown}: cannot be read: {error}"));
            return FileValues::new();
        }
    };
    let parsed: BTreeMap<Spanned<String>, Spanned<toml::Value>> = match toml::from_str(&text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let line =
                error.span().map(|span| format!(":{}", line_of(&text, span.start))).unwrap_or_default();
            // The error's own words are about the form; its rendering would repeat the line, which may hold a secret.
            faults.push(format!("{shown}{line}: {}", error.message()));
            return FileValues::new();
        }
    };
    let mut values = FileValues::new();
    for (name, value) in parsed {
        let line = line_of(&text, name.span().start);
        let name = name.into_inner();
        if !ALL.iter().any(|setting| setting.name == name) {
            let hint = did_you_mean(&name, ALL.iter().map(|setting| setting.name.to_owned()));
            faults.push(format!("{shown}:{line}: {name}: no such setting{hint}"));
            continue;
        }
        match texts(value.into_inner()) {
            Some(texts) => drop(values.insert(name, (texts, line))),
            None => faults.push(format!(
                "{shown}:{line}: {name}: must be a text, a number, true, false or a list of texts"
            )),
        }
    }
    values
}

fn texts(value: toml::Value) -> Option<Vec<String>> {
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    };
    match value {
        toml::Value::Array(items) => items.into_iter().map(text).collect(),
        other => text(other).map(|text| vec![text]),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::super::{DIALECT, KEY, LISTEN, MAX_STALENESS};
    use super::*;

    fn sources(toml: &str) -> (tempfile::TempDir, Sources) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keywright.toml");
        std::fs::write(&path, toml).unwrap();
        (folder, Sources { config: Some(path), ..Sources::default() })
    }

    fn faults(toml: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let (folder, mut sources) = sources(toml);
        sources.environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let faults = load(&sources).unwrap_err().0;
        let prefix = folder.path().display().to_string();
        faults.into_iter().map(|fault| fault.replace(&format!("{prefix}/"), "")).collect()
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let (_folder, mut sources) = sources("# mine\nlisten = \"127.0.0.1:3\"\n");
        let listen = |sources: &Sources| load(sources).unwrap().text(&LISTEN).unwrap().to_owned();
        assert_eq!(listen(&sources), "127.0.0.1:3");
        let values = load(&sources).unwrap().values().to_vec();
        let listen_value = values.iter().find(|value| *value.setting == LISTEN).unwrap();
        assert_eq!(listen_value.origin, Origin::File(sources.config.clone().unwrap(), 2));
        sources.environment.insert("KEYWRIGHT_LISTEN".to_owned(), "127.0.0.1:2".to_owned());
        assert_eq!(listen(&sources), "127.0.0.1:2");
        sources.flags.insert("listen".to_owned(), vec!["127.0.0.1:1".to_owned()]);
        assert_eq!(listen(&sources), "127.0.0.1:1");
        assert_eq!(load(&Sources::default()).unwrap().duration(&MAX_STALENESS).as_secs(), 60);
    }

    #[test]
    fn lists_come_from_every_source() {
        let (_folder, mut sources) = sources("dialect = [\"onenet\", \"tencent=127.0.0.1:1\"]");
        assert_eq!(load(&sources).unwrap().texts(&DIALECT).count(), 2);
        sources.environment.insert("KEYWRIGHT_DIALECT".to_owned(), "partoo, gjirafa,onenet".to_owned());
        assert_eq!(
            load(&sources).unwrap().texts(&DIALECT).collect::<Vec<_>>(),
            ["partoo", "gjirafa", "onenet"]
        );
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_known_one() {
        let found = faults(
            "lisen = \"x\"\nzzzzzzzzz = 1\n",
            &[("KEYWRIGHT_MAX_STALENES", "1s"), ("KEYWRIGHT_TEST_BIN", "x")],
        );
        assert_eq!(
            found,
            [
                "KEYWRIGHT_MAX_STALENES: no such setting; did you mean `KEYWRIGHT_MAX_STALENESS`?",
                "keywright.toml:1: lisen: no such setting; did you mean `listen`?",
                "keywright.toml:2: zzzzzzzzz: no such setting",
            ]
        );
    }

    #[test]
    fn every_bad_value_is_named_with_its_place() {
        let found = faults(
            "max-staleness = \"soon\"\ndialect = [\"nosuch\"]\n[listen]\nx = 1\n",
            &[("KEYWRIGHT_LOG_FORMAT", "yaml")],
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("keywright.toml:3: listen: must be a text"), "{found:?}");
        assert!(found[1].starts_with("keywright.toml:2: dialect: must be one of gjirafa"), "{found:?}");
        assert!(found[2].starts_with("keywright.toml:1: max-staleness: "), "{found:?}");
        assert!(found[3].starts_with("KEYWRIGHT_LOG_FORMAT: must be one of text, json"), "{found:?}");
    }

    #[test]
    fn a_secret_is_neither_shown_nor_repeated_in_a_fault() {
        let (_folder, sources) = sources("key = \"kw_hidden\"");
        let settings = load(&sources).unwrap();
        assert_eq!(settings.values().iter().find(|value| *value.setting == KEY).unwrap().shown(), "(secret)");
        let found = faults("master-key = \"hidden\"\n", &[("KEYWRIGHT_ROOT_KEY", "hidden")]);
        assert!(found.len() == 2 && !found.concat().contains("hidden"), "{found:?}");
        assert!(!faults("key = hidden\n", &[]).concat().contains("hidden"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let sources = Sources { config: Some("no/such/file.toml".into()), ..Sources::default() };
        assert!(load(&sources).unwrap_err().0[0].starts_with("no/such/file.toml: cannot be read"));
    }
}
