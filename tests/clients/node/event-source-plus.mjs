import { EventSourcePlus } from "event-source-plus";

new EventSourcePlus(process.argv[2]).listen({
  onMessage({ event, data }) {
    if (!event || event === "message") console.log(JSON.parse(data).text);
  },
});
