import { EventSource } from "eventsource";

new EventSource(process.argv[2]).onmessage = ({ data }) => console.log(JSON.parse(data).text);
