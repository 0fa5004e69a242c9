//! fastwebsockets behind hyper's upgrade: a task for each connection, on one thread. Frames that
//! are written together are buffered, because otherwise fastwebsockets makes a system call for each
//! frame.

use std::convert::Infallible;
use std::rc::Rc;

use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use longlink_peers::hub::Hub;
use longlink_peers::{MAX_MESSAGE, user_of};
use tokio::io::BufWriter;

/// How many bytes of frames go out in one write.
const WRITE_BUFFER: usize = 4096;

fn main() -> std::io::Result<()> {
    longlink_peers::hub::serve_each(|stream, hub| async move {
        let service = service_fn(move |request| answer(request, hub.clone()));
        let io = TokioIo::new(stream);
        http1::Builder::new().serve_connection(io, service).with_upgrades().await
    })
}

async fn answer(
    mut request: Request<Incoming>,
    hub: Rc<Hub>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let user = user_of(request.uri().path()).map(str::to_owned);
    let (Some(user), Ok((response, upgraded))) = (user, upgrade(&mut request)) else {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    tokio::task::spawn_local(serve(upgraded, user, hub));
    Ok(response)
}

async fn serve(upgraded: UpgradeFut, user: String, hub: Rc<Hub>) -> Result<(), WebSocketError> {
    let mut socket = upgraded.await?;
    socket.set_max_message_size(MAX_MESSAGE);
    let (reader, mut writer) = socket.split(|stream| {
        let (read, write) = tokio::io::split(stream);
        (read, BufWriter::with_capacity(WRITE_BUFFER, write))
    });
    let (member, mut inbox) = hub.join(user);
    let read = async {
        let mut reader = FragmentCollectorRead::new(reader);
        loop {
            // The closure gets frames that fastwebsockets wants to send by itself and drops them:
            // the answer to a close, which is sent below, and the answer to a ping, which no client
            // here sends.
            let frame = reader.read_frame(&mut |_| async { Ok::<_, Infallible>(()) }).await?;
            match frame.opcode {
                OpCode::Text => match std::str::from_utf8(&frame.payload) {
                    Ok(text) => member.message(text),
                    Err(_) => return Err(WebSocketError::InvalidUTF8),
                },
                OpCode::Close => return Ok(Some(frame.payload.to_vec())),
                _ => {}
            }
        }
    };
    let write = async {
        while let Some(frame) = inbox.next().await {
            writer.write_frame(Frame::text(Payload::Borrowed(frame.as_bytes()))).await?;
            while let Some(frame) = inbox.try_next() {
                writer.write_frame(Frame::text(Payload::Borrowed(frame.as_bytes()))).await?;
            }
            writer.flush().await?;
        }
        Ok(None)
    };
    let closed = tokio::select! {
        biased;
        closed = read => closed,
        closed = write => closed,
        () = member.dropped() => Ok(None),
    }?;
    if let Some(code) = closed {
        writer.write_frame(Frame::close_raw(code.into())).await?;
        writer.flush().await?;
    }
    Ok(())
}
