//! Writes that the hub does by itself, with the pipes as its sink. The handler cannot be told of
//! a write while the hub works, so the writes are recorded, and the handler is told afterwards.

use std::io::{self, ErrorKind, IoSlice};

use super::{Note, Pipe, Watch, World, owner};
use crate::hub::{Sent, Sink, Wrote};

/// The pipes, and one entry for each write: the pipe, the bytes that it was offered, and the
/// result of the write.
struct Log<'a> {
    pipes: &'a mut [Pipe],
    at: &'a [Option<usize>],
    writes: Vec<(usize, Vec<u8>, io::Result<usize>)>,
}

impl Sink for Log<'_> {
    fn write(&mut self, index: usize, bytes: &[u8]) -> io::Result<usize> {
        let _test = owner::test();
        let pipe = self.at[index].expect("somebody's slot");
        let end = &mut self.pipes[pipe];
        assert!(!bytes.is_empty() && !end.shut, "something to write, while it may be");
        assert!(!end.blocked, "a blocked socket is left alone");
        let room = end.capacity.saturating_sub(end.to_client.len()).min(bytes.len());
        let result = match end.reset {
            Some(kind) => Err(kind),
            None if room == 0 => Err(ErrorKind::WouldBlock),
            None => Ok(room),
        };
        if result.is_ok() {
            end.writes += 1;
            end.to_client.extend_from_slice(&bytes[..room]);
        }
        self.writes.push((pipe, bytes.to_vec(), result.map_err(Into::into)));
        result.map_err(Into::into)
    }

    fn write_vectored(&mut self, index: usize, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let _test = owner::test();
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.write(index, &bytes)
    }
}

impl<H: Watch> World<H> {
    pub(super) fn write_by_sink(&mut self) {
        let most = self.hub.config().writes_per_turn;
        let mut budget = most;
        let mut done = 0;
        let before = self.hub.stats().deliveries;
        loop {
            let mut log = Log { pipes: &mut self.pipes, at: &self.at, writes: Vec::new() };
            let wrote = owner::server(|| self.hub.write(&mut log, &mut budget));
            let mut writes = log.writes;
            done += writes.len();
            let last = writes.pop();
            for (pipe, bytes, result) in writes {
                self.tell(pipe, &bytes, result, Wrote::Done);
            }
            if let Some((pipe, bytes, result)) = last {
                let wrote = wrote.map_or(Wrote::Done, |(conn, wrote)| {
                    assert_eq!(
                        conn, self.pipes[pipe].conn,
                        "the hub returns after the write that it tells of"
                    );
                    wrote
                });
                self.tell(pipe, &bytes, result, wrote);
            }
            if wrote.is_none() {
                break;
            }
        }
        assert_eq!(done, (most - budget) as usize, "each write is counted");
        // Messages that were queued were counted as deliveries when they were queued. The rest of
        // the deliveries are of broadcasts.
        self.walked += self.hub.stats().deliveries - before;
    }

    fn tell(&mut self, pipe: usize, bytes: &[u8], result: io::Result<usize>, wrote: Wrote) {
        let conn = self.pipes[pipe].conn;
        let written = match result {
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return self.note(Note::Failing(conn, error.kind())),
        };
        if written > 0 {
            self.note(Note::Writing(conn, &bytes[..written]));
            let shuts = wrote == Wrote::ShutdownWrite;
            self.wrote(pipe, if shuts { Sent::ShutdownWrite } else { Sent::Nothing });
        }
        let blocked = written < bytes.len();
        assert_eq!(
            blocked,
            wrote == Wrote::Blocked,
            "the hub tells of each socket that has blocked"
        );
        if blocked {
            self.partial_writes += u64::from(written > 0);
            self.has_blocked(pipe);
        }
    }
}
