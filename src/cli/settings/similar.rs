//! Finds the name that was probably meant: of a setting, or of a value.

/// How many edits a word may be away from the name that is suggested for it: one for each three
/// characters.
const PER_EDIT: usize = 3;
/// A longer word is no misspelt name.
const LONGEST: usize = 64;

/// The name that a word probably means: the nearest one that is near enough. Upper case, spaces and
/// underscores do not count.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.trim().to_lowercase().replace(['_', ' '], "-");
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    let near = names.into_iter().map(|name| (distance(&word, name), name));
    let near = near.filter(|(edits, name)| *edits * PER_EDIT <= length.max(name.len()));
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Returns the end of an error message that suggests the name; empty without one.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, names).map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
}

/// Suggests the name of an environment variable, as [`did_you_mean`] suggests another name.
pub fn of_variable(word: &str, variables: &[String]) -> String {
    let names = variables.iter().map(|name| (distance(word, name), name));
    match names.min_by_key(|(edits, _)| *edits) {
        Some((edits, name)) if edits * PER_EDIT <= word.len() => format!(", did you mean {name}?"),
        _ => String::new(),
    }
}

/// How many characters must be inserted, removed, replaced, or exchanged with their neighbour, to
/// make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.chars().collect::<Vec<_>>(), other.chars().collect::<Vec<_>>());
    // The rows of the table of distances between the beginnings of both words: the row before the
    // last, the last one, and the one that is filled.
    let mut earlier = Vec::new();
    let mut last = (0..=other.len()).collect::<Vec<_>>();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut edits = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                let before: &Vec<usize> = &earlier;
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        earlier = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_word_that_is_like_none_gets_no_suggestion() {
        let names = ["max-head", "max-queue", "max-message", "log", "listen"];
        for (word, expected) in [
            ("max_head", Some("max-head")),
            ("MAX-HEAD", Some("max-head")),
            ("max-haed", Some("max-head")),
            ("max-mesage", Some("max-message")),
            ("lisen", Some("listen")),
            ("lgo", Some("log")),
            ("server", None),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
        assert_eq!(did_you_mean("logg", names), ", did you mean \"log\"?");
        assert_eq!(did_you_mean("server", names), "");
    }
}
