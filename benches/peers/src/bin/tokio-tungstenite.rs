//! tokio-tungstenite: a task for each connection, on one thread.

use std::rc::Rc;

use futures_util::{SinkExt, StreamExt};
use longlink_peers::hub::{Hub, Inbox, Member};
use longlink_peers::{MAX_MESSAGE, MAX_QUEUE, READ_BUFFER, user_of};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message};

fn main() -> std::io::Result<()> {
    longlink_peers::hub::serve_each(serve)
}

async fn serve(stream: TcpStream, hub: Rc<Hub>) -> Result<(), Error> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(MAX_QUEUE / 2)
        .max_write_buffer_size(MAX_QUEUE)
        .max_message_size(Some(MAX_MESSAGE));
    let mut user = None;
    #[expect(clippy::result_large_err, reason = "the trait of tungstenite says so")]
    let door = |request: &Request, response: Response| match user_of(request.uri().path()) {
        Some(id) => {
            user = Some(id.to_owned());
            Ok(response)
        }
        None => Err(ErrorResponse::new(None)),
    };
    let mut socket = accept_hdr_async_with_config(stream, door, Some(config)).await?;
    let Some(user) = user else { return Ok(()) };
    let (member, mut inbox) = hub.join(user);
    tokio::select! {
        ended = talk(&mut socket, &member, &mut inbox) => ended,
        () = member.dropped() => Ok(()),
    }
}

/// Handles everything that has been read, and then writes all answers together: with several
/// messages in flight that is one system call for many of them.
async fn talk(
    socket: &mut WebSocketStream<TcpStream>,
    member: &Member,
    inbox: &mut Inbox,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            biased;
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => member.message(&text),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(()),
            },
            Some(frame) = inbox.next() => {
                socket.feed(Message::Text(frame)).await?;
                while let Some(frame) = inbox.try_next() {
                    socket.feed(Message::Text(frame)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
