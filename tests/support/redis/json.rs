//! The library `cjson` of scripts, as far as scripts need it: `encode` and `decode`.

use mlua::{Lua, Table, Value};

pub fn add(lua: &Lua) -> mlua::Result<()> {
    let table = lua.create_table()?;
    let encode = lua.create_function(|lua, value: Value| {
        let mut text = Vec::new();
        write(&value, &mut text)?;
        lua.create_string(text)
    })?;
    let decode = lua.create_function(|lua, text: mlua::LuaString| {
        let value = serde_json::from_slice(&text.as_bytes());
        read(lua, &value.map_err(mlua::Error::external)?)
    })?;
    table.raw_set("encode", encode)?;
    table.raw_set("decode", decode)?;
    table.raw_set("null", Value::NULL)?;
    lua.globals().raw_set("cjson", table)
}

fn write(value: &Value, to: &mut Vec<u8>) -> mlua::Result<()> {
    match value {
        Value::String(text) => write_text(&text.as_bytes(), to),
        Value::Integer(number) => to.extend_from_slice(number.to_string().as_bytes()),
        Value::Number(number) => to.extend_from_slice(number.to_string().as_bytes()),
        Value::Boolean(is_true) => to.extend_from_slice(is_true.to_string().as_bytes()),
        Value::Table(table) if table.raw_len() > 0 => {
            for at in 1..=table.raw_len() {
                to.push(if at == 1 { b'[' } else { b',' });
                write(&table.raw_get::<Value>(at)?, to)?;
            }
            to.push(b']');
        }
        Value::Table(table) => write_object(table, to)?,
        Value::Nil | Value::LightUserData(_) => to.extend_from_slice(b"null"),
        other => {
            let text = format!("Cannot serialise {}: type not supported", other.type_name());
            return Err(mlua::Error::runtime(text));
        }
    }
    Ok(())
}

fn write_object(table: &Table, to: &mut Vec<u8>) -> mlua::Result<()> {
    to.push(b'{');
    for (at, pair) in table.pairs::<mlua::LuaString, Value>().enumerate() {
        let (name, value) = pair?;
        if at > 0 {
            to.push(b',');
        }
        write_text(&name.as_bytes(), to);
        to.push(b':');
        write(&value, to)?;
    }
    to.push(b'}');
    Ok(())
}

/// Writes a string as cjson does, which escapes a slash, too, and checks no UTF-8.
fn write_text(text: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' | b'/' => to.extend_from_slice(&[b'\\', *byte]),
            0x08 => to.extend_from_slice(b"\\b"),
            b'\t' => to.extend_from_slice(b"\\t"),
            b'\n' => to.extend_from_slice(b"\\n"),
            0x0C => to.extend_from_slice(b"\\f"),
            b'\r' => to.extend_from_slice(b"\\r"),
            0..0x20 | 0x7F => to.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => to.push(*byte),
        }
    }
    to.push(b'"');
}

fn read(lua: &Lua, value: &serde_json::Value) -> mlua::Result<Value> {
    Ok(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(is_true) => Value::Boolean(*is_true),
        serde_json::Value::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::String(lua.create_string(text)?),
        serde_json::Value::Array(list) => {
            let table = lua.create_table()?;
            for (at, one) in list.iter().enumerate() {
                table.raw_set(at + 1, read(lua, one)?)?;
            }
            Value::Table(table)
        }
        serde_json::Value::Object(fields) => {
            let table = lua.create_table()?;
            for (name, one) in fields {
                table.raw_set(lua.create_string(name)?, read(lua, one)?)?;
            }
            Value::Table(table)
        }
    })
}
