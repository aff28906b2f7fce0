//! Replaces the generated part of the README, which is between two marks.

use anyhow::{Context as _, Result, ensure};

const BEGIN: &str = "<!-- bench: what `cargo xtask bench --readme` writes begins here -->\n";
const END: &str = "<!-- bench: and ends here -->\n";

/// Returns the text with `summary` between its marks.
pub(super) fn replaced(text: &str, summary: &str) -> Result<String> {
    let (before, rest) =
        text.split_once(BEGIN).context("the README lacks the opening bench comment")?;
    let (_, after) = rest.split_once(END).context("the README lacks the closing bench comment")?;
    ensure!(!after.contains(BEGIN), "the README has the opening bench comment twice");
    Ok(format!("{before}{BEGIN}{summary}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("# Title\n\n{BEGIN}old\nfigures\n{END}\n## Next\n");
        let new = replaced(&text, "new\n").expect("both marks");
        assert_eq!(new, format!("# Title\n\n{BEGIN}new\n{END}\n## Next\n"));
        assert_eq!(replaced(&new, "new\n").expect("both marks"), new);
    }

    #[test]
    fn without_its_marks_a_text_is_left_alone() {
        assert!(replaced("# Title\n", "new\n").is_err());
        assert!(replaced(&format!("{END}{BEGIN}"), "new\n").is_err());
        assert!(replaced(&format!("{BEGIN}{END}{BEGIN}{END}"), "new\n").is_err());
    }

    #[test]
    fn the_readme_has_its_marks() {
        let path = crate::workspace::root().join("README.md");
        let text = std::fs::read_to_string(path).expect("a README");
        replaced(&text, "").expect("both marks");
    }
}
