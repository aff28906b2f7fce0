//! Runs the fuzz targets over the committed corpus, without libFuzzer: `cargo xtask fuzz`
//! looks for more.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::{fs, path::Path};

#[test]
fn every_input_of_the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::ALL {
        let inputs: Vec<_> = fs::read_dir(corpus.join(name)).expect("a directory").collect();
        assert!(!inputs.is_empty(), "{name} has a corpus");
        for input in inputs {
            let path = input.expect("an entry").path();
            // Shown only if the target fails.
            println!("{}", path.display());
            target(&fs::read(path).expect("a file"));
        }
    }
}

#[test]
fn inputs_that_end_anywhere_pass() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    // Each of them takes two connections.
    for (name, target) in targets::ALL.iter().filter(|(name, _)| *name != "request") {
        for input in fs::read_dir(corpus.join(name)).expect("a directory") {
            let text = fs::read(input.expect("an entry").path()).expect("a file");
            (0..text.len()).for_each(|end| target(&text[..end]));
        }
    }
}
