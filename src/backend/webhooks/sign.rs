//! The signature, which proves to the backend that longlink sent a request.

use std::fmt::Write;

use ring::hmac::{self, HMAC_SHA256};

/// The length of the shortest secret in bytes.
pub const MIN_SECRET: usize = 16;

/// A secret that longlink and the backend share. It is never printed.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Reads a secret; `None` if it is shorter than [`MIN_SECRET`].
    pub fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= MIN_SECRET).then(|| Secret(hmac::Key::new(HMAC_SHA256, secret)))
    }

    /// Returns the signature of a body that is sent at `timestamp`, in seconds since 1970: `v1=`
    /// and, in hexadecimal, the HMAC-SHA256 (RFC 2104) of `TIMESTAMP.BODY`.
    pub fn sign(&self, timestamp: u64, body: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(timestamp.to_string().as_bytes());
        context.update(b".");
        context.update(body.as_bytes());
        let mut header = "v1=".to_owned();
        for byte in context.sign().as_ref() {
            let _ = write!(header, "{byte:02x}");
        }
        header
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_other_libraries() {
        // python3 -c 'import hmac; print(hmac.new(b"0123456789abcdef", b"1700000000.{}",
        //     "sha256").hexdigest())'
        let secret = Secret::new(b"0123456789abcdef").unwrap();
        assert_eq!(
            secret.sign(1_700_000_000, "{}"),
            "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
        );
    }

    #[test]
    fn a_secret_that_is_too_short_is_refused() {
        assert!(Secret::new(b"0123456789abcde").is_none());
        assert_eq!(format!("{:?}", Secret::new(&[7; 16])), "Some(Secret)");
    }
}
