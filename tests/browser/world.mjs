/** A browser's world in which the test is the network. */

export const ANN = { id: "a", name: "Ann", kind: "guest" };

export class World extends EventTarget {
  sources = [];
  asked = [];
  answers = [];
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });

  constructor() {
    super();
    const world = this;
    this.addEventListener = this.addEventListener.bind(this);
    this.EventSource = class extends EventTarget {
      readyState = 0;
      constructor(url, { withCredentials }) {
        super();
        Object.assign(this, { url, withCredentials });
        world.sources.push(this);
      }
      close() {
        this.readyState = 2;
      }
      give(kind, data) {
        this.readyState = 1;
        const message = Object.assign(new Event(kind), { data: JSON.stringify(data) });
        if (kind === "message") this.onmessage(message);
        else this.dispatchEvent(message);
      }
      greet(cursor, resumed = false) {
        this.give("hello", { room: "lobby", user: ANN, cursor, tip: cursor, online: 1, resumed });
        this.give("live", { tip: cursor });
      }
    };
  }

  get source() {
    return this.sources.at(-1);
  }

  fetch = async (url, { body, ...asked }) => {
    this.asked.push({ url, ...asked, body: body && JSON.parse(body) });
    const [status, answer = {}, headers = {}] = this.answers.shift() ?? [];
    if (status === undefined) throw new TypeError("Failed to fetch");
    return new Response(status === 204 ? null : JSON.stringify(answer), { status, headers });
  };
}

/** All that can happen without the network has happened. */
export async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
