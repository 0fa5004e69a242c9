use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another secret of more than 32 bytes";
/// The time in these tests, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn with(secrets: &[&str]) -> Tickets {
    Tickets::new(secrets, |_| UNIX_EPOCH + Duration::from_secs(NOW)).unwrap()
}

/// A ticket that a backend has signed with these claims, whatever they are.
fn minted(header: &Header, claims: &Value, secret: &str) -> String {
    hmac::install();
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn hs256(claims: &Value) -> String {
    minted(&Header::new(Algorithm::HS256), claims, SECRET)
}

fn verdict(ticket: &str, device: Option<&str>) -> Result<Ticket, Refused> {
    let (ticket, _) = with(&[SECRET]).check(ticket, "alice", device, Instant::now())?;
    Ok(ticket)
}

fn of(claims: Value) -> Result<Ticket, Refused> {
    verdict(&hs256(&claims), None)
}

#[test]
fn a_ticket_that_the_server_has_signed_is_accepted() {
    let until = UNIX_EPOCH + Duration::from_secs(NOW + 60);
    let ticket = Ticket::new("alice", until).device("phone").group("g").broadcast(true);
    let tickets = with(&[SECRET]);
    let signed = tickets.sign(&ticket).unwrap();
    let now = Instant::now();
    let (read, end) = tickets.check(&signed, "alice", Some("phone"), now).unwrap();
    assert_eq!(read, ticket);
    assert_eq!(end, Some(now + Duration::from_secs(65)), "5 s after its end");
    let tickets = tickets.at_door_only(true);
    assert_eq!(tickets.check(&signed, "alice", None, now).unwrap().1, None);
}

#[test]
fn a_ticket_of_another_library_is_accepted() {
    // The ticket was made with Python's hmac, hashlib and base64 alone.
    let theirs = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJzdWIiOiAiYWxpY2UiLCAiZXhwIjogMTgwMDAwMDA2MH0.",
        "siF4Iubuw__AmZOW_YiDT8xx0dPSGTZj4asji9L_wXI",
    );
    assert!(verdict(theirs, None).is_ok());
    for claims in [
        json!({"sub": "alice", "exp": NOW + 1}),
        json!({"sub": "alice", "exp": NOW as f64 + 1.5}),
        json!({"sub": "alice", "exp": NOW + 1, "aud": "somebody else", "iat": NOW + 999, "jti": 7}),
        json!({"sub": "alice", "exp": NOW + 1, "nbf": NOW, "iss": ["what", "ever"]}),
        json!({"sub": "alice", "exp": NOW + 1, "groups": ["a", "b"], "broadcast": true}),
    ] {
        assert!(of(claims.clone()).is_ok(), "{claims}");
    }
}

#[test]
fn the_clock_of_a_ticket_may_be_wrong_by_five_seconds() {
    let exp = |exp: i64| of(json!({"sub": "alice", "exp": NOW as i64 + exp}));
    assert!(exp(-4).is_ok());
    assert_eq!(exp(-5), Err(Refused::Expired));
    assert_eq!(exp(-3_600), Err(Refused::Expired));
    let nbf = |nbf: u64| of(json!({"sub": "alice", "exp": NOW + 99, "nbf": NOW + nbf}));
    assert!(nbf(5).is_ok());
    assert_eq!(nbf(6), Err(Refused::NotYet));
}

#[test]
fn claims_that_are_missing_or_wrong_are_refused() {
    let exp = NOW + 60;
    for (claims, wrong) in [
        (json!({"sub": "alice"}), "exp"),
        (json!({"exp": exp}), "sub"),
        (json!({"sub": "alice", "exp": exp.to_string()}), "exp"),
        (json!({"sub": "alice", "exp": null}), "exp"),
        (json!({"sub": "alice", "exp": -1}), "exp"),
        (json!({"sub": "alice", "exp": 1e300}), "exp"),
        (json!({"sub": "alice", "exp": exp, "nbf": "soon"}), "nbf"),
        (json!({"sub": "", "exp": exp}), "sub"),
        (json!({"sub": 7, "exp": exp}), "sub"),
        (json!({"sub": ["alice"], "exp": exp}), "sub"),
        (json!({"sub": "a".repeat(129), "exp": exp}), "sub"),
        (json!({"sub": "alice", "exp": exp, "device": "d".repeat(65)}), "device"),
        (json!({"sub": "alice", "exp": exp, "device": 1}), "device"),
        (json!({"sub": "alice", "exp": exp, "groups": "all"}), "groups"),
        (json!({"sub": "alice", "exp": exp, "groups": [""]}), "groups"),
        (json!({"sub": "alice", "exp": exp, "groups": vec!["g"; 65]}), "groups"),
        (json!({"sub": "alice", "exp": exp, "groups": ["g".repeat(129)]}), "groups"),
        (json!({"sub": "alice", "exp": exp, "broadcast": "yes"}), "broadcast"),
        (json!(["alice", exp]), ""),
    ] {
        assert_eq!(of(claims.clone()), Err(Refused::Claim(wrong)), "{claims}");
    }
    assert_eq!(Refused::Claim("exp").text(), "bad ticket (claim exp)");
}

/// Claims as a text, because `json!` can write neither these numbers nor half a character.
fn of_text(claims: &str) -> Result<Ticket, Refused> {
    let signed = format!("{}.{}", base64_of(r#"{"alg":"HS256"}"#), base64_of(claims));
    hmac::install();
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
    verdict(&format!("{signed}.{signature}"), None)
}

/// Whether the ticket is refused because of what it says, or because it cannot be read.
fn is_bad<T>(read: Result<T, Refused>) -> bool {
    matches!(read, Err(Refused::Bad | Refused::Claim(_)))
}

#[test]
fn the_time_of_a_ticket_may_be_any_finite_json_number() {
    let exp = |exp: &str| of_text(&format!(r#"{{"sub":"alice","exp":{exp}}}"#)).map(drop);
    for good in [
        "1800000060",
        "1800000060.0",
        "1.80000006e9",
        "1.80000006E+0009",
        "18000000600e-1",
        "80317535.00e0004",
        "1799999995.5",
        "1e12",
    ] {
        assert_eq!(exp(good), Ok(()), "{good}");
    }
    // Each of these is a time, and it has passed.
    for past in ["0", "-0", "-0.0", "1e-400", "1.8e1", "1799999995", "1799999994.9"] {
        assert_eq!(exp(past), Err(Refused::Expired), "{past}");
    }
    for bad in [
        "1000000000001",
        "1e13",
        "18446744073709551616",
        "1e308",
        "1e309",
        "-1",
        "-1e-300",
        "-1800000060",
        "01800000060",
        "+1800000060",
        "1800000060.",
        ".18e10",
        "0x6b49d23c",
        "Infinity",
        "NaN",
        "true",
        "\"1800000060\"",
        "[1800000060]",
    ] {
        assert!(is_bad(exp(bad)), "{bad}");
    }
    let nbf = |nbf: &str| {
        of_text(&format!(r#"{{"sub":"alice","exp":1800000060,"nbf":{nbf}}}"#)).map(drop)
    };
    for good in ["0", "-0", "1800000005", "18000000.05e2", "1800000004.9", "1e-400", "null"] {
        assert_eq!(nbf(good), Ok(()), "{good}");
    }
    for early in ["1800000005.1", "1800000006", "1e12"] {
        assert_eq!(nbf(early), Err(Refused::NotYet), "{early}");
    }
    for bad in ["-1", "-1e-300", "1e13", "1e309", "\"0\"", "{}"] {
        assert!(is_bad(nbf(bad)), "{bad}");
    }
}

/// Half a surrogate pair is a JSON string by the grammar, and no text (RFC 8259, section 8.2).
#[test]
fn half_a_surrogate_pair_is_refused_only_in_a_claim_that_is_read() {
    let with = |more: &str| of_text(&format!(r#"{{"exp":1800000060,{more}}}"#)).map(drop);
    assert_eq!(with(r#""sub":"alice""#), Ok(()));
    for unread in [
        r#""aud":"\uDace""#,
        r#""aud":["a\uDace","b"]"#,
        r#""aud":["\udead\udead","b"],"iss":{"\ud83d":"\ude00"}"#,
        r#""iss":"\ud83d.""#,
        r#""name":"\ud83d""#,
        r#""jti":1e400"#,
        r#""aud":-1e400"#,
        r#""aud":[1e400,-1,null,"",[],{}]"#,
    ] {
        for claims in [format!(r#"{unread},"sub":"alice""#), format!(r#""sub":"alice",{unread}"#)] {
            assert_eq!(with(&claims), Ok(()), "{claims}");
        }
    }
    for spoilt in [
        r#""sub":"\uDace""#,
        r#""sub":"alice\ud83d""#,
        r#""sub":"alice","device":"\ude00""#,
        r#""sub":"alice","groups":["a","\ud83d\ud83d"]"#,
        // No claim has such a name, and no reader can compare it.
        r#""sub":"alice","\uDace":1"#,
    ] {
        assert!(is_bad(with(spoilt)), "{spoilt}");
    }
    let whole = with(r#""sub":"\u0061lice","device":"\ud83d\ude00","groups":["\ud83d\ude00"]"#);
    assert_eq!(whole, Ok(()));
}

#[test]
fn a_ticket_whose_claims_are_a_list_without_names_is_refused() {
    assert!(of(json!({"sub": "alice", "exp": NOW + 1})).is_ok());
    for claims in [
        json!(["alice", NOW + 1, null, null, []]),
        json!(["alice", NOW + 1, null, null, [], true]),
        json!("alice"),
    ] {
        assert!(is_bad(of(claims.clone())), "{claims}");
    }
}

#[test]
fn a_ticket_is_for_one_user_and_for_one_device_if_it_says_so() {
    assert_eq!(of(json!({"sub": "bob", "exp": NOW + 60})), Err(Refused::OtherUser));
    let bound = hs256(&json!({"sub": "alice", "exp": NOW + 60, "device": "phone"}));
    assert!(verdict(&bound, Some("phone")).is_ok());
    assert!(verdict(&bound, None).is_ok());
    assert_eq!(verdict(&bound, Some("pad")), Err(Refused::OtherDevice));
    assert_eq!(verdict(&bound, Some("")), Err(Refused::OtherDevice));
    let free = hs256(&json!({"sub": "alice", "exp": NOW + 60}));
    assert!(verdict(&free, Some("pad")).is_ok());
}

/// A ticket with this `header` and these `claims`, and with anything as its signature.
fn forged(header: &str, claims: &str, signature: &str) -> String {
    use base64_of as b;
    format!("{}.{}.{signature}", b(header), b(claims))
}

fn base64_of(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = text.as_bytes().chunks(3).flat_map(|chunk| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at)) as usize & 63] as char)
    });
    digits.collect()
}

#[test]
fn the_algorithm_is_never_taken_from_the_ticket() {
    let claims = format!(r#"{{"sub":"alice","exp":{}}}"#, NOW + 60);
    let good = hs256(&json!({"sub": "alice", "exp": NOW + 60}));
    let signature = good.rsplit('.').next().unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":"HS384","typ":"JWT"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":["HS256"]}"#,
        "{}",
        "",
        "x",
    ] {
        for signature in ["", "AA", signature] {
            let ticket = forged(header, &claims, signature);
            assert_eq!(verdict(&ticket, None), Err(Refused::Bad), "{header}");
        }
    }
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp2".into()]);
    let ticket = minted(&header, &json!({"sub": "alice", "exp": NOW + 60}), SECRET);
    assert_eq!(verdict(&ticket, None), Err(Refused::Bad), "an extension that must be known");
}

#[test]
fn a_foreign_or_changed_ticket_and_other_text_are_refused() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let foreign = minted(&Header::new(Algorithm::HS256), &claims, OTHER);
    assert_eq!(verdict(&foreign, None), Err(Refused::Bad));
    let good = hs256(&claims);
    assert!(verdict(&good, None).is_ok());
    for at in 0..good.len() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'Q' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert_eq!(verdict(&changed, None), Err(Refused::Bad), "at {at}");
    }
    let cut = &good[..good.len() - 1];
    for ticket in ["", ".", "..", "...", "a.b.c", "null", "张", cut, &format!("{good}."), " "] {
        assert_eq!(verdict(ticket, None), Err(Refused::Bad), "{ticket}");
    }
    let header = r#"{"alg":"HS256"}"#;
    let twice = forged(header, r#"{"sub":"alice","sub":"bob","exp":1900000000}"#, "AA");
    assert_eq!(verdict(&twice, None), Err(Refused::Bad));
}

#[test]
fn a_ticket_that_is_too_long_is_not_decoded() {
    let padded =
        |length: usize| hs256(&json!({"sub": "alice", "exp": NOW + 60, "x": "x".repeat(length)}));
    assert!(verdict(&padded(2_900), None).is_ok());
    let long = padded(3_000);
    assert!(long.len() > Tickets::MAX_TICKET);
    assert_eq!(verdict(&long, None), Err(Refused::Bad));
    let until = UNIX_EPOCH + Duration::from_secs(NOW);
    let wide =
        (0..64).fold(Ticket::new("alice", until), |ticket, n| ticket.group(&format!("{n:0>128}")));
    assert_eq!(with(&[SECRET]).sign(&wide), Err(TicketError::TooLong));
}

#[test]
fn the_longest_ticket_has_4096_bytes() {
    let tickets = with(&[SECRET]);
    let until = UNIX_EPOCH + Duration::from_secs(NOW + 60);
    let base =
        (0..23).fold(Ticket::new("alice", until), |ticket, n| ticket.group(&format!("{n:0>120}")));
    let mut longest = String::new();
    let refused = (1..=256).find_map(|more| {
        let (one, other) = ("x".repeat(more / 2 + 1), "y".repeat(more.div_ceil(2)));
        match tickets.sign(&base.clone().group(&one).group(&other)) {
            Ok(ticket) => longest = ticket,
            Err(error) => return Some(error),
        }
        None
    });
    assert_eq!((longest.len(), refused), (Tickets::MAX_TICKET, Some(TicketError::TooLong)));
    assert!(verdict(&longest, None).is_ok());
    assert!(TicketError::TooLong.to_string().contains("4096"), "{}", TicketError::TooLong);
}

#[test]
fn tickets_of_two_secrets_are_accepted_and_new_ones_are_signed_with_the_first() {
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    let header = Header::new(Algorithm::HS256);
    let (old, new) = (minted(&header, &claims, SECRET), minted(&header, &claims, OTHER));
    let both = with(&[OTHER, SECRET]);
    for ticket in [&old, &new] {
        assert!(both.check(ticket, "alice", None, Instant::now()).is_ok());
    }
    let until = UNIX_EPOCH + Duration::from_secs(NOW + 60);
    let signed = both.sign(&Ticket::new("alice", until)).unwrap();
    assert!(with(&[OTHER]).check(&signed, "alice", None, Instant::now()).is_ok());
    assert!(with(&[SECRET]).check(&signed, "alice", None, Instant::now()).is_err());
}

#[test]
fn short_secrets_and_too_many_secrets_are_refused() {
    let error =
        |secrets: &[&str]| Tickets::new(secrets, |_| SystemTime::now()).map(drop).unwrap_err();
    assert_eq!(error(&[]), TicketError::SecretCount);
    assert_eq!(error(&[SECRET, OTHER, SECRET]), TicketError::SecretCount);
    assert_eq!(error(&[&SECRET[1..]]), TicketError::ShortSecret);
    assert_eq!(error(&[SECRET, ""]), TicketError::ShortSecret);
}

#[test]
fn the_debug_output_of_tickets_shows_no_secret() {
    let shown = format!("{:?}", with(&[SECRET, OTHER]));
    assert!(
        !shown.contains("0123") && !shown.contains("another") && shown.contains('2'),
        "{shown}"
    );
}
