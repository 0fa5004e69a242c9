//! The backend's side: HTTP/1.1 requests on a connection that is kept, and whole answers.

use longlink::shared::Fields;
use memchr::memmem;

use super::client::Answered;
use crate::cli::client::answer::MAX_FIELDS;

/// The length of the longest head of an answer in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The length of the longest body of an answer in bytes.
const MAX_BODY: usize = 16 << 20;
/// How many characters of an answer with an error status are printed.
const MAX_TOLD: usize = 200;

/// Returns a request with a JSON body, and with the fields that usual clients send.
pub fn request(method: &str, path: &str, authority: &str, key: Option<&str>, body: &str) -> String {
    let key = key.map_or(String::new(), |key| format!("Authorization: Bearer {key}\r\n"));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: longlink-bench\r\n\
         Accept: */*\r\n{key}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns the body of the answer at the start of `input`, and the length of head and body
/// together; `None` if the answer is not complete.
///
/// # Errors
/// What the server answered, if that is not 200 with a body of known length.
pub fn answer(input: &[u8]) -> Result<Option<(&[u8], usize)>, Answered> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else {
        return match input.len() > MAX_HEAD {
            true => Err("the answer's head does not end".to_owned().into()),
            false => Ok(None),
        };
    };
    let rest = &input[end + 4..];
    let refused = || {
        let told = String::from_utf8_lossy(&input[..input.len().min(MAX_TOLD)]).into_owned();
        format!("the server answered: {}", told.replace("\r\n", " "))
    };
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    if answer.parse(&input[..end + 4]).is_err() {
        return Err(refused().into());
    }
    let fields = Fields::new(answer.headers);
    let length = fields.content_length().ok().flatten().and_then(|it| usize::try_from(it).ok());
    let in_chunks = fields.lines("Transfer-Encoding").next().is_some();
    let Some(length) = length.filter(|_| !in_chunks) else {
        return Err(Answered::of(refused(), &answer));
    };
    if answer.code != Some(200) {
        return match rest.len() < length.min(MAX_TOLD) {
            true => Ok(None),
            false => Err(Answered::of(refused(), &answer)),
        };
    }
    if length > MAX_BODY {
        return Err(format!("the answer announces a body of {length} bytes").into());
    }
    Ok(rest.get(..length).map(|body| (body, end + 4 + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_one_after_another() {
        let one = "HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: 3\r\n\r\nabc";
        for cut in 0..one.len() {
            assert_eq!(answer(&one.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let two = format!("{one}{one}");
        assert_eq!(answer(two.as_bytes()), Ok(Some((&b"abc"[..], one.len()))));
    }

    #[test]
    fn the_length_of_an_answer_is_read_by_its_grammar() {
        let one = "HTTP/1.1 200 OK\r\ncontent-length:3\r\n\r\nabc";
        assert_eq!(answer(one.as_bytes()), Ok(Some((&b"abc"[..], one.len()))));
        for bad in ["+3", "3, 3", "3\r\nContent-Length: 3", "3\r\nTransfer-Encoding: chunked"] {
            let answered = format!("HTTP/1.1 200 OK\r\nContent-Length: {bad}\r\n\r\nabc");
            assert!(answer(answered.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_error_of_a_refused_request_quotes_the_answer() {
        let refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(answer(&refused.as_bytes()[..refused.len() - 1]), Ok(None));
        let told = |bytes: &[u8]| answer(bytes).unwrap_err().text;
        let why = told(refused.as_bytes());
        assert!(why.contains("HTTP/1.1 401 Unauthorized") && why.ends_with("no"), "{why}");
        assert!(told(b"SSH-2.0\r\n\r\n").contains("SSH-2.0"));
        assert!(told(&[b'x'; MAX_HEAD + 1]).contains("does not end"));
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        assert!(told(long.as_bytes()).contains("announces a body"));
        let often =
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n";
        let Answered { status, retry, .. } = answer(often.as_bytes()).unwrap_err();
        assert_eq!((status, retry.as_deref()), (Some(429), Some("60")));
    }
}
