//! Writes commands in the form in which Redis reads them.

/// Writes the beginning of a command that has so many arguments, the name of the command included.
pub fn begin(out: &mut Vec<u8>, count: usize) {
    header(out, b'*', count as u64);
}

/// Writes the next argument of a command.
#[inline]
pub fn arg(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number as the next argument of a command.
pub fn number(out: &mut Vec<u8>, number: u64) {
    arg(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Writes the next argument of a command in parts, whose length is known before.
#[inline]
pub fn long_arg(out: &mut Vec<u8>, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
    header(out, b'$', len as u64);
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, len);
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn header(out: &mut Vec<u8>, kind: u8, number: u64) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_an_array_of_strings() {
        let mut out = Vec::new();
        begin(&mut out, 4);
        arg(&mut out, b"SET");
        arg(&mut out, b"a\r\n\0");
        number(&mut out, 17);
        long_arg(&mut out, 3, |out| out.extend_from_slice(b"xyz"));
        let text = b"*4\r\n$3\r\nSET\r\n$4\r\na\r\n\0\r\n$2\r\n17\r\n$3\r\nxyz\r\n";
        assert_eq!(out, text);
    }
}
