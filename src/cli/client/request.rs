//! The request of the opening handshake (RFC 6455, section 4.1).

/// Appends a request with the path that `put_path` appends, and with further
/// fields. Neither they nor the path may contain line breaks.
pub fn put_request(
    authority: &str,
    put_path: impl FnOnce(&mut Vec<u8>),
    key: &str,
    fields: &[(&str, &str)],
    output: &mut Vec<u8>,
) {
    output.extend_from_slice(b"GET ");
    put_path(output);
    output.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    output.extend_from_slice(authority.as_bytes());
    output.extend_from_slice(
        b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: ",
    );
    output.extend_from_slice(key.as_bytes());
    for (name, value) in fields {
        for part in ["\r\n", name, ": ", value] {
            output.extend_from_slice(part.as_bytes());
        }
    }
    output.extend_from_slice(b"\r\n\r\n");
}
