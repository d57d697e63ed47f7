//! The command line against a real server: a newcomer's first five minutes, exit codes, and where secrets go.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::api::text;
use super::installation::{Installation, Ran, Server};

/// What everybody types, with a key in the environment.
struct Shell<'a> {
    installation: &'a Installation,
    server: &'a Server,
    key: String,
}

impl Shell<'_> {
    async fn run(&self, line: &str) -> Ran {
        self.run_with(line, "").await
    }

    /// Words are separated by spaces; `+` stands for a space within one.
    async fn run_with(&self, line: &str, input: &str) -> Ran {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('+', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.installation.command(&words);
        command.env("KEYWRIGHT_SERVER", &self.server.url).env("KEYWRIGHT_KEY", &self.key);
        self.installation.run_with(command, input).await
    }
}

#[tokio::test]
async fn the_first_five_minutes_go_as_they_are_told() {
    let installation = Installation::new();
    let server = installation.start().await;
    let key = server.root_key.clone().unwrap();
    let shell = Shell { installation: &installation, server: &server, key };
    let made =
        shell.run("keys create --name gps+uploader --grant get,put+on+devices/7/** --expires 30d").await;
    let made = made.expect(0, &["made key_", "gps uploader", "only time that its secret is shown"]);
    let secret = made.out.trim_end().to_owned();
    assert!(
        secret.starts_with("kw_") && !secret.contains('\n'),
        "the secret alone can be captured: {secret}"
    );
    assert!(!made.err.contains(&secret), "and is nowhere else");
    let with_line = format!("{secret}\n");

    let put = "verify --action put --resource devices/7/gps";
    let allowed = shell.run_with(put, &with_line).await.expect(0, &[]);
    assert!(allowed.out.contains("allowed") && !allowed.out.contains(&secret), "{allowed:?}");
    let plan = shell.run("keys update 1 --remove-grant put+on+devices/7/** --dry-run --color always").await;
    let plan = plan.expect(0, &["nothing was written"]);
    assert!(plan.out.contains("\u{1b}[31m") && plan.out.contains("put"), "what is lost is red: {plan:?}");
    let json = shell.run("keys update 1 --remove-grant put+on+devices/7/** --dry-run --json").await;
    let json = json.expect(0, &[]).json();
    assert_eq!((&json["dry_run"], &json["access"]["gained"]), (&json!(true), &json!([])), "{json}");
    assert_eq!(json["access"]["lost"].as_array().map(Vec::len), Some(1), "{json}");
    shell.run_with(put, &with_line).await.expect(0, &[]);

    shell.run("keys update 1 --remove-grant put+on+devices/7/**").await.expect(0, &[]);
    let denied = shell.run_with(put, &with_line).await.expect(1, &[]);
    assert!(denied.out.contains("insufficient_permission"), "{denied:?}");
    shell.run_with("verify --action get --resource devices/7/gps", &with_line).await.expect(0, &[]);

    let rotated = shell.run("keys rotate 1 --overlap 1h").await.expect(0, &["rotated key_"]);
    let second = rotated.out.trim_end().to_owned();
    assert_ne!(second, secret);
    shell.run_with("verify", &secret).await.expect(0, &[]);
    shell.run_with("verify", &second).await.expect(0, &[]);
    shell
        .run("keys rotate 1 --overlap 0s --yes --secret-file third")
        .await
        .expect(0, &["its secret is in third"]);
    let file = installation.path("third");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let third = std::fs::read_to_string(&file).unwrap();
    super::installation::note(&third);
    for ended in [&secret, &second] {
        let denied = shell.run_with("verify --json", ended).await.expect(1, &[]).json();
        assert_eq!(denied["code"], "superseded");
    }
    shell.run_with("verify", &third).await.expect(0, &[]);
    shell.run("keys revoke 1 --reason laptop+lost").await.expect(0, &[]);
    let revoked = shell.run_with("verify --json", &third).await.expect(1, &[]).json();
    assert_eq!((&revoked["allowed"], &revoked["code"]), (&json!(false), &json!("revoked")));
    let audit = shell.run("audit list --json").await.expect(0, &[]).json().to_string();
    for verb in ["key.create", "key.update", "key.rotate", "key.revoke"] {
        assert!(audit.contains(verb), "{verb}: {audit}");
    }
    for path in
        ["keys list", "keys get 1", "audit list", "whoami", "orgs list", "keyspaces list", "roles list"]
    {
        let table = shell.run(path).await.expect(0, &[]);
        assert!(!table.out.contains(&secret) && !table.out.contains(third.trim()), "{table:?}");
        shell.run(&format!("{path} --json")).await.expect(0, &[]).json();
    }
    server.stop().await;
    installation.audit_is_clean().await;
}

#[tokio::test]
async fn every_end_has_its_exit_code() {
    let installation = Installation::new();
    let server = installation.start().await;
    let key = server.root_key.clone().unwrap();
    let shell = Shell { installation: &installation, server: &server, key };
    let made = shell.run("keys create --name a --grant get+on+a/** --json").await.expect(0, &[]).json();
    let (id, secret) = (text(&made["key"]["id"]), text(&made["secret"]));
    // 2: wrong usage, or a body that is not good.
    shell.run("keys create").await.expect(2, &["name"]);
    shell.run("keys create --name a --grnt x").await.expect(2, &["--grant"]);
    shell.run(&format!("keys update {id}")).await.expect(2, &["nothing to change"]);
    shell.run("keys create --name a --ip 10.0.0.0/99").await.expect(2, &["/ip_allowlist/0"]);
    // 3: not good, or not allowed.
    let stranger = Shell { key: "kw_nobody".to_owned(), ..shell };
    stranger.run("keys list").await.expect(3, &["401", "KEYWRIGHT_KEY"]);
    let product = Shell { key: secret.clone(), ..stranger };
    product.run("keys list").await.expect(3, &["40"]);
    let shell = Shell { key: server.root_key.clone().unwrap(), ..product };
    // 4: not found.
    for missing in
        ["keys get 99", "keys get key_01JD0000000000000000000000", "keys get external:nobody", "roles get x"]
    {
        shell.run(missing).await.expect(4, &[]);
    }
    // 5: changed meanwhile, or its state does not allow it.
    shell
        .run(&format!("keys update {id} --name b --if-match 7"))
        .await
        .expect(5, &["412", "look at it again"]);
    shell.run(&format!("keys revoke {id}")).await.expect(0, &[]);
    shell.run(&format!("keys update {id} --name b")).await.expect(5, &["key_revoked"]);
    // `verify`: 0, 1, and 2 for every error, so that a script cannot take one for a no.
    shell.run_with("verify", &secret).await.expect(1, &[]);
    shell.run_with("verify --resource x", &secret).await.expect(2, &[]);
    shell.run_with("verify", "").await.expect(2, &["no secret on standard input"]);
    shell.run_with("verify", "a\nb\n").await.expect(2, &["more than one line"]);
    let stranger = Shell { key: "kw_nobody".to_owned(), ..shell };
    stranger.run_with("verify", &secret).await.expect(2, &["401"]);
    server.kill().await;
    // 6: nobody is there.
    let nowhere = |arguments: &'static [&'static str]| {
        let mut command = installation.command(arguments);
        command.env("KEYWRIGHT_SERVER", "http://127.0.0.1:1").env("KEYWRIGHT_KEY", "kw_x");
        installation.run_with(command, "kw_y")
    };
    nowhere(&["keys", "list"]).await.expect(6, &["127.0.0.1:1"]);
    nowhere(&["verify"]).await.expect(2, &["127.0.0.1:1"]);
}

#[tokio::test]
async fn a_secret_comes_from_standard_input_or_the_environment_and_ends_its_own_key() {
    let installation = Installation::new();
    let server = installation.start().await;
    let key = server.root_key.clone().unwrap();
    let shell = Shell { installation: &installation, server: &server, key: key.clone() };
    let secret = shell.run("keys create --name a --grant get+on+a/**").await.expect(0, &[]).out;
    let mut command = installation.command(&["verify", "--json"]);
    command.env("KEYWRIGHT_SERVER", &server.url).env("KEYWRIGHT_KEY", &key);
    command.env("KEYWRIGHT_SECRET", secret.trim_end());
    let verdict = installation.run_with(command, "").await.expect(0, &[]).json();
    assert_eq!(verdict["code"], "allowed");
    let found = shell.run_with("keys lookup --json", &secret).await.expect(0, &[]).json();
    assert_eq!(found["name"], "a");
    // Whoever found it can end it, without any other key.
    let mut command = installation.command(&["keys", "revoke-self", "--reason", "found"]);
    command.env("KEYWRIGHT_SERVER", &server.url);
    installation.run_with(command, &secret).await.expect(0, &[]);
    shell.run_with("verify", &secret).await.expect(1, &[]);

    // A repeated call makes one key.
    let create = "keys create --name b --idempotency-key once --json";
    let (first, again) = (shell.run(create).await, shell.run(create).await);
    assert_eq!(first.expect(0, &[]).json()["key"]["id"], again.expect(0, &[]).json()["key"]["id"]);
    server.stop().await;
}
