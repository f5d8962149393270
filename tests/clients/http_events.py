"""The form that an HTTP library of the standard kind makes of an upload: an event and a value of one device.

Usage: http_events.py URL TIME_MS
"""

import io
import json
import sys
import urllib.request
import uuid

url, time = sys.argv[1:]


def upload(action, message):
    # As the published integration samples build it: one part with the message, one that means nothing.
    boundary = uuid.uuid4().hex
    body = io.BytesIO()
    for name, content in [("Content-Disposition", "form-data"), ("enos-message", json.dumps(message))]:
        body.write(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n'.encode())
    body.write(f"--{boundary}--\r\n".encode())
    request = urllib.request.Request(
        f"{url}/connect-service/v2.1/integration?action={action}&orgId=default",
        body.getvalue(),
        {"content-type": f"multipart/form-data; boundary={boundary}"},
    )
    return json.load(urllib.request.urlopen(request))


item = {"assetId": "a-wt-07", "time": int(time)}
events = {"params": [{**item, "events": {"tempBelow10": {"temperature": 12}}}], "version": "1.1"}
points = {"params": [{**item, "measurepoints": {"wind_speed": 7.5}}], "version": "1.1", "isRealtimeIntegration": True}
print(json.dumps({
    "events": upload("postEvent", {"method": "integration.event.post", **events}),
    "points": upload("postMeasurepoint", {"method": "integration.measurepoint.post", "id": "1", **points}),
}))
