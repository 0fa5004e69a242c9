//! The command line of `longlink tail`.

use clap::{Arg, ArgAction, ArgMatches};
use longlink::Relay;

use crate::cli::client::api::{Api, with_flags};

const AFTER: &str = "\
The command asks the backend's interface: an address of --api-listen, or any address of a server
that has --api-key-file. Notices are on standard error. Times are UTC.

  18:51:02.123  #7      in        text        34 B   connection 7 has sent a message of 34 bytes
  18:51:02.123  #7      out       text        15 B   a message of 15 bytes was queued for it
  18:51:09.800  #7      parked                       a newer connection has replaced it
  18:51:09.800  #8      open      phone 10.1.2.3:5   the newer one: device phone, and its address
  18:51:09.900  #8      welcome   behind 5 of 8, resumed
  18:51:09.901  #8      live      has everything up to 8
  18:51:10.950  #8      ack       up to 8

The last three are of the dialect v2: the replay begins behind message 5, it is over, and the device
has handled all messages. Beside them there are gap, answer (to a send, with its state), refused,
hidden, shown, kick and bye.

The content of a message is never shown.

Exit codes: 0 the output was closed; 1 the server could not be asked; 2 wrong arguments.

Examples:
  longlink tail alice
  longlink tail alice --url https://chat.example.com --key-file /etc/longlink/api.key --json";

/// The user to watch, and where the interface is.
#[derive(Debug)]
pub struct Options {
    pub user: String,
    pub api: Api,
    pub json: bool,
}

/// Returns the subcommand, for the table of the command line.
pub fn command() -> clap::Command {
    let command = clap::Command::new("tail")
        .about("Show what one user's connections do, as it happens")
        .after_help(AFTER)
        .arg(Arg::new("user").value_name("USER").required(true).help("The user's id"))
        .arg(
            Arg::new("json")
                .long("json")
                .help_heading("The report")
                .action(ArgAction::SetTrue)
                .help("Print each event as the server sends it, with its time in milliseconds"),
        );
    with_flags(command)
}

impl Options {
    /// Reads the arguments that clap has found.
    ///
    /// # Errors
    /// One line that says which argument is wrong and why.
    pub fn read(matches: &ArgMatches) -> Result<Self, String> {
        let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
        let user = text("user").unwrap_or_default();
        if !Relay::is_user_id(user) {
            return Err(format!("expected a user id, found {user:?}"));
        }
        let api = Api::read(matches)?;
        Ok(Options { user: user.to_owned(), api, json: matches.get_flag("json") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let matches = command().try_get_matches_from([&["tail"], words].concat());
        Options::read(&matches.map_err(|error| error.to_string())?)
    }

    #[test]
    fn the_options_of_tail_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn tail_connects_to_this_machine_by_default() {
        let options = read(&["张三"]).unwrap();
        assert_eq!((options.user.as_str(), options.api.url.port), ("张三", 9090));
        assert!(!options.json && options.api.key.is_none());
    }

    #[test]
    fn the_complaint_about_a_wrong_argument_of_tail_names_it() {
        for (args, word) in [
            (&[][..], "USER"),
            (&["a/b"], "user id"),
            (&["a", "--url", "127.0.0.1:9090"], "http://"),
            (&["a", "--url", "ws://127.0.0.1:9090"], "http://"),
            (&["a", "--url", "http://127.0.0.1:9090?key=s3cr3t"], "query"),
            (&["a", "--key-file", "/nowhere/s3cr3t"], "--key-file: cannot read"),
        ] {
            let why = read(args).unwrap_err();
            assert!(why.contains(word) && !why.contains("s3cr3t"), "{args:?}: {why}");
        }
    }
}
