//! The binary: the only crate that reads settings, the environment, the clocks and entropy, and that names a database.

mod ambient;
mod cli;
mod commands;
mod node;
mod output;
mod parse;
mod progress;
mod render;
mod settings;

use std::process::ExitCode;

use clap::FromArgMatches as _;
use keywright_client::{Keyspace, Org, Plan, Principal, Role};

use cli::{AuditCommand, Cli, Command, ConfigCommand};
use commands::{Outcome, Session};
use output::Output;

/// A write allocates on one thread what another frees, at which glibc's is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage, or anything that has no code of its own.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let read = cli::read(std::env::args_os());
    let read = read.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match read {
        Ok(read) => read,
        Err(error) => error.exit(),
    };
    let sources = cli::all_sources(&cli, &matches);
    let no_color = sources.environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let output = Output::new(cli.json, cli.color, no_color);
    if let Err(error) = ambient::seal_memory() {
        output.warn(&format!("core dumps could not be switched off, and would hold secrets: {error}"));
    }
    if let Command::Completions { shell } = cli.command {
        return exit(Ok(commands::config::completions(output, shell)), output, false);
    }
    if let Command::Config(ConfigCommand::Reference) = cli.command {
        return exit(Ok(commands::config::print_reference(output)), output, false);
    }
    if sources.flags.contains_key(settings::KEY.name) {
        output.warn("--key can be read by every process of this machine; KEYWRIGHT_KEY cannot");
    }
    let settings = match settings::load(&sources) {
        Ok(settings) => settings,
        Err(faults) => return exit(Err(faults.into()), output, false),
    };
    let session = Session { output, settings, environment: sources.environment };
    let verifies = matches!(cli.command, Command::Verify(_));
    let outcome = runtime().and_then(|runtime| runtime.block_on(run(&session, &cli.command)));
    exit(outcome, output, verifies)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn run(session: &Session, command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Keys(command) => commands::keys::run(session, command).await,
        Command::Verify(args) => commands::verify::verify(session, args).await,
        Command::Whoami => commands::verify::whoami(session).await,
        Command::Orgs(command) => commands::nouns::run::<Org, _>(session, command).await,
        Command::Keyspaces(command) => commands::nouns::run::<Keyspace, _>(session, command).await,
        Command::Principals(command) => commands::nouns::run::<Principal, _>(session, command).await,
        Command::Roles(command) => commands::nouns::run::<Role, _>(session, command).await,
        Command::Plans(command) => commands::nouns::run::<Plan, _>(session, command).await,
        Command::Audit(AuditCommand::List(args)) => commands::audit::list(session, args).await,
        Command::Config(ConfigCommand::Check) => Ok(commands::config::check(session)),
        Command::Config(ConfigCommand::Show) => Ok(commands::config::show(session)),
        Command::Config(ConfigCommand::Reference) => Ok(commands::config::print_reference(session.output)),
        Command::Completions { shell } => Ok(commands::config::completions(session.output, *shell)),
        Command::Serve => node::serve(session).await,
        Command::Follow => node::follow(session).await,
        Command::Backup(args) => node::backup(session, args),
        Command::Restore(args) => node::restore(session, args),
        Command::Copy(args) => node::copy(session, args).await,
        Command::Migrate => node::migrate(session).await,
        Command::Doctor => Ok(node::doctor(session).await),
        Command::Root(command) => node::root(session, command).await,
        Command::MasterKey(command) => node::master_key(session, command).await,
        Command::Nodes(command) => node::nodes(session, command).await,
        Command::Audit(AuditCommand::Verify) => node::verify_audit(session).await,
    }
}

fn exit(outcome: anyhow::Result<Outcome>, output: Output, verifies: bool) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(error) => {
            commands::failure::tell(&error, output);
            ExitCode::from(if verifies { FAILED } else { commands::failure::code(&error) })
        }
    }
}
