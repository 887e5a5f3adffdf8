// Server-Sent Events in plain Node: GET /NAME listens to a room, POST /NAME speaks in it.
import http from "node:http";

const rooms = new Map();

const server = http.createServer((request, response) => {
    if (request.url === "/") return response.writeHead(404).end();
    let readers = rooms.get(request.url);
    if (!readers) rooms.set(request.url, (readers = new Set()));
    if (request.method === "POST") {
        const parts = [];
        request.on("data", (part) => parts.push(part));
        request.on("end", () => {
            response.writeHead(204).end();
            // Made once and shared. Without chunks around it each write is one system call with no copy.
            const event = Buffer.concat([Buffer.from("data: "), ...parts, Buffer.from("\n\n")]);
            for (const reader of readers) reader.write(event);
        });
        return;
    }
    response.removeHeader("transfer-encoding");
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": live\n\n");
    readers.add(response);
    response.on("close", () => readers.delete(response));
});

// A speaker may pause for longer than five seconds.
server.keepAliveTimeout = 0;
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
