//! Flags made from the table of settings.

use std::collections::BTreeMap;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _};

use super::{Cli, uses};
use crate::settings::{ALL, Kind, Setting, UsedBy};

/// The whole command line: the commands, each with flags for the settings that it looks at. Which server to call can be
/// said before the command as well.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let settings =
            ALL.iter().filter(|setting| setting.has_flag() && uses(&name).contains(&setting.used_by));
        let flags: Vec<Arg> = settings.map(flag).collect();
        command = command.mut_subcommand(name, |sub| sub.args(flags));
    }
    command.args(before_the_command().map(|setting| flag(setting).global(false)))
}

/// The settings that can be said before the command.
fn before_the_command() -> impl Iterator<Item = &'static Setting> {
    ALL.iter().filter(|setting| setting.has_flag() && setting.used_by == UsedBy::Client)
}

/// Reads the command line. What is said before a command that does not look at it is refused, as it is behind it.
pub(crate) fn read<Words>(words: Words) -> Result<ArgMatches, clap::Error>
where
    Words: IntoIterator<Item: Into<std::ffi::OsString> + Clone>,
{
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    let name = matches.subcommand_name().unwrap_or_default();
    let misplaced = before_the_command()
        .find(|setting| matches.contains_id(setting.name) && !uses(name).contains(&setting.used_by));
    match misplaced {
        Some(Setting { name: flag, .. }) => {
            let what = format!("`keywright {name}` has no use for --{flag}");
            Err(command.error(ErrorKind::UnknownArgument, what))
        }
        None => Ok(matches),
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let heading = match setting.used_by {
        UsedBy::Client => "Server to call",
        UsedBy::Data => "Data directory",
        UsedBy::Listen | UsedBy::Serve => "Service",
        UsedBy::Follow => "Follower",
    };
    let default = setting.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable());
    let flag = Arg::new(setting.name).long(setting.name).help(help).global(true);
    let flag = flag.value_name(setting.value_name).help_heading(heading).hide_possible_values(true);
    if setting.kind == Kind::Flag {
        return flag.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    if setting.is_list() { flag.action(ArgAction::Append) } else { flag }
}

/// What the flags say, by the setting's name. What stands behind the command beats what stands before it.
pub(crate) fn sources(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    let mut flags = BTreeMap::new();
    let mut level = Some(matches);
    while let Some(said) = level {
        for setting in ALL {
            if let Ok(Some(texts)) = said.try_get_many::<String>(setting.name) {
                flags.insert(setting.name.to_owned(), texts.cloned().collect());
            }
        }
        level = said.subcommand().map(|(_, deeper)| deeper);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn flags_are_read_wherever_they_stand() {
        let said = |line: &str| sources(&read(line.split(' ')).unwrap());
        for line in [
            "keywright --server http://x keys --key kw_1 list",
            "keywright --key kw_1 --server http://x keys list",
            "keywright keys --server http://x list --key kw_1",
            "keywright keys list --key kw_1 --server http://x",
            "keywright --server http://y keys list --key kw_1 --server http://x",
            "keywright --server http://z keys --server http://x list --key kw_1",
            "keywright --server http://x --key kw_1 audit list",
        ] {
            let flags = said(line);
            assert_eq!(flags.get("server"), Some(&vec!["http://x".to_owned()]), "{line}");
            assert_eq!(flags.get("key"), Some(&vec!["kw_1".to_owned()]), "{line}");
        }
        let flags = said("keywright serve --dialect onenet --dialect tencent=127.0.0.1:1 --plaintext-ok");
        assert_eq!(flags.get("dialect").map(Vec::len), Some(2));
        assert_eq!(flags.get("plaintext-ok"), Some(&vec!["true".to_owned()]));
        assert!(said("keywright serve").is_empty());
    }

    #[test]
    fn secrets_have_no_flags_and_unknown_flags_are_refused() {
        for line in [
            "keywright serve --root-key x",
            "keywright serve --master-key x",
            "keywright keys list --listen x",
            "keywright --listen x serve",
            "keywright serve --server x",
            "keywright --server x serve",
            "keywright --key kw_1 doctor",
            "keywright --nosuch keys list",
        ] {
            assert!(read(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn every_command_explains_itself() {
        fn walk(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            command.get_subcommands().for_each(walk);
        }
        walk(&command());
    }
}
