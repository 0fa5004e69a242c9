//! The beginning of a client's text says whether the text is meant to be an object.
//!
//! A message to one user is an object. So a text whose first visible character is `{` must never
//! become a text for everyone, whatever invisible characters an editor or a file has put in front
//! of it.

/// What a text is, judged by its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// The text may be an object: `{` comes first, or after JSON's white space. A byte order mark
    /// at the very beginning is removed, as a parser of JSON may do (RFC 8259, section 8.1).
    Object(&'a str),
    /// The text is never valid as an object, although `{` is its first visible character.
    Disguised,
    /// Any other text.
    Text,
}

impl<'a> Opening<'a> {
    #[inline]
    pub fn of(text: &'a str) -> Self {
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        if json.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            return Opening::Object(json);
        }
        match text.chars().find(|character| !is_invisible(*character)) {
            Some('{') => Opening::Disguised,
            _ => Opening::Text,
        }
    }
}

/// Whether a character is invisible on a screen: white space, control and format characters,
/// characters that a renderer may leave out (Unicode's Default_Ignorable_Code_Point), fillers and
/// noncharacters.
#[inline]
fn is_invisible(character: char) -> bool {
    match character {
        '!'..='~' => false,
        _ => character.is_whitespace() || character.is_control() || is_ignorable(character),
    }
}

fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' // a braille cell without dots
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        // Format characters that belong to the character after them; some are visible there.
        || matches!(character,
            '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{890}' | '\u{891}' | '\u{8e2}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}')
        // Noncharacters. U+FFFE is a byte order mark in the wrong byte order.
        || matches!(character, '\u{fdd0}'..='\u{fdef}')
        || u32::from(character) & 0xfffe == 0xfffe
}

/// Whether a key means a receiver but is not `toUserId`, such as `touserid`, `to_user_id`, `toUser`
/// and `toUserIds`. Only letters and digits are compared, in any case.
#[inline]
pub fn misspells_receiver(key: &str) -> bool {
    key.len() >= RECEIVER.len() && key != "toUserId" && begins_as_receiver(key)
}

/// The beginning of such a key.
const RECEIVER: &str = "touser";

#[inline(never)]
fn begins_as_receiver(key: &str) -> bool {
    let mut letters = key.chars().filter(|character| character.is_alphanumeric());
    RECEIVER.chars().all(|expected| {
        letters.next().is_some_and(|letter| letter.to_ascii_lowercase() == expected)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = r#"{"toUserId":"B","message":1}"#;

    #[test]
    fn a_byte_order_mark_at_the_beginning_of_a_text_is_skipped() {
        let marked = format!("\u{feff}{OBJECT}");
        assert_eq!(Opening::of(&marked), Opening::Object(OBJECT));
        let spaced = format!("\u{feff} \r\n\t{OBJECT}");
        assert_eq!(Opening::of(&spaced), Opening::Object(&spaced[3..]));
        for mark in ["\u{feff}\u{feff}", " \u{feff}", "\u{fffe}", "\u{feff}\0"] {
            let text = format!("{mark}{OBJECT}");
            assert_eq!(Opening::of(&text), Opening::Disguised, "{text:?}");
        }
    }

    #[test]
    fn every_invisible_character_in_front_of_a_brace_disguises_an_object() {
        let json_space = [' ', '\t', '\n', '\r', '\u{feff}'];
        let mut disguises = 0;
        for character in ('\0'..=char::MAX).filter(|it| !json_space.contains(it)) {
            let text = format!("{character}{{");
            let opening = Opening::of(&text);
            let is_blank = character.is_whitespace() || character.is_control();
            assert!(!is_blank || opening == Opening::Disguised, "{text:?}");
            disguises += usize::from(opening == Opening::Disguised);
        }
        // 4,096 of these characters are the tags and selectors of plane 14; they include the 66
        // noncharacters.
        assert!((4_300..4_500).contains(&disguises), "{disguises}");
        for code in
            ["\u{a0}", "\u{3000}", "\u{200b}", "\0", "\u{c}", "\u{b}\u{2028}\u{85}", "\u{7f}"]
        {
            assert_eq!(Opening::of(&format!("{code}{OBJECT}")), Opening::Disguised, "{code:?}");
            assert_eq!(Opening::of(&format!(" {code} {OBJECT}")), Opening::Disguised, "{code:?}");
        }
    }

    #[test]
    fn a_text_that_begins_with_a_visible_character_is_text() {
        for text in [
            "",
            " ",
            "\u{feff}",
            "\0",
            "hello {",
            "张三{",
            "é{",
            "😀{",
            "\u{ff5b}",
            "[{",
            "\"{",
            "/**/{",
            "\u{feff}hello",
            "\u{a0}hello {",
            "-{",
            "\u{fffd}{",
        ] {
            assert_eq!(Opening::of(text), Opening::Text, "{text:?}");
        }
    }

    #[test]
    fn the_field_of_the_receiver_is_recognised_in_any_case_and_punctuation() {
        for key in [
            "touserid",
            "toUserID",
            "TOUSERID",
            "to_user_id",
            "to-user-id",
            "toUser",
            "toUserIds",
            " toUserId",
            "toUserId\u{200b}",
            "\u{feff}toUserId",
            "to user",
        ] {
            assert!(misspells_receiver(key), "{key:?}");
        }
        for key in
            ["toUserId", "to", "formUserId", "user", "userId", "tousle", "total", "message", ""]
        {
            assert!(!misspells_receiver(key), "{key:?}");
        }
    }
}
