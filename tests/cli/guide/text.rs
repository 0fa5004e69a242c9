//! Reads a guide in Markdown: its sections, and in each of them the code, the tables and the prose.

use super::read;

/// A fenced block of code: its language, and its lines without comments.
#[derive(Debug)]
pub struct Code {
    pub language: String,
    pub lines: Vec<String>,
}

/// A part of a section that stands in both languages at the same place.
#[derive(Debug)]
pub enum Block {
    Code(Code),
    /// For each row, the names in code marks in each of its cells, sorted.
    Table(Vec<Vec<Vec<String>>>),
}

/// What stands between a heading and the next one. The order of words depends on the language, so names in code
/// marks, numbers and links are sorted.
#[derive(Debug)]
pub struct Section {
    /// The line of the heading, the first line of the guide is 1.
    pub line: usize,
    pub level: usize,
    pub title: String,
    /// Blocks of code and tables with the line on which each begins.
    pub blocks: Vec<(usize, Block)>,
    /// How many items the lists have.
    pub items: usize,
    pub names: Vec<String>,
    pub numbers: Vec<String>,
    pub links: Vec<String>,
}

pub struct Guide {
    /// The path below the root of the repository.
    pub path: String,
    pub lines: Vec<String>,
    pub sections: Vec<Section>,
}

/// The level of a heading and its text, if the line is one.
fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let level = line.len() - title.len();
    (level > 0).then(|| title.strip_prefix(' ')).flatten().map(|title| (level, title.trim()))
}

/// A line of code without its comment, which begins at the start of the line or behind white space.
fn without_comment(line: &str) -> &str {
    let is_comment = |(at, mark): &(usize, &str)| {
        let begins = line[..*at].chars().next_back().is_none_or(char::is_whitespace);
        let rest = &line[at + mark.len()..];
        begins && (rest.is_empty() || rest.starts_with(' '))
    };
    let marks = ["#", "//", "<!--", "/*"];
    let comments = marks.iter().flat_map(|mark| line.match_indices(mark)).filter(is_comment);
    line[..comments.map(|(at, _)| at).min().unwrap_or(line.len())].trim_end()
}

/// A line of HTML without what a person reads on the page.
fn without_labels(line: &str) -> String {
    let mut tags = String::new();
    for part in line.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let (before, label) = tag.split_once("placeholder=\"").unwrap_or((tag, ""));
        let after = label.split_once('"').map_or("", |(_, after)| after);
        tags.push_str(&format!("<{before}{after}>"));
    }
    tags
}

/// The cells of a row. A bar that is escaped, or that stands in code marks, is no border.
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut in_code, mut before) = (vec![String::new()], false, ' ');
    let row = row.trim();
    for it in row.strip_prefix('|').unwrap_or(row).strip_suffix('|').unwrap_or(row).chars() {
        in_code ^= it == '`';
        match it {
            '|' if !in_code && before != '\\' => cells.push(String::new()),
            _ => cells.last_mut().unwrap().push(it),
        }
        before = it;
    }
    cells
}

/// What stands in code marks, and the rest of the text.
fn names(text: &str) -> (Vec<String>, String) {
    let (mut names, mut rest) = (Vec::new(), String::new());
    for (at, part) in text.split('`').enumerate() {
        match at % 2 {
            0 => rest.push_str(part),
            _ => names.push(part.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
    (names, rest)
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// The targets of the links, and the rest of the text.
fn links(text: &str) -> (Vec<String>, String) {
    let (mut links, mut rest) = (Vec::new(), String::new());
    for (at, part) in text.split("](").enumerate() {
        match part.split_once(')') {
            Some((link, part)) if at > 0 => {
                links.push(link.to_owned());
                rest.push_str(part);
            }
            _ => rest.push_str(part),
        }
    }
    (links, rest)
}

fn numbers(text: &str) -> Vec<String> {
    let is_number = |it: char| it.is_ascii_digit() || it == '.' || it == ',';
    let found = text.split(|it| !is_number(it)).map(|it| it.trim_matches(['.', ',']));
    found.filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let rest = line.trim_start_matches(|it: char| it.is_ascii_digit());
    line.starts_with("- ") || (rest.len() < line.len() && rest.starts_with(". "))
}

/// Whether a line leads to the other language of the guide and says nothing else.
pub fn is_language(line: &str) -> bool {
    let link = line.trim_matches('*');
    link.ends_with(')')
        && ["[English](", "[中文](", "[中文说明]("].iter().any(|it| link.starts_with(it))
}

impl Section {
    /// A section with this heading and the lines that follow it.
    fn of(line: usize, (level, title): (usize, &str), lines: &[(usize, &str)]) -> Section {
        let (mut blocks, mut prose, mut items) = (Vec::new(), title.to_owned() + "\n", 0);
        let mut lines = lines.iter().copied().peekable();
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let language = language.trim().to_owned();
                let code = lines.by_ref().map(|(_, line)| line);
                let code = code.take_while(|line| line.trim() != "```").map(without_comment);
                let code = code.map(|line| match language.as_str() {
                    "html" => without_labels(line),
                    _ => line.to_owned(),
                });
                let code = code.filter(|line| !line.trim().is_empty()).collect();
                blocks.push((at, Block::Code(Code { language, lines: code })));
            } else if line.starts_with('|') {
                let mut rows = Vec::new();
                let mut next = Some((at, line));
                while let Some((_, row)) = next {
                    rows.push(cells(row).iter().map(|cell| sorted(names(cell).0)).collect());
                    prose.push_str(row);
                    prose.push('\n');
                    next = lines.next_if(|(_, line)| line.starts_with('|'));
                }
                blocks.push((at, Block::Table(rows)));
            } else if !is_language(line) {
                items += usize::from(is_item(line));
                prose.push_str(line);
                prose.push('\n');
            }
        }
        let (names, prose) = names(&prose);
        let (links, prose) = links(&prose);
        let (names, numbers, links) = (sorted(names), sorted(numbers(&prose)), sorted(links));
        Section { line, level, title: title.to_owned(), blocks, items, names, numbers, links }
    }
}

impl Guide {
    /// Reads a guide of the repository.
    pub fn read(path: String) -> Guide {
        let text = read(&path);
        Guide::of(path, &text)
    }

    pub fn of(path: String, text: &str) -> Guide {
        let lines: Vec<(usize, &str)> =
            text.lines().enumerate().map(|(at, line)| (at + 1, line)).collect();
        let mut in_code = false;
        let mut starts = Vec::new();
        for (at, (_, line)) in lines.iter().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            if !in_code && let Some(heading) = heading(line) {
                starts.push((at, heading));
            }
        }
        assert!(!in_code, "{path}: a block of code has no end");
        assert_eq!(starts.first().map(|(at, _)| *at), Some(0), "{path} begins with its title");
        let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([lines.len()]);
        let sections = starts
            .iter()
            .zip(ends)
            .map(|(&(at, heading), end)| Section::of(at + 1, heading, &lines[at + 1..end]));
        let sections = sections.collect();
        Guide { path, lines: text.lines().map(str::to_owned).collect(), sections }
    }
}

/// The names by which links lead to the headings of a file, as GitHub makes them.
pub fn anchors(path: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for section in Guide::read(path.to_owned()).sections {
        let (_, title) = links(&section.title);
        let kept = |it: &char| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_');
        let title: String = title.to_lowercase().chars().filter(kept).collect();
        let title = title.replace(' ', "-");
        let again = format!("{title}-");
        let is_same = |it: &&String| {
            **it == title || it.strip_prefix(&again).is_some_and(|it| it.parse::<u32>().is_ok())
        };
        let count = anchors.iter().filter(is_same).count();
        anchors.push(if count == 0 { title } else { format!("{again}{count}") });
    }
    anchors
}
