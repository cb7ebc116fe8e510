//! Runs every committed corpus file through its target, on stable Rust and without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use keyway_fuzz::TARGETS;

#[test]
fn every_committed_input_runs() {
    for target in TARGETS {
        let directory = corpus().join(target.name);
        let files: Vec<PathBuf> = fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for file in &files {
            let input = fs::read(file).unwrap();
            let outcome = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(outcome.is_ok(), "{} fails on {}", target.name, file.display());
        }
        println!("{}: {} inputs", target.name, files.len());
    }
}

#[test]
fn every_corpus_and_every_binary_has_its_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let manifest = include_str!("../Cargo.toml");
    let binaries =
        manifest.split("[[bin]]").skip(1).filter_map(|entry| entry.split('"').nth(1)).map(str::to_owned);
    assert_eq!(binaries.collect::<BTreeSet<_>>(), targets);
    let corpora =
        fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(corpora.collect::<BTreeSet<_>>(), targets);
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
