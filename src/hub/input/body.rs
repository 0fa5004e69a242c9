//! Requests whose bodies are asked for: collected behind their heads, within a bound and
//! a time, and handed over whole.

use crate::hub::table::record::Inbound;
use crate::hub::table::record::Phase;
use crate::hub::table::record::Upload;
use crate::hub::table::slots::Slot;
use crate::wire::http::body::{BodyError, Reading};
use crate::wire::http::head::{self, Request};

use super::receive::Fed;
use crate::hub::{App, ConnId, Context, Handler, Reply};

/// The interim answer to a client that asks before it sends a body (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The result of handling a request.
pub(in crate::hub) enum Outcome {
    /// The request was handled, and this many bytes after its head were used.
    Done(usize),
    /// The request waits until earlier answers are written.
    Later,
    /// The request's body has not arrived whole.
    Wanted(Reading),
}

impl Context {
    /// A handler wants the body of a request: `rest` is what has arrived behind its head.
    pub(in crate::hub) fn begin_body<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        request: &Request<'_>,
        at_most: usize,
        rest: &mut [u8],
    ) -> Outcome {
        if self.resolve(conn).is_none_or(|record| record.phase() != Phase::Head) {
            // The handler has ended the connection.
            return Outcome::Done(0);
        }
        if self.is_surplus(conn) {
            self.respond_unavailable(conn, false);
            return Outcome::Done(0);
        }
        if request.body().is_some() {
            log::error!("a handler asks for the body of a request that it has");
            self.refuse(app, conn, Some(request), 500, "internal error");
            return Outcome::Done(0);
        }
        let begun = Reading::new(request.framing, at_most).and_then(|mut body| {
            let whole = body.advance(rest);
            self.account_chunks(&mut body);
            whole.map(|whole| (body, whole))
        });
        match begun {
            Ok((body, true)) => {
                self.answer_whole(app, conn, &request.with_body(&rest[..body.length()]));
                Outcome::Done(body.used())
            }
            Ok((body, false)) => {
                if rest.is_empty() && request.expects_continue() {
                    self.queue_answer(conn.index, |bytes| bytes.extend_from_slice(CONTINUE));
                }
                Outcome::Wanted(body)
            }
            Err(error) => {
                self.refuse_body(app, conn, request, error);
                Outcome::Done(0)
            }
        }
    }

    /// Keeps what is there of a request whose body is not whole. `bytes` begin with its
    /// head.
    pub(in crate::hub) fn keep_upload(
        &mut self,
        conn: ConnId,
        bytes: &mut [u8],
        mut upload: Upload,
    ) -> Fed {
        let (length, used) = (upload.body.length(), upload.body.used());
        bytes.copy_within(upload.head + used.., upload.head + length);
        upload.body.close_gap();
        let kept = bytes.len() - (used - length);
        self.table[conn.index].inbound.get_or_insert_default().upload = Some(upload);
        Fed::Kept { length: kept, searched: 0 }
    }

    /// The time for a body begins.
    pub(in crate::hub) fn time_upload(&mut self, conn: ConnId) {
        self.wheel.disarm(conn.index.key());
        self.arm(conn.index, self.now.saturating_add(self.timeouts.message));
    }

    /// Called when more of a body may have arrived: `bytes` begin with the head of its request.
    pub(in crate::hub) fn go_on<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        bytes: &mut [u8],
        mut upload: Upload,
    ) -> Fed {
        let (head, rest) = bytes.split_at_mut(upload.head);
        let advanced = upload.body.advance(rest);
        self.account_chunks(&mut upload.body);
        match advanced {
            Ok(false) => self.keep_upload(conn, bytes, upload),
            Ok(true) => {
                let body = &rest[..upload.body.length()];
                // It was parsed before, so this cannot fail.
                let _ = head::parse(head, |request| {
                    self.answer_whole(app, conn, &request.with_body(body));
                });
                Fed::Used(upload.head + upload.body.used())
            }
            Err(error) => {
                let _ = head::parse(head, |request| {
                    self.refuse_body(app, conn, request, error);
                });
                Fed::Dropped
            }
        }
    }

    /// Takes in more of a body where it is kept, so that one that comes in small pieces
    /// is not copied at each. Returns whether there is something to do.
    pub(in crate::hub) fn extend_upload(&mut self, conn: ConnId) -> bool {
        let Some(inbound) = &mut self.table[conn.index].inbound else { return false };
        let Some(Upload { head, body }) = &mut inbound.upload else { return true };
        match body.advance(&mut inbound.stash.as_mut_slice()[*head..]) {
            Ok(false) => {
                self.work = self.work.saturating_sub(body.pop_chunks());
                inbound.stash.cut_out(*head + body.length()..*head + body.used());
                body.close_gap();
                self.recount(conn.index);
                false
            }
            Ok(true) | Err(_) => true,
        }
    }

    /// Counts each chunk as work.
    fn account_chunks(&mut self, body: &mut Reading) {
        self.work = self.work.saturating_sub(body.pop_chunks());
    }

    /// Whether a connection is in the middle of a request's body.
    pub(in crate::hub) fn is_uploading(&self, index: Slot) -> bool {
        let inbound = self.table.get(index).and_then(|conn| conn.inbound.as_ref());
        inbound.is_some_and(|inbound| inbound.upload.is_some())
    }

    /// Called when the time for a body is over.
    pub(in crate::hub) fn upload_due<H: Handler>(&mut self, app: &mut App<H>, index: Slot) {
        let Some(conn) = self.table.id_at(index) else { return };
        let inbound = self.table[index].inbound.take();
        let Some(Inbound { upload: Some(upload), stash, counted, .. }) = inbound.map(|it| *it)
        else {
            return;
        };
        self.inbound_bytes -= counted;
        let _ = head::parse(&stash.as_slice()[..upload.head], |request| {
            self.refuse(app, conn, Some(request), 408, "the body took too long");
        });
    }

    fn answer_whole<H: Handler>(&mut self, app: &mut App<H>, conn: ConnId, request: &Request<'_>) {
        match app.on_request(self, conn, request) {
            Reply::Now(response) => self.answer(conn, request, &response),
            Reply::Later => self.await_answer(conn, request),
            Reply::Read { .. } => {
                log::error!("a handler asks for the body of a request again");
                self.refuse(app, conn, Some(request), 500, "internal error");
            }
        }
    }

    fn refuse_body<H: Handler>(
        &mut self,
        app: &mut App<H>,
        conn: ConnId,
        request: &Request<'_>,
        error: BodyError,
    ) {
        let (status, why) = match error {
            BodyError::TooLong => (413, "the body is too long"),
            BodyError::Malformed(why) => (400, why),
        };
        self.refuse(app, conn, Some(request), status, why);
    }
}
