//! A slow reader of HTTP requests that accepts exactly what RFC 9112 allows. It must accept each
//! request that the server accepts, and agree on where the request ends: if two readers disagree
//! about that, a request can be smuggled.

pub struct Request {
    pub method: String,
    pub body: Vec<u8>,
    pub is_chunked: bool,
}

/// Reads the first request of these bytes. Returns the request and the bytes behind it; `None` if the
/// request is not complete, or is no request.
pub fn request(mut bytes: &[u8]) -> Option<(Request, &[u8])> {
    // Empty lines before a request are ignored (section 2.2).
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    let (first, mut rest) = line(bytes)?;
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, _, version] = words[..] else { return None };
    let is_new = version == b"HTTP/1.1";
    if !is_token(method) || !is_new && version != b"HTTP/1.0" {
        return None;
    }
    let (mut lengths, mut codings, mut hosts) = (Vec::new(), Vec::new(), 0);
    loop {
        let (field, after) = line(rest)?;
        rest = after;
        if field.is_empty() {
            break;
        }
        let (name, value) = name_and_value(field)?;
        match &name.to_ascii_lowercase()[..] {
            b"content-length" => lengths.push(value),
            b"transfer-encoding" => codings.push(value),
            b"host" => hosts += 1,
            _ => {}
        }
    }
    // Section 3.2.
    if hosts > 1 || is_new && hosts == 0 {
        return None;
    }
    let (body, rest) = match (&lengths[..], &codings[..]) {
        ([], []) => (Vec::new(), rest),
        ([length], []) => {
            let (body, rest) = rest.split_at_checked(number(length, 10)?)?;
            (body.to_vec(), rest)
        }
        ([], [coding]) if is_new && coding.eq_ignore_ascii_case(b"chunked") => chunks(rest)?,
        _ => return None,
    };
    let method = String::from_utf8(method.to_vec()).ok()?;
    Some((Request { method, body, is_chunked: !codings.is_empty() }, rest))
}

/// Reads a chunked body (section 7.1). Returns the body and the bytes behind it.
fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (size, after) = line(rest)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = size.split_at(digits);
        let extension = extension.trim_ascii_start();
        if !extension.is_empty() && !extension.starts_with(b";") {
            return None;
        }
        let length = number(digits, 16)?;
        rest = after;
        if length == 0 {
            break;
        }
        let (chunk, after) = rest.split_at_checked(length)?;
        body.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n")?;
    }
    // Trailers.
    loop {
        let (field, after) = line(rest)?;
        rest = after;
        if field.is_empty() {
            return Some((body, rest));
        }
        name_and_value(field)?;
    }
}

/// Reads a line. Returns the line and the bytes behind its CRLF. CR, LF and NUL may not stand within it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = &bytes[..end];
    let is_sound = !line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    is_sound.then(|| (line, &bytes[end + 2..]))
}

fn name_and_value(field: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    let name = &field[..colon];
    is_token(name).then(|| (name, field[colon + 1..].trim_ascii()))
}

/// Whether bytes are a token (RFC 9110, section 5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

/// Reads a number of digits alone, without a sign.
fn number(digits: &[u8], radix: u32) -> Option<usize> {
    let is_sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    let digits = std::str::from_utf8(digits).ok()?;
    is_sound.then(|| usize::from_str_radix(digits, radix).ok())?
}
