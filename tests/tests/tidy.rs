//! Style that no other tool checks, over every text file that git tracks.
//!
//! The length of functions is clippy's (`too_many_lines`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Rust file that is longer is to be split by meaning.
const MAX_LINES: usize = 500;

/// What must not stand in a file of this project, and why.
///
/// Written apart, so that this file doesn't find itself.
const FORBIDDEN: [(&str, &str); 8] = [
    (concat!("TO", "DO"), "is for an issue, not for the code"),
    (concat!("FIX", "ME"), "is for an issue, not for the code"),
    (concat!("XX", "X"), "is for an issue, not for the code"),
    (concat!("todo", "!("), "is not code yet"),
    (concat!("unimplemented", "!("), "is not code yet"),
    (concat!("/ho", "me/"), "is a path of one machine"),
    (concat!("/ro", "ot/"), "is a path of one machine"),
    (concat!("/wo", "rk/"), "is a path of one machine"),
];

// The rules beside those words.
const LENGTH: &str = "length";
const TRAILING_BLANK: &str = "trailing blank";
const LAST_NEWLINE: &str = "newline at the end";

#[test]
fn every_file_is_tidy() {
    let files = tracked_files();
    assert!(files.len() > 50, "git lists only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        // What isn't UTF-8 is a capture or an object, not text.
        let Ok(text) = fs::read_to_string(repository().join(&file)) else { continue };
        wrong.extend(complaints(&file, &text).into_iter().map(|(_, complaint)| complaint));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn tracked_files() -> Vec<String> {
    let output =
        Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().expect("git runs");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("file names in UTF-8");
    // A file that was removed and not committed yet is listed, too.
    names.split_terminator('\0').filter(|name| repository().join(name).is_file()).map(str::to_owned).collect()
}

/// What is wrong with a file: the rule and the complaint.
fn complaints(file: &str, text: &str) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if file.ends_with(".rs") && lines > MAX_LINES {
        wrong.push((LENGTH, format!("{file}: {lines} lines, more than {MAX_LINES}")));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        wrong.push((LAST_NEWLINE, format!("{file}: no newline at the end")));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with([' ', '\t', '\r']) {
            wrong.push((TRAILING_BLANK, format!("{file}:{number}: blanks at the end of the line")));
        }
        let found = FORBIDDEN.iter().filter(|(word, _)| line.contains(word));
        wrong.extend(found.map(|(word, why)| (*word, format!("{file}:{number}: `{word}` {why}"))));
    }
    wrong
}

#[test]
fn planted_faults_are_found() {
    let rules =
        |file, text: &str| complaints(file, text).into_iter().map(|(rule, _)| rule).collect::<Vec<_>>();
    assert_eq!(rules("a.rs", "fn main() {}\n"), [""; 0]);
    assert_eq!(rules("a.rs", ""), [""; 0]);
    assert_eq!(rules("a.rs", "fn main() {} \n\t\n"), [TRAILING_BLANK; 2]);
    assert_eq!(rules("a.rs", "fn main() {}"), [LAST_NEWLINE]);
    assert_eq!(rules("a.rs", &"\n".repeat(MAX_LINES)), [""; 0]);
    assert_eq!(rules("a.rs", &"\n".repeat(MAX_LINES + 1)), [LENGTH]);
    assert_eq!(rules("a.md", &"\n".repeat(MAX_LINES + 1)), [""; 0]);
    for (word, _) in FORBIDDEN {
        assert_eq!(rules("a.toml", &format!("before {word} after\n")), [word]);
    }
}
