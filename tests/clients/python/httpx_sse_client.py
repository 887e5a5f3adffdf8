import json, sys, time

import httpx
from httpx_sse import connect_sse


def events(client, url):
    """Comes back with the last id after the time that the server asked for: httpx-sse leaves that to its caller."""
    last_event_id, pause = "", 1.0
    while True:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        try:
            with connect_sse(client, "GET", url, headers=headers) as source:
                for event in source.iter_sse():
                    yield event
                    last_event_id = event.id
                    pause = event.retry / 1000 if event.retry else pause
        except httpx.TransportError:
            pass
        time.sleep(pause)


with httpx.Client(timeout=httpx.Timeout(10, read=40)) as client:
    for event in events(client, sys.argv[1]):
        if event.event == "message":
            print(json.loads(event.data)["text"], flush=True)
