import { createEventSource } from "eventsource-client";

for await (const { event, data } of createEventSource(process.argv[2])) {
  if (!event) console.log(JSON.parse(data).text);
}
