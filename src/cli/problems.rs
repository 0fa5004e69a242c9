//! The problems of the settings, each with the place at which the wrong value was written.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::cli::lang;
use crate::cli::text::Escaped;

/// A position in the configuration file. The first line and the first column have the number 1; a
/// column is one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub file: PathBuf,
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// The position of a byte of the file's text.
    pub fn of(file: &Path, text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or_default().chars().count();
        Position { file: file.to_owned(), line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// Where the value of a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Environment,
    File(Position),
}

/// The place of a problem: the source, and the name under which the source has the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The problem belongs to no single value.
    None,
    Flag(&'static str),
    Variable(String),
    /// A place of the file, and the key there, if there is one.
    File(Position, Option<&'static str>),
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    pub why: String,
}

impl Problem {
    /// The order in which problems are reported: flags, variables, the file from its beginning to
    /// its end, and then what belongs to no single value.
    fn rank(&self) -> (u8, usize, usize) {
        match &self.place {
            Place::Flag(_) => (0, 0, 0),
            Place::Variable(_) => (1, 0, 0),
            Place::File(position, _) => (2, position.line, position.column),
            Place::None => (3, 0, 0),
        }
    }
}

impl fmt::Display for Problem {
    /// Writes one line, whatever the file contains: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = lang::shown(&self.why);
        let line = match &self.place {
            Place::None => why.into_owned(),
            Place::Flag(name) => format!("--{name}: {why}"),
            Place::Variable(name) => format!("{name}: {why}"),
            Place::File(position, Some(key)) => format!("{position}: {key}: {why}"),
            Place::File(position, None) => format!("{position}: {why}"),
        };
        Escaped(&line).fmt(f)
    }
}

/// Everything that is wrong with the settings, in the order in which it is reported.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a problem. A problem that was reported already is not added again.
    pub fn add(&mut self, problem: Problem) {
        if !self.0.contains(&problem) {
            let at = self.0.partition_point(|it| it.rank() <= problem.rank());
            self.0.insert(at, problem);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let file = PathBuf::from("a.toml");
        let text = "a = 1\n名 = 2\r\n\n";
        let shown = |byte| Position::of(&file, text, byte).to_string();
        assert_eq!(shown(0), "a.toml:1:1");
        assert_eq!(shown(4), "a.toml:1:5");
        assert_eq!(shown(6), "a.toml:2:1");
        assert_eq!(shown(12), "a.toml:2:5");
        assert_eq!(shown(text.len()), "a.toml:4:1");
        assert_eq!(shown(7), "a.toml:4:1", "a byte within a character does no harm");
    }

    #[test]
    fn problems_are_reported_once_in_the_order_of_their_places() {
        let file = PathBuf::from("a.toml");
        let at = |byte| Place::File(Position::of(&file, "1\n2\n3\n", byte), None);
        let mut problems = Problems::default();
        problems.add(Problem { place: Place::None, why: "last".to_owned() });
        for place in [at(4), at(0), Place::Variable("V".to_owned()), Place::Flag("f"), at(0)] {
            problems.add(Problem { place, why: "wrong\n".to_owned() });
        }
        let lines = problems.iter().map(Problem::to_string).collect::<Vec<_>>();
        let expected = ["--f: wrong", "V: wrong", "a.toml:1:1: wrong", "a.toml:3:1: wrong", "last"];
        let expected = expected.map(|line| line.replace("wrong", "wrong\\u{a}"));
        assert_eq!(lines, expected);
    }
}
