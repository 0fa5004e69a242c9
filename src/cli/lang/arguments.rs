//! What clap says about a command line, in one line of English as the program makes it, and in Chinese.

pub const TEXTS: &[(&str, &str)] = &[
    ("unexpected argument '{}' found", "不认识的参数 '{0}'"),
    ("unexpected argument '{}' found; tip: {}", "不认识的参数 '{0}'；{1}"),
    ("unrecognized subcommand '{}'", "不认识的命令 '{0}'"),
    ("unrecognized subcommand '{}'; tip: {}", "不认识的命令 '{0}'；{1}"),
    ("a similar argument exists: '{}'", "是不是 '{0}'？"),
    ("some similar arguments exist: {}", "是不是其中之一：{0}？"),
    ("a similar subcommand exists: '{}'", "是不是 '{0}'？"),
    ("to pass '{}' as a value, use '{}'", "如果 '{0}' 是一个值，请写成 '{1}'"),
    ("a value is required for '{}' but none was supplied", "'{0}' 需要一个值"),
    (
        "a value is required for '{}' but none was supplied [possible values: {}]",
        "'{0}' 需要一个值，可以是 {1}",
    ),
    ("invalid value '{}' for '{}': {}", "'{1}' 的值 '{0}' 有错：{2}"),
    ("invalid value '{}' for '{}' [possible values: {}]", "'{1}' 的值 '{0}' 有错，可以是 {2}"),
    ("the argument '{}' cannot be used with '{}'", "参数 '{0}' 不能与 '{1}' 同时使用"),
    ("the argument '{}' cannot be used multiple times", "参数 '{0}' 不能重复"),
    ("the subcommand '{}' cannot be used with '{}'", "命令 '{0}' 不能与 '{1}' 同时使用"),
    ("the following required arguments were not provided: {}", "缺少参数 {0}"),
    (
        "unexpected value '{}' for '{}' found; no more were expected",
        "'{1}' 不需要更多的值，多出了 '{0}'",
    ),
];
