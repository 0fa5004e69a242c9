//! Whether a file is whole.

use super::{ReadError, Reader};
use crate::journal::store::rows;
use crate::journal::store::seal::unseal;

/// The most faults that a check lists.
const MOST_FAULTS: usize = 100;

impl Reader {
    /// Lets SQLite check the file, and reads every row. Returns what is wrong, one line each; nothing
    /// if the file is whole.
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let sql = format!("PRAGMA integrity_check({MOST_FAULTS})");
        let checked = self.rows(&sql, &mut |row| {
            let said: String = row.get(0)?;
            // SQLite calls a fault of several pages one text of several lines.
            faults.extend(said.lines().filter(|line| *line != "ok").map(str::to_owned));
            Ok(true)
        });
        faults.extend(checked.err().map(|error| error.to_string()));
        if let Err(error) = self.check_rows(&mut faults) {
            faults.push(error.to_string());
        }
        faults.truncate(MOST_FAULTS);
        faults
    }

    fn check_rows(&self, faults: &mut Vec<String>) -> Result<(), ReadError> {
        // What an export reads is read here, too; then what an export does not care about.
        self.epochs(&mut |_| true)?;
        self.places()?;
        let segments = self.segments()?;
        for (place, (id, is_indexed)) in segments.iter().enumerate() {
            let next = segments.get(place + 1).map(|(next, _)| *next);
            let end = match next {
                Some(next) => self.first_of(next)?,
                None => u64::MAX,
            };
            let mut last = self.first_of(*id)?.saturating_sub(1);
            let sql = format!("SELECT seq, head, message FROM m{id} ORDER BY seq");
            self.rows(&sql, &mut |row| {
                let first: u64 = row.get(0)?;
                let text = row.get_ref(2)?.as_bytes().unwrap_or_default();
                let sealed = row.get_ref(1)?.as_blob().ok().and_then(|row| unseal(first, row));
                let send =
                    sealed.and_then(|it| Some((it, rows::decode(first, it.head, self.now)?)));
                let fault = match send {
                    None => Some("is not as it was written"),
                    Some((sealed, send)) => {
                        let highest = send.records.iter().map(|it| it.seq).max().unwrap_or(first);
                        let is_before = std::mem::replace(&mut last, highest) >= first;
                        if !sealed.is_of(text) {
                            Some("has a text that is not as it was written")
                        } else if is_before || highest >= end {
                            Some("has a number that another row has, too")
                        } else {
                            None
                        }
                    }
                };
                if let Some(fault) = fault {
                    faults.push(format!("row {first} of segment {id} {fault}"));
                }
                Ok(faults.len() < MOST_FAULTS)
            })?;
            if *is_indexed {
                let sql = format!(
                    "SELECT i.name, i.seq FROM i{id} AS i LEFT JOIN m{id} AS m ON m.seq=i.seq
                     WHERE m.seq IS NULL LIMIT {MOST_FAULTS}"
                );
                self.rows(&sql, &mut |row| {
                    let seq: u64 = row.get(1)?;
                    faults
                        .push(format!("the index of segment {id} names row {seq}, which is gone"));
                    Ok(true)
                })?;
            }
        }
        Ok(())
    }
}
