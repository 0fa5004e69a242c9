//! Compares the two versions of each guide, English and Chinese: what does not depend on the language is the
//! same in both, so a change of one version that the other one does not follow is found.

use std::path::Path;

use super::text::{Block, Guide, Section, anchors, is_language};
use super::{ROOT, files, read};

/// The guides that have a Chinese version, `docs/NAME.zh-CN.md`, beside the English one, which is
/// `docs/NAME.md`, or `README.md` in the root.
pub const GUIDES: [&str; 12] = [
    "README",
    "install",
    "deploy",
    "tickets",
    "backend",
    "webhooks",
    "api",
    "client",
    "operations",
    "cluster",
    "protocol",
    "embedding",
];

const ENDING: &str = ".zh-CN.md";

/// The path of the Chinese version of an English guide.
fn to_chinese(english: &str) -> String {
    match english {
        "README.md" => format!("docs/README{ENDING}"),
        _ => format!("{}{ENDING}", english.trim_end_matches(".md")),
    }
}

/// The path of the English version of a Chinese guide.
fn to_english(chinese: &str) -> String {
    match chinese.trim_end_matches(ENDING) {
        "docs/README" => "README.md".to_owned(),
        name => format!("{name}.md"),
    }
}

fn exists(path: &str) -> bool {
    Path::new(ROOT).join(path).exists()
}

/// What is wrong with a pair of guides, in sentences that name both files and lines.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    /// Tells that a line of one version differs from a line of the other.
    fn tell(&mut self, (one, at): (&Guide, usize), (other, there): (&Guide, usize), what: String) {
        self.0.push(format!("{}:{at} and {}:{there}: {what}", one.path, other.path));
    }
}

/// The first entries in which two sorted lists differ.
fn first_difference(english: &[String], chinese: &[String]) -> Option<String> {
    let only_in = |one: &[String], other: &[String]| {
        let count = |list: &[String], entry| list.iter().filter(|it| *it == entry).count();
        let entry = one.iter().find(|entry| count(one, *entry) > count(other, *entry));
        entry.map_or("nothing more".to_owned(), |entry| format!("{entry:?}"))
    };
    (english != chinese).then(|| {
        let (one, other) = (only_in(english, chinese), only_in(chinese, english));
        format!("the English version has {one}, and the Chinese version has {other}")
    })
}

/// A link as it is the same in both languages: the file that it leads to, by its English path, and the number
/// of the heading there.
fn target(guide: &Guide, link: &str) -> Result<String, String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let path = match file {
        "" => guide.path.clone(),
        _ => resolve(&guide.path, file),
    };
    if !exists(&path) {
        return Err(format!("the link {link} leads to no file"));
    }
    let named = |anchor: &str| read(&path).contains(&format!("<a id=\"{anchor}\">"));
    let heading = match anchor {
        "" => String::new(),
        // A place that has a name of its own, which is the same in both languages.
        _ if named(anchor) => format!("#{anchor}"),
        _ => {
            let at = anchors(&path).iter().position(|it| it == anchor);
            format!("#{}", at.ok_or_else(|| format!("the link {link} leads to no heading"))?)
        }
    };
    let is_chinese = path.ends_with(ENDING);
    let english = if is_chinese { to_english(&path) } else { path.clone() };
    let has_both = english.ends_with(".md") && exists(&to_chinese(&english)) && exists(&english);
    if has_both && is_chinese != guide.path.ends_with(ENDING) {
        return Err(format!("the link {link} leads to the version in the other language"));
    }
    Ok(english + &heading)
}

/// The path of a file that a guide names by its own place.
fn resolve(guide: &str, file: &str) -> String {
    let mut path: Vec<&str> = guide.split('/').collect();
    path.pop();
    for part in file.split('/') {
        match part {
            ".." => drop(path.pop()),
            _ => path.push(part),
        }
    }
    path.join("/")
}

/// Compares what two sections say with blocks of code and with tables.
fn compare_blocks(
    english: (&Guide, &Section),
    chinese: (&Guide, &Section),
    found: &mut Differences,
) {
    let (one, other) = (&english.1.blocks, &chinese.1.blocks);
    for ((at, block), (there, translated)) in one.iter().zip(other) {
        let (here, there) = ((english.0, *at), (chinese.0, *there));
        match (block, translated) {
            (Block::Code(one), Block::Code(other)) if one.language != other.language => {
                let what = format!("the code is {:?} and {:?}", one.language, other.language);
                found.tell(here, there, what);
            }
            (Block::Code(one), Block::Code(other)) => {
                let count = one.lines.len().max(other.lines.len());
                let line = |code: &[String], at: usize| code.get(at).cloned().unwrap_or_default();
                let lines = (0..count).map(|at| (line(&one.lines, at), line(&other.lines, at)));
                if let Some((one, other)) = lines.into_iter().find(|(one, other)| one != other) {
                    let what = format!("a line of code is {one:?} and {other:?}");
                    found.tell(here, there, what);
                }
            }
            (Block::Table(one), Block::Table(other)) if one.len() != other.len() => {
                let what = format!("the tables have {} and {} rows", one.len(), other.len());
                found.tell(here, there, what);
            }
            (Block::Table(one), Block::Table(other)) => {
                for (row, (cells, translated)) in one.iter().zip(other).enumerate() {
                    let (here, there) = ((here.0, here.1 + row), (there.0, there.1 + row));
                    if cells.len() != translated.len() {
                        let what =
                            format!("the rows have {} and {} cells", cells.len(), translated.len());
                        found.tell(here, there, what);
                    } else if let Some((one, other)) =
                        cells.iter().zip(translated).find(|(one, other)| one != other)
                    {
                        let what = format!("the code in a cell is {one:?} and {other:?}");
                        found.tell(here, there, what);
                    }
                }
            }
            _ => found.tell(here, there, "one is a table, the other one is code".to_owned()),
        }
    }
    if one.len() != other.len() {
        let what = format!(
            "these sections have {} and {} blocks of code and tables",
            one.len(),
            other.len()
        );
        found.tell((english.0, english.1.line), (chinese.0, chinese.1.line), what);
    }
}

/// Compares what two sections say in prose.
fn compare_prose(
    english: (&Guide, &Section),
    chinese: (&Guide, &Section),
    found: &mut Differences,
) {
    let (here, there) = ((english.0, english.1.line), (chinese.0, chinese.1.line));
    let (one, other) = (english.1, chinese.1);
    if one.items != other.items {
        let what = format!("these sections have {} and {} items of lists", one.items, other.items);
        found.tell(here, there, what);
    }
    for (kind, one, other) in [
        ("names in code marks", &one.names, &other.names),
        ("numbers", &one.numbers, &other.numbers),
    ] {
        if let Some(difference) = first_difference(one, other) {
            found.tell(here, there, format!("the {kind} of these sections differ: {difference}"));
        }
    }
    let mut targets = Vec::new();
    for (guide, section) in [english, chinese] {
        let mut leads = Vec::new();
        for link in &section.links {
            match target(guide, link) {
                Ok(target) => leads.push(target),
                Err(what) => {
                    let line = guide.lines.iter().position(|it| it.contains(&format!("]({link})")));
                    let line = line.map_or(section.line, |at| at + 1);
                    found.0.push(format!("{}:{line}: {what}", guide.path));
                }
            }
        }
        leads.sort();
        targets.push(leads);
    }
    if let Some(difference) = first_difference(&targets[0], &targets[1]) {
        found.tell(here, there, format!("the links of these sections differ: {difference}"));
    }
}

/// Compares two versions of a guide, the English one first.
fn compare(english: &Guide, chinese: &Guide, found: &mut Differences) {
    for (one, other) in english.sections.iter().zip(&chinese.sections) {
        let (here, there) = ((english, one.line), (chinese, other.line));
        if one.level != other.level {
            let what = format!(
                "the headings {:?} and {:?} have the levels {} and {}",
                one.title, other.title, one.level, other.level
            );
            // All sections that follow would be compared with the wrong ones.
            return found.tell(here, there, what);
        }
    }
    let (one, other) = (english.sections.len(), chinese.sections.len());
    if one != other {
        let what = format!("the guides have {one} and {other} headings");
        return found.tell((english, 1), (chinese, 1), what);
    }
    for (one, other) in english.sections.iter().zip(&chinese.sections) {
        compare_blocks((english, one), (chinese, other), found);
        compare_prose((english, one), (chinese, other), found);
    }
}

/// Whether a guide names the other version near its title, as a link that stands alone on its line.
fn leads_to_other_version(guide: &Guide, link: &str) -> bool {
    guide.lines.iter().take(12).any(|line| is_language(line) && line.contains(link))
}

/// The English path of each guide that has a Chinese version: the guides of the documentation, and those of the
/// examples.
fn pairs() -> Vec<String> {
    let path = |guide: &str| match guide {
        "README" => "README.md".to_owned(),
        _ => format!("docs/{guide}.md"),
    };
    let in_examples = files("examples", ENDING).into_iter().filter(|path| {
        // Packages that were installed there have guides of their own.
        !path.components().any(|part| part.as_os_str() == "node_modules")
    });
    let in_examples =
        in_examples.map(|path| to_english(&path.strip_prefix(ROOT).unwrap().to_string_lossy()));
    GUIDES.into_iter().map(path).chain(in_examples).collect()
}

#[test]
fn both_languages_of_each_guide_say_the_same() {
    let mut found = Differences::default();
    for english in pairs() {
        let chinese = to_chinese(&english);
        assert!(exists(&chinese), "{english} has no Chinese version: {chinese} does not exist");
        assert!(exists(&english), "{chinese} has no English version: {english} does not exist");
        let (english, chinese) = (Guide::read(english), Guide::read(chinese));
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let (to_chinese, to_english) = match english.path.as_str() {
            "README.md" => ("docs/README.zh-CN.md".to_owned(), "../README.md".to_owned()),
            _ => (name(&chinese.path), name(&english.path)),
        };
        for (guide, link) in [(&english, to_chinese), (&chinese, to_english)] {
            let (path, link) = (&guide.path, format!("]({link})"));
            assert!(leads_to_other_version(guide, &link), "{path} has no line [...{link}");
        }
        compare(&english, &chinese, &mut found);
    }
    assert!(found.0.is_empty(), "{:#?}", found.0);
}

#[test]
fn each_chinese_file_belongs_to_a_guide_that_is_compared() {
    let pairs: Vec<String> = pairs().iter().map(|english| to_chinese(english)).collect();
    for path in files("docs", ENDING) {
        let path = path.strip_prefix(ROOT).unwrap().to_string_lossy().into_owned();
        // The list of words for the Chinese guides has no English version.
        if path == "docs/glossary.zh-CN.md" {
            continue;
        }
        assert!(pairs.contains(&path), "{path} is not in GUIDES");
    }
}

/// What `compare` says of an English guide and a Chinese one with these texts.
fn differences(english: &str, chinese: &str) -> Vec<String> {
    let guide = |path: &str, text: &str| Guide::of(path.to_owned(), text);
    let mut found = Differences::default();
    compare(&guide("docs/x.md", english), &guide("docs/x.zh-CN.md", chinese), &mut found);
    found.0
}

#[test]
fn what_has_drifted_apart_is_named_with_both_files_and_lines() {
    let english = "# T\n\nSay `a` 3 times.\n\n## Run\n\n```sh\nrun --fast  # quickly\n```\n\n- one\n\n| a | b |\n| --- | --- |\n| `x` | 1 |\n";
    let chinese = "# 题\n\n`a` 说 3 次。\n\n## 运行\n\n```sh\nrun --fast  # 快\n```\n\n- 一\n\n| 甲 | 乙 |\n| --- | --- |\n| `x` | 1 |\n";
    assert_eq!(differences(english, chinese), Vec::<String>::new());
    for (was, is, said) in [
        ("`a` 说", "说", "docs/x.md:1 and docs/x.zh-CN.md:1: the names in code marks"),
        ("3 次", "4 次", "docs/x.md:1 and docs/x.zh-CN.md:1: the numbers"),
        ("## 运行", "### 运行", "docs/x.md:5 and docs/x.zh-CN.md:5: the headings"),
        ("## 运行\n", "", "docs/x.md:1 and docs/x.zh-CN.md:1: the guides have 2 and 1 headings"),
        ("--fast", "--slow", "docs/x.md:7 and docs/x.zh-CN.md:7: a line of code is"),
        ("```sh", "```text", "docs/x.md:7 and docs/x.zh-CN.md:7: the code is"),
        ("- 一\n", "", "docs/x.md:5 and docs/x.zh-CN.md:5: these sections have 1 and 0 items"),
        ("| `x` | 1 |\n", "", "docs/x.md:13 and docs/x.zh-CN.md:13: the tables have 3 and 2 rows"),
        ("| `x` | 1 |", "| `y` | 1 |", "docs/x.md:15 and docs/x.zh-CN.md:15: the code in a cell"),
        ("| `x` | 1 |", "| `x` |", "docs/x.md:15 and docs/x.zh-CN.md:15: the rows have 2 and 1"),
        ("次。", "[次](gone.md)。", "docs/x.zh-CN.md:3: the link gone.md leads to no file"),
        (
            "次。",
            "[次](tickets.md)。",
            "the link tickets.md leads to the version in the other language",
        ),
        ("次。", "[次](tickets.zh-CN.md)。", "the links of these sections differ"),
        ("次。", "[次](tickets.zh-CN.md#no)。", "the link tickets.zh-CN.md#no leads to no heading"),
    ] {
        assert!(chinese.contains(was), "{was}");
        let found = differences(english, &chinese.replacen(was, is, 1));
        assert!(found.iter().any(|it| it.contains(said)), "{said}: {found:#?}");
    }
}
