//! Runs the commands of the guides as they are written there, each guide on a machine of its own (`machine.sh`), in the
//! order in which a reader types them. Both languages of a guide have the same commands.

use std::fs;
use std::process::Command;

use super::languages::GUIDES;
use super::{ROOT, read};
use crate::program::{Folder, run};

/// Commands that a test cannot run: how they begin, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("tests/run", "it runs all tests, this one, too"),
    ("apt-get ", "it needs the internet and changes the packages of the machine"),
    ("apt install ", "it needs the internet and changes the packages of the machine"),
    ("git clone", "it needs the internet"),
    ("curl -LO", "it needs the internet, and a release"),
    ("ufw ", "it changes the firewall of the kernel; the machine has none of its own"),
    ("certbot ", "it needs an authority on the internet, and a name that leads to this machine"),
    ("acme.sh ", "it needs an authority on the internet, and a name that leads to this machine"),
    ("useradd ", "the machine has one user; tests/py runs the units with one of their own"),
    ("systemctl ", "no service manager runs here; tests/py runs the units under systemd"),
    ("for port in 8081 8082", "no service manager runs here; tests/nodes restarts nodes"),
    ("packaging/build", "it builds the program with Zig; packaging/tests run it"),
    ("ls target/packages", "packaging/build was not run"),
    ("sed -i 's/^#", "it edits what the .deb has installed; packaging/tests do the same"),
    ("tar -xzf longlink", "packaging/build was not run; packaging/tests unpack the file"),
    ("cd longlink-0", "packaging/build was not run; packaging/tests unpack the file"),
    ("./longlink", "packaging/build was not run; packaging/tests run the program of that file"),
    ("install -m 755 longlink", "packaging/build was not run; packaging/tests unpack the file"),
    ("install -d /usr/local", "the test shares its /usr with this machine"),
    ("install -m 644 man", "packaging/build was not run; packaging/tests unpack the file"),
    ("install -m 644 completions", "packaging/build was not run; packaging/tests unpack the file"),
    ("mkdir -p /usr/local", "the test shares its /usr with this machine"),
    ("longlink man >/usr", "the test shares its /usr with this machine"),
    ("docker ", "no Docker runs here; packaging/tests run what the image has"),
    ("DOMAIN=", "no Docker runs here; packaging/tests compare the file with its schema"),
    ("journalctl ", "no service manager runs here, so there is no journal"),
];

/// Commands that run with a change: how they begin, what is replaced by what, and why.
const CHANGED: &[(&str, &str, &str, &str)] = &[
    (
        "cargo run --release -- doctor",
        "/websocket/doctor",
        "/websocket/doctor --quick",
        "watching a silent connection takes 75 s",
    ),
    (
        "longlink ticket doctor",
        "--ticket -",
        "--ticket - --quick --ca /tmp/root.pem",
        "watching a silent connection takes 75 s, and browsers do not know the authority of this test",
    ),
    (
        "cargo run --release -- bench",
        "--in-flight 16",
        "--in-flight 16 --duration 1",
        "by default it measures for 10 s",
    ),
    ("nginx -t", "systemctl reload nginx", "nginx", "no service manager runs here"),
    ("export APPID", "…", "1", "the reader puts in an id and a secret that WeChat gave"),
    (
        "api 'http://127.0.0.1:9090/api/conversations/bob/carol/messages?before",
        "01JC…",
        "$id",
        "the reader puts in the id of a message",
    ),
];

/// What a reader has on the machine before a command: the guide, how the command begins, and commands that make it,
/// with the functions of `session.sh`.
const BEFORE: &[(&str, &str, &str)] = &[
    ("install", "curl -fsS http://127.0.0.1:8080/healthz", "serve"),
    (
        "install",
        "longlink check",
        "sed 's/^#api-listen/api-listen/' packaging/longlink.toml >/etc/longlink/longlink.toml",
    ),
    (
        "install",
        "npm install ./longlink-client",
        "node packaging/npm/build.mjs; npm pack --silent ./target/npm/longlink-client >/tmp/said/pack",
    ),
    ("client", "curl -O http://127.0.0.1:8080/longlink.js", "serve"),
    ("deploy", "cat >/etc/letsencrypt", "certificate"),
    (
        "deploy",
        "curl -fsS https",
        "serve --listen 0.0.0.0:443 --config /etc/longlink/longlink.toml",
    ),
    ("api", "api http://127.0.0.1:9090/api/send", "online alice"),
    (
        "api",
        "api http://127.0.0.1:9090/api/users/bob",
        r#"online 'bob?device=phone&v=2'; kill $user
        for text in 1 2 3 4 5 6 7; do
            api http://127.0.0.1:9090/api/send -d '{"user":"bob","message":"'$text'","from":"shop"}'
        done >/tmp/said/sent"#,
    ),
    (
        "api",
        "api 'http://127.0.0.1:9090/api/conversations/bob/carol/messages?limit",
        r#"serve --api-listen 127.0.0.1:9090 --api-key-file api.key --store /var/lib/longlink/a.db --history 30d
        said=$(api http://127.0.0.1:9090/api/send -d '{"user":"bob","message":1,"from":"carol","keep":true}')"#,
    ),
    (
        "api",
        "api 'http://127.0.0.1:9090/api/conversations/bob/carol/messages?before",
        r#"id=$(api http://127.0.0.1:9090/api/conversations/bob/carol/messages | jq -r '.messages[0].id')"#,
    ),
    ("api", "api 'http://127.0.0.1:9090/api/online?contains", "online carol"),
    (
        "api",
        "api http://127.0.0.1:9090/api/nodes",
        "redis
        serve --api-listen 127.0.0.1:9090 --api-key-file api.key --redis redis://127.0.0.1",
    ),
    (
        "api",
        "api http://127.0.0.1:9090/api/store/backup -d",
        "serve --api-listen 127.0.0.1:9090 --api-key-file api.key --store /var/lib/longlink/b.db",
    ),
    (
        "api",
        "api http://127.0.0.1:9090/api/store/backup",
        "until api http://127.0.0.1:9090/api/store/backup | grep -q done; do sleep 0.02; done",
    ),
    (
        "api",
        "api http://127.0.0.1:9090/api/ticket",
        "openssl rand -hex 32 >secret
        serve --api-listen 127.0.0.1:9090 --api-key-file api.key --secret-file secret",
    ),
    (
        "operations",
        "longlink --listen 0.0.0.0:443",
        "certificate; openssl rand -hex 32 >/etc/longlink/secret",
    ),
    (
        "operations",
        "longlink store backup",
        "openssl rand -hex 32 >/etc/longlink/api.key
        serve --store /var/lib/longlink/messages.db --api-listen 127.0.0.1:9090 --api-key-file /etc/longlink/api.key",
    ),
    ("operations", "longlink store export", "cp /backup/messages-*.db /backup/messages.db"),
    ("cluster", "redis-cli config set maxmemory", "redis"),
    ("cluster", "nginx -t", "cp /tmp/nginx.1 /etc/nginx/conf.d/longlink.conf"),
];

/// One command of a guide, which may have several lines.
struct Statement {
    place: String,
    text: String,
    /// What the guide shows of its output, and what does not differ from one time to the next.
    shows: Vec<String>,
}

/// Whether a command goes on in the next line.
fn goes_on(text: &str) -> bool {
    let last = text.trim_end();
    if let Some((_, rest)) = text.split_once("<<'END'\n") {
        return !rest.lines().any(|line| line == "END");
    }
    let is_open = text.contains("<<'END'") || text.matches('\'').count() % 2 == 1;
    let count =
        |word| text.split_whitespace().filter(|it| it.trim_end_matches(';') == word).count();
    let in_loop = count("do") > count("done");
    is_open || in_loop || last.ends_with(['\\', '|']) || last.ends_with("&&")
}

/// What an output that a guide shows has in common with each real one: the keys of JSON, the steps of a report.
fn constants(line: &str) -> Vec<String> {
    if let Some(json) = line.strip_prefix("# {") {
        let parts: Vec<&str> = json.split('"').collect();
        let keys = parts.windows(2).filter(|pair| pair[1].starts_with(':'));
        return keys.map(|pair| format!("\"{}\":", pair[0])).collect();
    }
    let step = line.strip_prefix("ok    ").and_then(|line| line.split("  ").next());
    step.map(str::to_owned).into_iter().collect()
}

/// A line of a script without the comment at its end.
fn without_comment(line: &str) -> &str {
    line.split(" # ").next().unwrap().trim_end()
}

fn path(guide: &str) -> String {
    if guide == "README" { "README.md".to_owned() } else { format!("docs/{guide}.md") }
}

/// The commands of a guide in their order.
fn statements(guide: &str) -> Vec<Statement> {
    let (path, mut found) = (path(guide), Vec::<Statement>::new());
    let text = read(&path);
    let (mut language, mut open) = (None, String::new());
    for (at, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("```") {
            assert!(open.is_empty(), "{path}:{}: a command has no end: {open}", at + 1);
            language = if language.is_none() { Some(name) } else { None };
            continue;
        }
        let line = match language {
            Some("sh") if open.is_empty() && line.starts_with('#') => Err(line),
            Some("sh") => Ok(line),
            Some("console") => line.strip_prefix("$ ").ok_or(line),
            _ => continue,
        };
        match line {
            Err(shown) => found.last_mut().unwrap().shows.extend(constants(shown)),
            Ok(line) => {
                if open.is_empty() {
                    let place = format!("{path}:{}", at + 1);
                    found.push(Statement { place, text: String::new(), shows: Vec::new() });
                }
                let line = if open.contains("<<'END'") { line } else { without_comment(line) };
                open = open + line + "\n";
                found.last_mut().unwrap().text = open.trim_end().to_owned();
                if !goes_on(&open) {
                    open.clear();
                }
            }
        }
    }
    found
}

/// Whether a command is a server, which goes on until it is ended; a trailing `&` leaves the ones before it running.
fn is_server(text: &str) -> bool {
    let starts =
        ["longlink", "target/release/longlink", "cargo run --release --", "cargo run --release"];
    let arguments = starts.iter().find_map(|start| text.strip_prefix(start));
    let is_flag = |rest: &str| rest.trim().is_empty() || rest.trim_start().starts_with("--");
    arguments.is_some_and(is_flag) && !text.contains("--help") && !text.contains('|')
}

/// The script that runs a guide's commands.
fn script(guide: &str) -> String {
    let mut script = include_str!("session.sh").to_owned();
    let text = read(path(guide));
    for language in ["toml", "nginx"] {
        let mark = format!("\n```{language}\n");
        for (at, block) in text.split(&mark).skip(1).enumerate() {
            let block = block.split("\n```").next().unwrap();
            script += &format!("cat >/tmp/{language}.{} <<'BLOCK'\n{block}\nBLOCK\n", at + 1);
        }
    }
    for (number, statement) in statements(guide).iter().enumerate() {
        let Statement { place, text, shows } = statement;
        if NOT_RUN.iter().any(|(start, _)| text.starts_with(start)) {
            continue;
        }
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        script += &format!("number={number} place={place} statement={}\n", quoted(text));
        let before = BEFORE.iter().find(|(of, start, _)| *of == guide && text.starts_with(start));
        if let Some((.., commands)) = before {
            script += &format!("{commands}\n");
        }
        let change = CHANGED.iter().find(|(start, ..)| text.starts_with(start));
        let text = change.map_or(text.clone(), |(_, old, new, _)| text.replace(old, new));
        let files = format!(">/tmp/said/{number}.out 2>/tmp/said/{number}.err </dev/null");
        let until = if is_server(&text) { "listening on" } else { "trace" };
        if is_server(&text) || text.contains(" tail ") {
            let others = if text.ends_with('&') || !is_server(&text) { "" } else { "stop\n" };
            let text = text.trim_end_matches('&');
            script += &format!(
                "{others}{{ {text}\n}} {files} &\nservers+=($!)\nuntil_it_says '{until}'\n"
            );
        } else {
            script +=
                &format!("{{ {text}\n}} {files} || fails \"It has ended with the code $?.\"\n");
        }
        let shows: Vec<String> = shows.iter().map(|text| quoted(text)).collect();
        script += &format!("shows {}\n", shows.join(" "));
    }
    script + "stop\necho all commands have run\n"
}

/// Runs the commands of a guide, and fails with the first one that does not do what the guide says.
fn run_guide(guide: &str) {
    let folder = Folder::new();
    let script = folder.file("script", &script(guide));
    let machine = folder.path("machine");
    fs::create_dir(&machine).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "bash",
    ]);
    command.arg(format!("{ROOT}/tests/cli/guide/machine.sh")).arg(machine);
    command.args([ROOT, env!("CARGO_BIN_EXE_longlink"), &script]);
    let (code, out, err) = run(&mut command);
    assert_eq!((code, out.as_str()), (0, "all commands have run\n"), "{err}");
}

macro_rules! guides {
    ($($test:ident: $guide:literal),+ $(,)?) => {
        $(
            #[test]
            fn $test() {
                run_guide($guide);
            }
        )+

        #[test]
        fn each_guide_with_commands_is_run() {
            let run = [$($guide),+];
            for guide in GUIDES {
                assert_eq!(run.contains(&guide), !statements(guide).is_empty(), "{guide}");
            }
        }
    };
}

guides! {
    the_commands_of_the_readme_work: "README",
    the_commands_of_the_guide_on_installation_work: "install",
    the_commands_of_the_guide_on_the_client_work: "client",
    the_commands_of_the_guide_on_tickets_work: "tickets",
    the_commands_of_the_guide_on_deployment_work: "deploy",
    the_commands_of_the_guide_on_backends_work: "backend",
    the_commands_of_the_guide_on_the_interface_work: "api",
    the_commands_of_the_guide_on_webhooks_work: "webhooks",
    the_commands_of_the_guide_on_operations_work: "operations",
    the_commands_of_the_guide_on_several_nodes_work: "cluster",
}

/// A command that a guide does not have any more leaves no exception behind.
#[test]
fn each_exception_is_for_a_command_of_a_guide() {
    let all: Vec<(&str, String)> = GUIDES
        .into_iter()
        .flat_map(|guide| statements(guide).into_iter().map(move |it| (guide, it.text)))
        .collect();
    assert!(all.len() > 80, "{}", all.len());
    let mut unused = Vec::new();
    for (start, why) in NOT_RUN {
        assert!(why.len() > 20, "{start}: {why}");
        if !all.iter().any(|(_, text)| text.starts_with(start)) {
            unused.push(*start);
        }
    }
    for (start, old, _, why) in CHANGED {
        assert!(why.len() > 20, "{start}: {why}");
        if !all.iter().any(|(_, text)| text.starts_with(start) && text.contains(old)) {
            unused.push(*start);
        }
    }
    for (of, start, _) in BEFORE {
        if !all.iter().any(|(guide, text)| guide == of && text.starts_with(start)) {
            unused.push(*start);
        }
    }
    assert!(unused.is_empty(), "no guide has a command that begins so: {unused:#?}");
}
