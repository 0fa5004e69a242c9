//! Tests of the grammars of header fields.

use super::*;

fn list(value: &str) -> Vec<&str> {
    elements(value.as_bytes()).map(|it| std::str::from_utf8(it).unwrap()).collect()
}

#[test]
fn a_list_is_split_at_commas_outside_of_quoted_text() {
    assert_eq!(list("a, b,\tc"), ["a", "b", "c"]);
    assert_eq!(list(" , ,a,, b ,"), ["a", "b"]);
    assert_eq!(list(r#"a;x="1,2", b"#), [r#"a;x="1,2""#, "b"]);
    assert_eq!(list(r#"a;x="\",", b"#), [r#"a;x="\",""#, "b"]);
    assert_eq!(list(r#"a, "b, c"#), ["a", r#""b, c"#], "quoted text that does not end");
    assert_eq!(list(r#""a\"#), [r#""a\"#]);
    assert_eq!(list(r"a\, b"), [r"a\", "b"], "a backslash escapes only in quoted text");
    assert_eq!(list(""), [""; 0]);
}

#[test]
fn a_token_is_found_behind_the_word_bearer_and_a_space_alone() {
    for (value, token) in [
        ("Bearer a.b", Some("a.b")),
        ("bearer  a ", Some("a")),
        ("Bearer", Some("")),
        ("Digest a.b", None),
        ("Bearera.b", None),
        ("Bearer\ta", None),
        ("Beare", None),
        ("", None),
    ] {
        assert_eq!(bearer_bytes(value.as_bytes()), token.map(str::as_bytes), "{value}");
    }
    assert_eq!(bearer_bytes(b"Bearer \xFF"), None);
    assert_eq!(bearer_bytes("Bearer 票".as_bytes()), Some("票".as_bytes()));
}

#[test]
fn an_escape_in_a_host_has_two_digits() {
    for (bytes, length) in
        [("a%4F.b/c", 6), ("a%ff%00", 7), ("a%4g", 1), ("a%g4", 1), ("a%4", 1), ("%", 0), ("", 0)]
    {
        assert_eq!(name_length(bytes.as_bytes()), length, "{bytes}");
    }
}

#[test]
fn a_field_of_several_lines_is_one_list_and_a_single_one_is_refused() {
    let line = |name, value: &'static str| httparse::Header { name, value: value.as_bytes() };
    let lines = [line("A", "x, y"), line("B", "1"), line("a", "z")];
    let fields = Fields::new(&lines);
    assert_eq!(fields.list("A").collect::<Vec<_>>(), [b"x", b"y", b"z"]);
    assert!(fields.lists("a", "Z") && !fields.lists("a", "1"));
    assert_eq!(fields.once("A"), Err(BadField));
    assert_eq!(fields.once("b"), Ok(Some(&b"1"[..])));
    assert_eq!(fields.once("c"), Ok(None));
}

#[test]
fn a_content_length_has_only_digits_and_appears_once() {
    let told = |values: &[&'static str]| {
        let lines: Vec<_> = values
            .iter()
            .map(|value| httparse::Header { name: "content-length", value: value.as_bytes() })
            .collect();
        Fields::new(&lines).content_length()
    };
    assert_eq!(told(&[]), Ok(None));
    assert_eq!(told(&["005"]), Ok(Some(5)));
    for bad in [&["5, 5"][..], &["+5"], &["5", "5"], &["-1"], &[""], &["5 5"], &["0x5"]] {
        assert!(told(bad).is_err(), "{bad:?}");
    }
    assert!(told(&["18446744073709551616"]).is_err(), "more than 64 bits");
    assert_eq!(number::<u16>(b"+80"), None);
    assert_eq!(number::<u16>(b"65536"), None);
    assert_eq!(number::<u16>(b"080"), Some(80));
}

#[test]
fn extensions_are_names_with_parameters_that_are_tokens() {
    for good in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate;server_max_window_bits=10 ; x",
        r#"a; b="c""#,
        r#"a; b="\c""#,
        "a; b = c",
    ] {
        assert!(is_extension(good.as_bytes()), "{good}");
    }
    for bad in ["", ";", "a;", "a b", "a;=b", "a;b=", r#"a;b="c d""#, r#"a;b="c"#, "a/b", "é"] {
        assert!(!is_extension(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn a_media_type_is_read_without_its_parameters() {
    for (value, media) in [
        ("application/json", "application/json"),
        ("Application/JSON ; charset=utf-8", "Application/JSON"),
        (r#"a/b;x="a;b, c";"#, "a/b"),
        ("a/b;x=\"a\tb\"", "a/b"),
        ("a/b; ;y=z", "a/b"),
    ] {
        assert_eq!(media_type(value.as_bytes()), Some(media), "{value}");
    }
    for bad in [
        "a/b;x=\"a\u{1}b\"",
        "a/b;x=\"a\u{7f}\"",
        "",
        "json",
        "a/",
        "/b",
        "a /b",
        "a/b c",
        "a/b;x",
        "a/b;x= y",
        "a/b, a/b",
        "a/é",
    ] {
        assert_eq!(media_type(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn protocols_have_names_and_perhaps_versions() {
    assert!(is_protocol(b"websocket") && is_protocol(b"HTTP/2.0"));
    for bad in ["", "/1", "a/", "a/b/c", "a b", "webs\u{f6}cket", "a;b"] {
        assert!(!is_protocol(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn a_bearer_token_follows_its_scheme_in_any_letter_case() {
    assert_eq!(bearer(b"Bearer abc"), Some("abc"));
    assert_eq!(bearer(b"bEARER   abc"), Some("abc"));
    assert_eq!(bearer(b"Bearer"), Some(""));
    for bad in ["Basic abc", "Bearerabc", "Bearer\tabc", "Bearer=abc", "", " ", "Bearer \u{e9}x"] {
        let taken = bearer(bad.as_bytes());
        assert!(taken.is_none() || bad.ends_with('x'), "{bad}: {taken:?}");
        assert_eq!(bearer_bytes(bad.as_bytes()), taken.map(str::as_bytes), "{bad}");
    }
    assert_eq!(bearer_bytes(b"Bearer abc"), Some(&b"abc"[..]));
    for value in [&b"Bearer \xff"[..], b"Bearer abc\xe9"] {
        assert_eq!((bearer(value), bearer_bytes(value)), (None, None));
    }
}

#[test]
fn host_and_port_are_read_or_refused() {
    let ok = |text: &'static str, host, port| {
        assert_eq!(Authority::parse(text.as_bytes()), Some(Authority { host, port }), "{text}");
    };
    ok("a.b", "a.b", None);
    ok("a_b:8080", "a_b", Some(8080));
    ok("a:", "a", None);
    ok("a:080", "a", Some(80));
    ok("[::1]:9", "[::1]", Some(9));
    ok("[::1]", "[::1]", None);
    ok("", "", None);
    ok("%61", "%61", None);
    for bad in [
        "u@a",
        "a:+80",
        "a:65536",
        "a:b",
        "a b",
        "a/b",
        "[::1",
        "[::1]x",
        "[a]",
        "::1",
        "[]",
        "a:1:2",
        "a?",
        "%6",
        "%zz",
        "é",
        "a\\b",
        "<a>",
        "[fe80::1%25eth0]",
        "[::1]:-1",
        "a#",
    ] {
        assert_eq!(Authority::parse(bad.as_bytes()), None, "{bad}");
    }
}

#[test]
fn an_address_is_the_same_however_it_is_written() {
    assert!(is_same_host("[::1]", "[0:0:0:0:0:0:0:1]"));
    assert!(is_same_host("[::ffff:10.0.0.1]", "10.0.0.1"));
    assert!(is_same_host("A.b", "a.B"));
    assert!(!is_same_host("a", "b") && !is_same_host("[::1]", "[::2]"));
    assert_eq!(address("::1"), None);
}
