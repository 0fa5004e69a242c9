//! Reads replies of Redis. A reply of another form than the one that was expected is `None`, and never a
//! panic.

use redis::Value;

/// A number, also one that was sent as text.
pub fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}

/// A text.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// A list; an empty one for anything else.
pub fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) | Value::Set(values) => values,
        _ => &[],
    }
}

/// Texts of a list.
pub fn texts(value: &Value) -> impl Iterator<Item = &str> {
    list(value).iter().filter_map(text)
}
