//! `longlink store inspect`: shows what is in a file, for people and for scripts.

use std::path::Path;

use longlink::keeping::store::Summary;
use serde_json::{Value, json};

use crate::cli::lang::shown;
use crate::cli::text::{Bytes, Escaped};

/// How many epochs and segments are shown to people, the latest ones.
const SHOWN: usize = 5;

/// Writes the summary for people, in their language.
pub fn text(path: &Path, summary: &Summary) -> String {
    let lines = lines(path, summary);
    lines.iter().map(|line| format!("{}\n", Escaped(&shown(line)))).collect()
}

/// The lines of the summary in English.
fn lines(path: &Path, summary: &Summary) -> Vec<String> {
    let size = |bytes| Bytes(usize::try_from(bytes).unwrap_or(usize::MAX)).to_string();
    let size = match summary.wal_bytes {
        0 => size(summary.bytes),
        wal => format!(
            "{}, and {} in the log beside it, which the next start moves into the file",
            size(summary.bytes),
            size(wal)
        ),
    };
    let indexed = summary.segments.iter().filter(|it| it.is_indexed).count();
    let history = match (indexed, summary.segments.len()) {
        (0, _) => "no index for older messages".to_owned(),
        (some, all) => format!("{some} of {all} segments have an index for older messages"),
    };
    let mut lines = vec![
        format!("file        {}", path.display()),
        format!("version     {}", summary.version),
        format!("size        {size}"),
        format!("messages    {}, with numbers up to {}", summary.messages, summary.last),
        format!("waiting     {}, for {} users", summary.waiting, summary.waiting_users),
        format!("oldest      {}", when(summary.oldest_millis)),
        format!("newest      {}", when(summary.newest_millis)),
        format!("devices     {} of {} users", summary.devices, summary.users),
        format!("groups      {} with {} members", summary.groups, summary.members),
        format!("blocks      {} users may not connect", summary.blocks),
        format!("requests    {} with an idempotency key", summary.requests),
        format!("history     {history}"),
    ];
    // The count stands only before the first one.
    let counted = |name: String, place: usize| if place == 0 { name } else { String::new() };
    for (count, it) in summary.segments.iter().rev().take(SHOWN).enumerate() {
        let name = counted(format!("segments {}", summary.segments.len()), count);
        let (oldest, newest) = (when(it.oldest_millis), when(it.newest_millis));
        lines.push(match it.messages {
            0 => format!("{name:<10}  {}: no messages", it.id),
            some => format!("{name:<10}  {}: {some} messages, {oldest} to {newest}", it.id),
        });
    }
    for (count, it) in summary.epochs.iter().rev().take(SHOWN).enumerate() {
        let name = counted(format!("epochs {}", summary.epochs.len()), count);
        lines.push(match it.last {
            None => format!("{name:<10}  {}: the latest one", it.name),
            Some(last) => format!("{name:<10}  {}: ended at {last}", it.name),
        });
    }
    lines
}

/// Returns the summary for scripts.
pub fn json(path: &Path, summary: &Summary) -> Value {
    let epochs = summary.epochs.iter().map(|it| json!({"name": it.name, "last": it.last}));
    let segments = summary.segments.iter().map(|it| {
        json!({
            "id": it.id,
            "messages": it.messages,
            "oldest": it.oldest_millis,
            "newest": it.newest_millis,
            "history": it.is_indexed,
        })
    });
    json!({
        "file": path.display().to_string(),
        "version": summary.version,
        "bytes": summary.bytes,
        "walBytes": summary.wal_bytes,
        "messages": summary.messages,
        "waiting": summary.waiting,
        "waitingUsers": summary.waiting_users,
        "seq": summary.last,
        "oldest": summary.oldest_millis,
        "newest": summary.newest_millis,
        "users": summary.users,
        "devices": summary.devices,
        "groups": summary.groups,
        "members": summary.members,
        "blocks": summary.blocks,
        "requests": summary.requests,
        "epochs": epochs.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
    })
}

/// Shows a time in milliseconds since 1970.
fn when(millis: Option<u64>) -> String {
    let Some(millis) = millis else { return "-".to_owned() };
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    match time::OffsetDateTime::from_unix_timestamp(seconds) {
        Ok(it) => format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
            it.year(),
            u8::from(it.month()),
            it.day(),
            it.hour(),
            it.minute(),
            it.second()
        ),
        Err(_) => format!("{millis} ms since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_a_date_and_one_beyond_all_dates_as_a_number() {
        assert_eq!(when(Some(1_764_000_000_999)), "2025-11-24 16:00:00 UTC");
        assert_eq!(when(Some(u64::MAX)), "18446744073709551615 ms since 1970");
        assert_eq!(when(None), "-");
    }
}
