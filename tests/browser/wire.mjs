/** The wire between a page and a server, which can be cut: TCP, byte for byte. */

import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Wire {
  url;
  #sockets = new Set();
  #isCut = false;
  #listener;

  static async to(url) {
    const wire = new Wire();
    const { hostname, port } = new URL(url);
    wire.#listener = createServer((near) => wire.#join(near, connect(Number(port), hostname)));
    wire.#listener.listen(0, "127.0.0.1");
    await once(wire.#listener, "listening");
    wire.url = `http://127.0.0.1:${wire.#listener.address().port}`;
    return wire;
  }

  /** What is under way breaks off, and nothing gets through. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  close() {
    this.cut();
    this.#listener.close();
  }

  #join(near, far) {
    for (const [socket, other] of [[near, far], [far, near]]) {
      this.#sockets.add(socket);
      socket.pipe(other);
      // A lost end says so by closing.
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    if (this.#isCut) near.destroy();
  }
}
