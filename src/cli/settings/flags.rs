//! The flags of the settings: how clap is told of them, and what was given of them.

use clap::{Arg, ArgAction, ArgMatches};

use super::row::{Setting, Takes};
use super::table::SETTINGS;

/// The flags given: of each setting, its values in their order.
pub type Flags = Vec<(&'static Setting, Vec<String>)>;

/// The flag of a setting, whose help ends with the default.
pub fn flag_of(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help_heading(setting.heading)
        .help(match setting.default() {
            Some(default) => format!("{} [default: {default}]", setting.help),
            None => setting.help.to_owned(),
        })
        // A negative number is for us to refuse, with its reason.
        .allow_negative_numbers(true);
    match setting.takes() {
        Takes::One => arg,
        Takes::Many => arg.action(ArgAction::Append),
        Takes::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
    }
}

/// The settings among what was given; the others are not asked for, since
/// not every command takes all.
pub fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &'static Setting| {
        let values = matches.try_get_many::<String>(setting.name).ok()??;
        Some((setting, values.cloned().collect()))
    };
    SETTINGS.iter().filter_map(given).collect()
}
