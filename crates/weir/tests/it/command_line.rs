//! What a person types: exit codes, messages, places.

use crate::server::{run, text, weir};

fn check(arguments: &[&str], code: i32, stderr: &str) -> String {
    let output = run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(stderr), "{arguments:?}: {said}");
    text(&output.stdout)
}

#[test]
fn exit_codes_tell_failed_from_not_understood() {
    check(&[], 2, "Usage");
    check(&["upp"], 2, "a similar subcommand exists: 'up'");
    check(&["up", "--lisen", "x"], 2, "--listen");
    check(&["policy", "check", "/nowhere"], 1, "error: /nowhere:1:1: cannot list the directory");
    check(&["keys", "issue", "--org", "Acme!", "--agent", "x"], 2, "an organisation's name");
    check(&["up", "--listen", "here"], 1, "error: --listen: `listen` is `here`; expected an address");
    assert!(check(&["--version"], 0, "").starts_with("weir 0."));
}

#[test]
fn unknown_settings_are_errors_with_a_suggestion() {
    let output = weir().args(["config", "print"]).env("WEIR_MAX_FULLSCANS", "3").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("error: WEIR_MAX_FULLSCANS: no setting has this name"), "{said}");
    assert!(said.contains("did you mean `WEIR_MAX_FULL_SCANS`?"), "{said}");
    let degraded = weir().args(["config", "print"]).env("WEIR_POLICY_SYNC_ALLOW_DEGRADED", "true").output().unwrap();
    assert!(text(&degraded.stderr).contains("there is no degraded mode"));
}

#[test]
fn the_configuration_prints_every_value_with_its_source() {
    let output = weir().args(["config", "print", "--data", "/d"]).env("WEIR_LISTEN", "127.0.0.1:7").output().unwrap();
    let printed = text(&output.stdout);
    assert!(printed.contains("listen = \"127.0.0.1:7\"  # from WEIR_LISTEN"), "{printed}");
    assert!(printed.contains("data = \"/d\"  # from --data"), "{printed}");
    assert!(printed.contains("# WEIR_WAL_FSYNC, default true\nwal.fsync = true\n"), "{printed}");
}

#[test]
fn policies_are_checked_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    for (file, content) in
        [("policy.toml", "org = \"acme\"\n\n[roles.reader]\n"), ("access.cedar", ""), ("row_filters.sql", "")]
    {
        std::fs::write(folder.path().join(file), content).unwrap();
    }
    let told = check(&["policy", "check", place], 0, "");
    assert!(told.contains("org acme is active; 1 role, 0 access rules"), "{told}");
    std::fs::write(folder.path().join("access.cedar"), "\npermit (principal in Role::\"raeder\", action, resource);\n")
        .unwrap();
    check(&["policy", "check", place], 1, "access.cedar:2:");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/demo");
    assert_eq!(check(&["policy", "test", demo], 0, "").lines().count(), 2);
}

#[test]
fn completions_are_for_the_shell_that_was_named() {
    assert!(check(&["completions", "bash"], 0, "").contains("_weir()"));
    check(&["completions", "tcsh"], 2, "possible values");
}

#[test]
fn keys_are_shown_once_and_kept_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let issued = check(&["keys", "issue", "--data", data, "--org", "acme", "--agent", "report"], 0, "shown this once");
    let key = issued.trim();
    assert!(key.starts_with("weir_agent_"), "{key}");
    let id = key.split('_').nth(2).unwrap();
    let listed = check(&["keys", "list", "--data", data], 0, "");
    assert!(listed.contains(id) && !listed.contains(key.rsplit('_').next().unwrap()), "{listed}");
    let kept = std::fs::read_to_string(folder.path().join("keys/api_keys.json")).unwrap();
    assert!(!kept.contains(key.rsplit('_').next().unwrap()));
    check(&["keys", "revoke", "--data", data, "nosuchkey"], 1, "no key has the id `nosuchkey`");
    check(&["keys", "revoke", "--data", data, id], 0, "is revoked");
    assert!(check(&["keys", "list", "--data", data], 0, "").contains("revoked"));
}

#[test]
fn a_key_is_not_issued_into_a_folder_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let typo = folder.path().join("dta");
    let flags = ["keys", "issue", "--data", typo.to_str().unwrap(), "--org", "acme", "--agent", "report"];
    check(&flags, 1, "there is no data folder");
    assert!(!typo.exists());
}
