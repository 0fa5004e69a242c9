//! Prints the settings that count, as a configuration file.

use super::row::{Setting, Shown};
use super::values::{Raw, Values};
use super::{Settings, secret};
use crate::cli::problems::Source;

const HEAD: &str = "\
# The settings of longlink that count, each with the place where it was set. Values that could give
# somebody access are left out. \"restart\" says that a reload does not change the setting.
";

/// Writes each setting on a line of TOML. A setting without a value, one whose value is secret, and the
/// default of one that belongs to another setting are comments.
pub fn config(settings: &Settings, values: &Values) -> String {
    let mut text = HEAD.to_owned();
    for (setting, shown) in settings.values() {
        text.push_str(&line(setting, &shown, values, settings.is_node()));
    }
    if std::env::var_os(secret::VARIABLE).is_some() {
        text.push_str(&format!("# {} is set, and not printed.\n", secret::VARIABLE));
    }
    text
}

fn line(setting: &Setting, shown: &Shown, values: &Values, is_node: bool) -> String {
    let name = setting.name;
    let given = values.given(name);
    let place = match given {
        None => "default".to_owned(),
        Some((_, Source::Flag)) => format!("flag --{name}"),
        Some((_, Source::Environment)) => format!("variable {}", setting.variable()),
        Some((_, Source::File(position))) => {
            format!("{}:{}", quoted(&position.file.to_string_lossy()), position.line)
        }
    };
    let place = if setting.reloads(is_node) { place } else { format!("{place}, restart") };
    let value = match shown {
        Shown::Unset => {
            let default = setting.default().unwrap_or_default();
            return format!("# {name}: {default}  # {place}\n");
        }
        Shown::Hidden(_) => return format!("# {name} is set, and not printed  # {place}\n"),
        // A file that was read has a name, which is no secret.
        Shown::File(_) => match given {
            Some((Raw::Word(path) | Raw::Text(path), _)) => quoted(path),
            _ => return format!("# {name} is set  # {place}\n"),
        },
        Shown::Text(text) => quoted(text),
        Shown::Bare(text) => text.clone(),
        Shown::List(list) => {
            let list = list.iter().map(|text| quoted(text)).collect::<Vec<_>>();
            format!("[{}]", list.join(", "))
        }
    };
    // The file that is printed is refused if it sets what has no meaning without another setting.
    let mark = if given.is_none() && setting.needed.is_some() { "# " } else { "" };
    format!("{mark}{name} = {value}  # {place}\n")
}

/// Writes a text as a basic string of TOML, on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_as_toml_reads_it() {
        for text in ["", "a b", "\"\\", "a\nb\tc\u{7f}", "张三", "C:\\new"] {
            let toml = format!("a = {}\n", quoted(text));
            assert_eq!(toml.matches('\n').count(), 1);
            let table = toml.parse::<toml::Table>().unwrap();
            assert_eq!(table["a"].as_str(), Some(text));
        }
    }
}
