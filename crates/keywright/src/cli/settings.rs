//! Flags made from the table of settings.

use std::collections::BTreeMap;

use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _};

use super::{Cli, uses};
use crate::settings::{ALL, Kind, Setting, UsedBy};

/// The whole command line: the commands, each with flags for the settings that it looks at.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let settings =
            ALL.iter().filter(|setting| setting.has_flag() && uses(&name).contains(&setting.used_by));
        let flags: Vec<Arg> = settings.map(flag).collect();
        command = command.mut_subcommand(name, |sub| sub.args(flags));
    }
    command
}

fn flag(setting: &'static Setting) -> Arg {
    let heading = match setting.used_by {
        UsedBy::Client => "Server to call",
        UsedBy::Data => "Data directory",
        UsedBy::Serve => "Service",
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

/// What the flags say, by the setting's name.
pub(crate) fn sources(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    let mut leaf = matches;
    while let Some((_, deeper)) = leaf.subcommand() {
        leaf = deeper;
    }
    let mut flags = BTreeMap::new();
    for setting in ALL {
        let found = leaf.try_get_many::<String>(setting.name);
        if let Ok(Some(texts)) = found {
            flags.insert(setting.name.to_owned(), texts.cloned().collect());
        }
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
        let read = |line: &str| sources(&command().try_get_matches_from(line.split(' ')).unwrap());
        let flags = read("keywright keys --server http://x list --key kw_1");
        assert_eq!(flags.get("server"), Some(&vec!["http://x".to_owned()]));
        assert!(flags.contains_key("key"));
        let flags = read("keywright serve --dialect onenet --dialect tencent=127.0.0.1:1 --plaintext-ok");
        assert_eq!(flags.get("dialect").map(Vec::len), Some(2));
        assert_eq!(flags.get("plaintext-ok"), Some(&vec!["true".to_owned()]));
        assert!(read("keywright serve").is_empty());
    }

    #[test]
    fn secrets_have_no_flags_and_unknown_flags_are_refused() {
        for line in [
            "keywright serve --root-key x",
            "keywright serve --master-key x",
            "keywright keys list --listen x",
        ] {
            assert!(command().try_get_matches_from(line.split(' ')).is_err(), "{line}");
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
