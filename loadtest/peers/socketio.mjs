// Socket.IO with the Redis adapter: a WebSocket with ?room=NAME listens to a room, POST /NAME speaks in it.
import http from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: process.env.REDIS });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = http.createServer((request, response) => {
    if (request.method !== "POST") return response.writeHead(404).end();
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
        io.to(request.url.slice(1)).emit("message", JSON.parse(Buffer.concat(parts)));
        response.writeHead(204).end();
    });
});

const io = new Server(server, {
    adapter: createAdapter(publisher, subscriber),
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    // Farther away than any measurement is long: the readers of the load do not answer.
    pingInterval: 3_600_000,
});

io.on("connection", async (socket) => {
    await socket.join(socket.handshake.query.room);
    socket.emit("live");
});

// A speaker may pause for longer than five seconds.
server.keepAliveTimeout = 0;
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
