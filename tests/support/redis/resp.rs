//! Commands as bytes: how a client writes them, and how a server reads them.

/// Returns a command as bytes of RESP.
pub fn command<T: AsRef<[u8]>>(arguments: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        let argument = argument.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads commands until the first one that is not complete, and returns how many bytes they had.
pub fn commands(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, usize) {
    let (mut list, mut at) = (Vec::new(), 0);
    while let Some((one, length)) = one(&bytes[at..]) {
        list.push(one);
        at += length;
    }
    (list, at)
}

fn one(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut at) = number(bytes, b'*')?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (length, head) = number(&bytes[at..], b'$')?;
        let from = at + head;
        let argument = bytes.get(from..from + length)?;
        let end = bytes.get(from + length..from + length + 2)?;
        assert_eq!(end, b"\r\n", "an argument ends with its line");
        arguments.push(argument.to_vec());
        at = from + length + 2;
    }
    Some((arguments, at))
}

/// Reads a line such as `*3`, and returns its number and the length of the line.
fn number(bytes: &[u8], mark: u8) -> Option<(usize, usize)> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(bytes[0], mark, "{:?} begins no command", String::from_utf8_lossy(bytes));
    let text = std::str::from_utf8(&bytes[1..end]).expect("a number");
    Some((text.parse().expect("a number"), end + 2))
}
