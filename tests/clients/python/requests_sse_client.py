import json, sys

from requests_sse import EventSource

with EventSource(sys.argv[1], timeout=40) as events:
    for event in events:
        if event.type == "message":
            print(json.loads(event.data)["text"], flush=True)
