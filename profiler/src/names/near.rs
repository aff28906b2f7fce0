//! Suggests names that resemble a mistyped name.

/// The minimum similarity of a suggestion, from 0 to 1.
const LEAST_SIMILARITY: f64 = 0.8;

/// The maximum number of suggestions.
const MOST: usize = 3;

/// At most three of the `known` names that resemble `name`, the most similar first.
pub fn near<T: AsRef<str>>(name: &str, known: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut near: Vec<_> = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(known.as_ref(), name), known))
        .filter(|&(similarity, _)| similarity > LEAST_SIMILARITY)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(MOST).map(|(_, known)| known).collect()
}

/// The end of an error message with suggestions: `; perhaps read, readv`. Empty without
/// suggestions.
pub fn or_perhaps<T: AsRef<str>>(near: &[T]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = near.iter().map(AsRef::as_ref).collect();
    format!("; perhaps {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_comes_first() {
        let known = ["pread64", "read", "readv", "write"];
        assert_eq!(near("raed", known), ["read", "readv"]);
        assert!(near("quux", known).is_empty());
        assert_eq!(or_perhaps(&["read", "readv"]), "; perhaps read, readv");
        assert_eq!(or_perhaps::<&str>(&[]), "");
    }
}
