// A Socket.IO server that keeps messages as well as Socket.IO can: with connection state recovery,
// and with an answer to each send. A packet that asks for an answer of its receiver cannot be
// recovered, so receivers acknowledge with an event of their own.
//
//     node server.mjs 127.0.0.1:PORT

import { createServer } from "node:http";
import { Server } from "socket.io";

const HALF_AN_HOUR = 30 * 60 * 1000;

const [host, port] = process.argv[2].split(":");
const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  serveClient: false,
  connectionStateRecovery: { maxDisconnectionDuration: HALF_AN_HOUR, skipMiddlewares: true },
});

io.on("connection", (socket) => {
  if (!socket.recovered) socket.join(socket.handshake.auth.user);
  socket.on("send", (to, message, taken) => {
    io.to(to).emit("message", message);
    taken();
  });
  socket.on("join", (room, joined) => {
    socket.join(room);
    joined();
  });
  socket.on("got", (number) => {
    socket.data.got = number;
  });
});

http.listen(Number(port), host, () => {
  console.log(`listening on ${host}:${http.address().port}`);
});
