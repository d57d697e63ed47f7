//! Settings: what beats what, and what is refused.

use serde_json::Value;

use super::installation::Installation;

/// What `config show` says about a setting.
async fn shown(
    installation: &Installation,
    flags: &[&str],
    environment: &[(&str, &str)],
) -> (String, String) {
    let mut command = installation.command(&["config", "show", "--json"]);
    command.args(flags).envs(environment.iter().copied()).env_remove("KEYWRIGHT_DATA_DIR");
    let all = installation.run_with(command, "").await.expect(0, &[]).json();
    let listen = find(&all, "listen").unwrap_or_else(|| panic!("{all}"));
    (listen["value"].as_str().unwrap_or_default().to_owned(), listen.to_string())
}

fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let list = value.as_array().or_else(|| value["settings"].as_array())?;
    list.iter().find(|item| item["name"] == name || item["setting"] == name)
}

#[tokio::test]
async fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let installation = Installation::new();
    let environment = [("KEYWRIGHT_LISTEN", "127.0.0.1:2")];
    assert_eq!(shown(&installation, &[], &[]).await.0, "127.0.0.1:7700");
    std::fs::write(installation.path("keywright.toml"), "# mine\nlisten = \"127.0.0.1:3\"\n").unwrap();
    let (value, origin) = shown(&installation, &[], &[]).await;
    assert!(value == "127.0.0.1:3" && origin.contains("keywright.toml") && origin.contains('2'), "{origin}");
    assert_eq!(shown(&installation, &[], &environment).await.0, "127.0.0.1:2");
    assert_eq!(shown(&installation, &["--listen", "127.0.0.1:1"], &environment).await.0, "127.0.0.1:1");
    std::fs::write(installation.path("named.toml"), "listen = \"127.0.0.1:4\"\n").unwrap();
    assert_eq!(shown(&installation, &["--config", "named.toml"], &[]).await.0, "127.0.0.1:4");
    assert_eq!(shown(&installation, &[], &[("KEYWRIGHT_CONFIG", "named.toml")]).await.0, "127.0.0.1:4");
}

#[tokio::test]
async fn the_service_itself_goes_by_the_same_order() {
    let installation = Installation::new();
    let (flag, file) = (installation.path("by-flag"), installation.path("by-file"));
    let toml = format!("data-dir = {:?}\nlisten = \"127.0.0.1:0\"\n", file.to_str().unwrap());
    std::fs::write(installation.path("keywright.toml"), toml).unwrap();
    let mut command = installation.command(&["serve"]);
    command.env_remove("KEYWRIGHT_DATA_DIR");
    installation.start_with(command).await.stop().await;
    assert!(file.join("keywright.db").exists() && !installation.data().exists());
    // The helper sets the environment.
    installation.start().await.stop().await;
    assert!(installation.data().join("keywright.db").exists());
    let command = installation.serve_command(&["--data-dir", flag.to_str().unwrap()], &[]);
    installation.start_with(command).await.stop().await;
    assert!(flag.join("keywright.db").exists());
}

#[tokio::test]
async fn what_is_unknown_is_refused_with_the_nearest_name() {
    let installation = Installation::new();
    installation.refused(&["--lisen", "127.0.0.1:0"], &[]).await.expect(2, &["--lisen", "--listen"]);
    let unknown = [("KEYWRIGHT_LISEN", "127.0.0.1:0")];
    installation.refused(&[], &unknown).await.expect(2, &["KEYWRIGHT_LISEN", "KEYWRIGHT_LISTEN"]);
    std::fs::write(installation.path("keywright.toml"), "\nlisen = \"127.0.0.1:0\"\n").unwrap();
    let refused = installation.refused(&[], &[]).await;
    refused.expect(2, &["keywright.toml:2", "lisen", "did you mean `listen`?"]);
    installation.run(&["config", "check"]).await.expect(2, &["did you mean `listen`?"]);
    // All faults are told at once, and no secret with them.
    std::fs::write(
        installation.path("keywright.toml"),
        "enforce-timeout = \"3\"\nmaster-key = \"not-to-be-shown\"\nlog-format = \"jsn\"\n",
    )
    .unwrap();
    let refused =
        installation.refused(&["--dialect", "onnet"], &[("KEYWRIGHT_ROOT_KEY", "not-to-be-shown")]).await;
    assert!(!refused.err.contains("not-to-be-shown"), "{refused:?}");
    let words = ["toml:1: enforce-timeout", "toml:2: master-key", "`json`", "`onenet`", "KEYWRIGHT_ROOT_KEY"];
    refused.expect(2, &words);
    std::fs::write(installation.path("keywright.toml"), "listen = \n").unwrap();
    installation.refused(&[], &[]).await.expect(2, &["keywright.toml:1"]);
    installation.refused(&["--config", "nowhere.toml"], &[]).await.expect(2, &["nowhere.toml"]);
    std::fs::remove_file(installation.path("keywright.toml")).unwrap();
    for (variable, value) in [
        ("KEYWRIGHT_DATABASE", "mysql://kw:not-to-be-shown@db/kw"),
        ("KEYWRIGHT_LISTEN", "localhost:7700"),
        ("KEYWRIGHT_LOG", "info,=,"),
        ("KEYWRIGHT_PLAINTEXT_OK", "yes"),
    ] {
        let refused = installation.refused(&[], &[(variable, value)]).await;
        assert!(!refused.err.contains("not-to-be-shown"), "{refused:?}");
        refused.expect(2, &[]);
    }
    assert!(!installation.data().exists(), "nothing is made by a start that is refused");
}

#[tokio::test]
async fn secrets_are_shown_as_such_and_completions_are_written() {
    let installation = Installation::new();
    let mut command = installation.command(&["config", "show"]);
    command
        .env("KEYWRIGHT_KEY", "kw_notforshow")
        .env("KEYWRIGHT_ROOT_KEY", "kwroot-not-for-show-not-for-show-1");
    let shown = installation.run_with(command, "").await.expect(0, &[]);
    assert!(
        shown.out.contains("(secret)") && !shown.out.contains("show-not") && !shown.out.contains("notfor")
    );
    for shell in ["bash", "zsh", "fish"] {
        let written = installation.run(&["completions", shell]).await.expect(0, &[]);
        assert!(written.out.contains("keywright") && written.out.contains("master-key"), "{shell}");
    }
    let flag = installation.run(&["keys", "list", "--key", "kw_x", "--server", "http://127.0.0.1:1"]).await;
    flag.expect(6, &["--key can be read by every process", "127.0.0.1:1"]);
    let none = installation.run(&["keys", "list", "--server", "http://127.0.0.1:1"]).await;
    none.expect(2, &["KEYWRIGHT_KEY"]);
}
