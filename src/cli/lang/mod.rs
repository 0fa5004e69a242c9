//! The language in which the program speaks to people: English, or Chinese with `--lang zh` or where the
//! environment says so.
//!
//! Everything is written in English where it is decided. What is shown is translated at the edge, where
//! it is printed: a text is looked up by its English form, and what stands in the holes of a form is
//! looked up in turn. So no other part of the program knows of languages, and a text without a translation
//! is shown in English. Logs and JSON are always English, because people search for them and scripts read
//! them.

mod arguments;
mod doctor;
mod errors;
mod help;
mod said;

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::OnceLock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    English,
    Chinese,
}

static CHOSEN: OnceLock<Lang> = OnceLock::new();

/// The flag. It may stand anywhere on the command line, before the command, too.
const FLAG: &str = "--lang";

/// How deep texts within texts are looked up.
const MAX_DEPTH: u8 = 6;

/// Chooses the language, once and before anything is said, and returns the arguments without the flag.
///
/// # Errors
/// If the flag names no language of the program.
pub fn choose(args: impl IntoIterator<Item = OsString>) -> Result<Vec<OsString>, String> {
    let (asked, rest) = split(args);
    let named = |variable: &str| std::env::var(variable).ok();
    let lang = match asked {
        Some(found) => match found.as_str() {
            "en" => Lang::English,
            "zh" => Lang::Chinese,
            _ => return Err(format!("--lang: expected en or zh, found {found:?}")),
        },
        None => of_environment(named),
    };
    let _ = CHOSEN.set(lang);
    Ok(rest)
}

/// Takes the flag and its value out of the arguments. Behind `--` nothing is a flag.
fn split(args: impl IntoIterator<Item = OsString>) -> (Option<String>, Vec<OsString>) {
    let (mut asked, mut rest) = (None, Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            rest.push(arg);
            break;
        }
        let text = arg.to_string_lossy();
        match text.strip_prefix(FLAG) {
            Some("") => {
                let value = args.next().unwrap_or_default();
                asked = Some(value.to_string_lossy().into_owned());
            }
            Some(value) if value.starts_with('=') => asked = Some(value[1..].to_owned()),
            _ => rest.push(arg),
        }
    }
    rest.extend(args);
    (asked, rest)
}

/// The language of the environment: the first of these variables that has a value decides, as for other
/// programs.
fn of_environment(named: impl Fn(&str) -> Option<String>) -> Lang {
    let first = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(named);
    match first.into_iter().find(|value| !value.is_empty()) {
        Some(value) if value.to_ascii_lowercase().starts_with("zh") => Lang::Chinese,
        _ => Lang::English,
    }
}

/// Whether the program speaks Chinese.
pub fn is_chinese() -> bool {
    CHOSEN.get() == Some(&Lang::Chinese)
}

/// A text as it is shown: in the language that was chosen, if it has the text.
pub fn shown(text: &str) -> Cow<'_, str> {
    let chinese = if is_chinese() { chinese(text, MAX_DEPTH) } else { None };
    chinese.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// A text of the help in Chinese. The default at its end, in brackets, stays where it is.
pub fn help(text: &str) -> Option<String> {
    if let Some(chinese) = heading(text) {
        return Some(chinese.to_owned());
    }
    let at = text.rfind(" [")?;
    let chinese = heading(&text[..at])?;
    let remark = &text[at..];
    let default = remark.strip_prefix(" [default: ").and_then(|it| it.strip_suffix(']'));
    Some(match default.and_then(heading) {
        Some(default) => format!("{chinese} [default: {default}]"),
        None => format!("{chinese}{remark}"),
    })
}

/// A text that stands in the table of the help as it is, such as a heading, in Chinese.
pub fn heading(text: &str) -> Option<&'static str> {
    let found = help::TEXTS.binary_search_by(|(english, _)| (*english).cmp(text));
    found.ok().map(|at| help::TEXTS[at].1)
}

/// A text in Chinese: the form with the most characters of its own that the text has.
fn chinese(text: &str, depth: u8) -> Option<String> {
    if depth == 0 {
        return None;
    }
    let tables = [doctor::TEXTS, errors::TEXTS, said::TEXTS, arguments::TEXTS];
    let forms = tables.into_iter().flatten();
    let fitting = forms.filter_map(|(english, chinese)| {
        let pieces = pieces(english);
        let holes = holes(&pieces, text)?;
        Some((pieces.iter().map(|it| it.len()).sum::<usize>(), *chinese, holes))
    });
    let (_, form, holes) = fitting.max_by_key(|(own, ..)| *own)?;
    let mut shown = form.to_owned();
    // From the last to the first, so that what was put in is not searched for holes.
    let mut places: Vec<(usize, usize)> =
        (0..holes.len()).filter_map(|n| Some((shown.find(&format!("{{{n}}}"))?, n))).collect();
    places.sort_unstable();
    for (at, n) in places.into_iter().rev() {
        let within = chinese_or(holes[n], depth - 1);
        shown.replace_range(at..at + format!("{{{n}}}").len(), &within);
    }
    Some(shown)
}

fn chinese_or(text: &str, depth: u8) -> Cow<'_, str> {
    chinese(text, depth).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// What stands between the holes of a form.
fn pieces(form: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = form;
    // A quote within braces is JSON, not a hole.
    while let Some(at) = rest.find('{')
        && let Some(end) = rest[at..].find('}')
        && !rest[at..at + end].contains('"')
    {
        pieces.push(&rest[..at]);
        rest = &rest[at + end + 1..];
    }
    pieces.push(rest);
    pieces
}

/// What a text has in the holes between these pieces, if it has the pieces in this order.
fn holes<'a>(pieces: &[&str], text: &'a str) -> Option<Vec<&'a str>> {
    let (first, others) = pieces.split_first()?;
    let mut rest = text.strip_prefix(first)?;
    let Some((last, between)) = others.split_last() else {
        return rest.is_empty().then(Vec::new);
    };
    let mut holes = Vec::new();
    for piece in between {
        let at = rest.find(piece)?;
        // Two holes side by side: the first one takes nothing.
        holes.push(&rest[..at]);
        rest = &rest[at + piece.len()..];
    }
    holes.push(rest.strip_suffix(last)?);
    Some(holes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_taken_from_anywhere_and_nothing_else_is() {
        let split = |args: &[&str]| {
            let (asked, rest) = split(args.iter().map(OsString::from));
            let rest: Vec<String> = rest.iter().map(|it| it.to_string_lossy().into()).collect();
            (asked, rest.join(" "))
        };
        let zh = || Some("zh".to_owned());
        assert_eq!(
            split(&["longlink", "--lang", "zh", "doctor"]),
            (zh(), "longlink doctor".into())
        );
        assert_eq!(split(&["longlink", "doctor", "--lang=zh"]), (zh(), "longlink doctor".into()));
        assert_eq!(split(&["longlink", "--lang"]), (Some(String::new()), "longlink".into()));
        assert_eq!(split(&["longlink", "--language"]), (None, "longlink --language".into()));
        assert_eq!(split(&["x", "--", "--lang", "zh"]), (None, "x -- --lang zh".into()));
    }

    #[test]
    fn the_first_variable_with_a_value_decides() {
        let of = |variables: &[(&str, &str)]| {
            of_environment(|name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), Lang::English);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")]), Lang::Chinese);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]), Lang::English);
        assert_eq!(
            of(&[("LANG", "en_US"), ("LC_ALL", ""), ("LC_MESSAGES", "zh_TW")]),
            Lang::Chinese
        );
    }

    #[test]
    fn a_text_is_found_by_its_form_and_so_is_what_stands_in_its_holes() {
        for (english, said) in [
            (
                "101 in 11.0 ms, connecting included, through nginx/1.22.1",
                "用 11.0 ms 得到 101，包括建立连接，经过 nginx/1.22.1",
            ),
            (
                "incomplete, 1 certificate is sent: works on iOS, fails on Android",
                "不完整，发送了 1 张证书：在 iOS 上可以，在 Android 上失败",
            ),
            ("--lang: expected en or zh, found \"de\"", "--lang：应为 en 或 zh，实际是 \"de\""),
            ("expected on or off, found \"maybe\"", "应为 on 或 off，实际是 \"maybe\""),
            (
                "2 errors, the first: connection 7: the server is full, or has too many connections \
                 of one address or user (HTTP 503, Retry-After: 2): this is a limit of the server \
                 and not its speed; raise --max-connections, or --max-per-address of the server",
                "2 个错误，第一个是：连接 7：服务器满了，或者同一地址或用户的连接太多（HTTP 503，\
                 Retry-After：2）：这是服务器的限制，不是它的速度；请调高服务器的 \
                 --max-connections 或 --max-per-address",
            ),
            (
                "unexpected argument '--opne' found; tip: a similar argument exists: '--open'",
                "不认识的参数 '--opne'；是不是 '--open'？",
            ),
        ] {
            assert_eq!(chinese(english, MAX_DEPTH).as_deref(), Some(said));
        }
        assert_eq!(chinese("nobody has translated this", MAX_DEPTH), None);
        assert_eq!(chinese("", MAX_DEPTH), None);
    }

    #[test]
    fn a_hole_of_the_chinese_form_exists_in_the_english_one_and_all_are_used() {
        for (english, chinese) in
            [doctor::TEXTS, errors::TEXTS, said::TEXTS, arguments::TEXTS].into_iter().flatten()
        {
            let count = pieces(english).len() - 1;
            for n in 0..count {
                assert!(chinese.contains(&format!("{{{n}}}")), "{english}: {{{n}}}");
            }
            assert!(!chinese.contains(&format!("{{{count}}}")), "{english}");
        }
    }

    #[test]
    fn the_texts_of_the_help_are_sorted_so_that_they_are_found() {
        assert!(help::TEXTS.is_sorted_by(|one, other| one.0 < other.0));
        assert_eq!(help("The user's id").as_deref(), Some("用户 ID"));
        let text = "The longest request head; a longer one gets 431 [default: 16384]";
        assert_eq!(help(text).as_deref(), Some("最长的请求头；更长的得到 431 [default: 16384]"));
    }
}
