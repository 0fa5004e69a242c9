//! What a command answers, and the texts of Redis' errors.

use redis::Value;

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nil,
    Int(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
    Status(String),
    /// An error with its code, such as `ERR syntax error`.
    Error(String),
}

/// What the function of a command returns: an error ends it early.
pub type Outcome = Result<Reply, Reply>;

impl Reply {
    pub fn ok() -> Self {
        Reply::Status("OK".to_owned())
    }

    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    pub fn bulks<T: AsRef<[u8]>>(list: impl IntoIterator<Item = T>) -> Self {
        Reply::Array(list.into_iter().map(Reply::bulk).collect())
    }

    pub fn optional<T: AsRef<[u8]>>(bytes: Option<T>) -> Self {
        bytes.map_or(Reply::Nil, Reply::bulk)
    }

    pub fn int(number: usize) -> Self {
        Reply::Int(i64::try_from(number).expect("a small number"))
    }

    pub fn error(text: impl Into<String>) -> Self {
        Reply::Error(text.into())
    }

    /// Returns the value that the crate `redis` makes of this reply.
    pub fn into_value(self) -> Value {
        match self {
            Reply::Nil => Value::Nil,
            Reply::Int(number) => Value::Int(number),
            Reply::Bulk(bytes) => Value::BulkString(bytes),
            Reply::Array(list) => Value::Array(list.into_iter().map(Reply::into_value).collect()),
            Reply::Status(text) if text == "OK" => Value::Okay,
            Reply::Status(text) => Value::SimpleString(text),
            // Only the crate can make this value.
            Reply::Error(text) => redis::parse_redis_value(format!("-{text}\r\n").as_bytes())
                .unwrap_or_else(|error| panic!("{text}: {error}")),
        }
    }
}

pub fn wrong_type() -> Reply {
    Reply::error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

pub fn not_an_integer() -> Reply {
    Reply::error("ERR value is not an integer or out of range")
}

pub fn not_a_float() -> Reply {
    Reply::error("ERR value is not a valid float")
}

pub fn syntax() -> Reply {
    Reply::error("ERR syntax error")
}

pub fn wrong_arity(name: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{name}' command"))
}
