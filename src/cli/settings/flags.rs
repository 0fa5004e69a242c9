//! The flags of the settings: telling clap of them, and reading which were given.

use clap::{Arg, ArgAction, ArgMatches};

use super::row::{Setting, Takes};
use super::table;

/// The flags that were given: each setting with its values, in order.
pub type Flags = Vec<(&'static Setting, Vec<String>)>;

/// The flags of some settings, each under the heading of its group.
pub fn args_of(is_wanted: impl Fn(&Setting) -> bool) -> impl Iterator<Item = Arg> {
    let all = table::GROUPS.iter().flat_map(|group| {
        let settings = group.settings.iter();
        settings.map(|setting| (group.heading, setting))
    });
    let wanted = all.filter(move |(_, setting)| is_wanted(setting));
    wanted.map(|(heading, setting)| arg_of(setting).help_heading(heading))
}

/// The flag of a setting; its help ends with the default.
fn arg_of(setting: &'static Setting) -> Arg {
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value)
        .help(match setting.default() {
            Some(default) => format!("{} [default: {default}]", setting.help),
            None => setting.help.to_owned(),
        })
        // A negative number is accepted here and refused later, with a reason.
        .allow_negative_numbers(true);
    match setting.takes() {
        Takes::One => arg,
        Takes::Many => arg.action(ArgAction::Append),
        Takes::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("on"),
    }
}

/// Returns the settings that were given. A setting that the command does not have counts as not
/// given.
pub fn flags(matches: &ArgMatches) -> Flags {
    let given = |setting: &'static Setting| {
        let values = matches.try_get_many::<String>(setting.name).ok()??;
        Some((setting, values.cloned().collect()))
    };
    table::all().filter_map(given).collect()
}
