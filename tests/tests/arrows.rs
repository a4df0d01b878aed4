//! Which crate may use which: the arrows of the design, held against `cargo metadata` and against san's sources.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate of the workspace, and the crates of the workspace that it may use.
///
/// datapath and control meet in initiator only; export knows no Fibre Channel; san is a peer that nobody else's
/// mistakes can reach; nobody uses tests, and only they use bench.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("fc-crc", &[]),
    ("fc", &["fc-crc"]),
    ("xdp-prog", &[]),
    ("datapath", &["fc", "xdp-prog"]),
    ("control", &["fc"]),
    ("initiator", &["fc", "datapath", "control"]),
    ("export", &[]),
    ("san", &["fc", "datapath"]),
    ("xfcoe", &["fc", "xdp-prog", "datapath", "control", "initiator", "export", "san"]),
    ("bench", &["fc", "xdp-prog", "datapath", "control", "initiator", "export", "san", "xfcoe"]),
    ("tests", &["fc", "xdp-prog", "datapath", "control", "initiator", "export", "san", "xfcoe", "bench"]),
];

/// What san may name of the crates that it shares with the initiator: formats, time and rings, but no state
/// machine. One mistake would pass on both ends otherwise.
const SAN_MAY_NAME: [(&str, &[&str]); 2] = [("fc", &["wire", "time"]), ("datapath", &["port"])];

#[test]
fn crates_use_only_what_they_may() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let uses = workspace_uses(&serde_json::from_slice(&output.stdout).expect("JSON from cargo"));
    assert_eq!(wrong_arrows(&uses), [""; 0]);
}

#[test]
fn san_shares_no_state_machine_with_the_initiator() {
    let mut sources = Vec::new();
    collect_sources(&repository().join("san/src"), &mut sources);
    assert!(!sources.is_empty());
    let mut wrong = Vec::new();
    for path in sources {
        let source = fs::read_to_string(&path).expect("a source file");
        for (krate, allowed) in SAN_MAY_NAME {
            let names = names_in_crate(&source, krate);
            let refused = names.iter().filter(|name| !allowed.contains(&name.as_str()));
            wrong.extend(refused.map(|name| format!("{}: {krate}::{name}", path.display())));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Each package with its dependencies inside the repository: those that have a path. All kinds count, so that a
/// test or a build script can't go where the crate may not.
fn workspace_uses(metadata: &Value) -> BTreeMap<String, Vec<String>> {
    let name = |value: &Value| value["name"].as_str().expect("a name").to_owned();
    let array = |value: &Value| value.as_array().expect("an array").clone();
    array(&metadata["packages"])
        .iter()
        .map(|package| {
            let local = array(&package["dependencies"]).into_iter().filter(|used| used["path"].is_string());
            (name(package), local.map(|used| name(&used)).collect())
        })
        .collect()
}

/// Every dependency that [`MAY_USE`] doesn't allow, and every crate that only one of the two sides knows.
fn wrong_arrows(uses: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let table = BTreeMap::from(MAY_USE);
    let mut wrong = Vec::new();
    for (krate, used) in uses {
        match table.get(krate.as_str()) {
            Some(allowed) => {
                let refused = used.iter().filter(|used| !allowed.contains(&used.as_str()));
                wrong.extend(refused.map(|used| format!("{krate} -> {used}")));
            }
            None => wrong.push(format!("{krate} is not in the table")),
        }
    }
    let gone = table.keys().filter(|krate| !uses.contains_key(**krate));
    wrong.extend(gone.map(|krate| format!("{krate} is not in the workspace")));
    wrong
}

fn collect_sources(folder: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() {
            collect_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

/// The modules of `krate` that `source` names: what follows `krate::`, each entry of a `{..}` group by itself.
/// Importing the crate whole (`use krate;`, `use krate as other;`) gives "self".
fn names_in_crate(source: &str, krate: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices(krate) {
        let (before, after) = (&code[..at], &code[at + krate.len()..]);
        // `::fc::x` is the crate; `crate::fc::x` is a module that happens to have its name.
        let parent = before.strip_suffix("::").unwrap_or(before);
        if parent.ends_with(is_ident) || after.starts_with(is_ident) {
            continue;
        }
        let is_import = ["use", "extern crate"].iter().any(|word| parent.trim_end().ends_with(word));
        match after.strip_prefix("::") {
            Some(path) => names.extend(heads(path)),
            None if is_import => names.push("self".to_owned()),
            None => {}
        }
    }
    names
}

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first segment of a path, or of each path in the group that it starts with.
fn heads(path: &str) -> Vec<String> {
    let head = |entry: &str| -> String {
        entry.trim_start().chars().take_while(|c| is_ident(*c) || *c == '*').collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![head(path)] };
    let mut depth = 0;
    let mut entries = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => entries.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                entries.last_mut().expect("never empty").push(c);
            }
        }
    }
    entries.iter().map(|entry| head(entry)).filter(|name| !name.is_empty()).collect()
}

#[test]
fn a_planted_arrow_is_found() {
    let mut uses: BTreeMap<_, _> = MAY_USE.map(|(krate, _)| (krate.to_owned(), Vec::new())).into();
    assert_eq!(wrong_arrows(&uses), [""; 0]);
    uses.insert("control".to_owned(), vec!["fc".to_owned(), "datapath".to_owned()]);
    uses.insert("newcomer".to_owned(), Vec::new());
    uses.remove("export");
    assert_eq!(
        wrong_arrows(&uses),
        ["control -> datapath", "newcomer is not in the table", "export is not in the workspace"]
    );
}

#[test]
fn metadata_gives_the_arrows_of_every_kind() {
    let metadata = serde_json::json!({ "packages": [{ "name": "san", "dependencies": [
        { "name": "fc", "path": "fc" },
        { "name": "control", "path": "control", "kind": "dev" },
        { "name": "serde", "path": null },
    ]}]});
    assert_eq!(workspace_uses(&metadata)["san"], ["fc", "control"]);
}

#[test]
fn a_planted_path_is_found() {
    let names = |source| names_in_crate(source, "fc");
    assert_eq!(names("use fc::wire::{FcId, els::Plogi};\nuse fc::time::Instant;"), ["wire", "time"]);
    assert_eq!(names("use fc::{\n    wire::{self, fip},\n    vn2vn::Machine,\n};"), ["wire", "vn2vn"]);
    assert_eq!(names("let x = fc::exchange::Table::new();"), ["exchange"]);
    assert_eq!(names("use ::fc::fip as f;\npub use fc::*;"), ["fip", "*"]);
    assert_eq!(names("use fc;\nuse fc as f;\nextern crate fc;"), ["self", "self", "self"]);
    assert_eq!(names("// fc::exchange\nlet fcp = other_fc::x + crate::fc::y + self.fc;"), [""; 0]);
}
