"""paho-mqtt: log in as a device, post with QoS 1 and QoS 0, print what came back.

Usage: paho_post.py HOST PORT PRODUCT_KEY DEVICE_KEY DEVICE_SECRET TIME_MS PROTOCOL(4|5) SIGNMETHOD [CA_FILE [CERT_FILE KEY_FILE]]
"""

import hashlib
import json
import ssl
import sys
import threading
import time as clock

import paho.mqtt.client as mqtt

host, port, product_key, device_key, secret, time, protocol, method = sys.argv[1:9]
ca_file, cert_file, key_file = (sys.argv[9:] + [None] * 3)[:3]
time = int(time)

client_id = "paho-" + device_key
stamp = str(int(clock.time() * 1000))
text = f"clientId{client_id}deviceKey{device_key}productKey{product_key}timestamp{stamp}{secret}"
digest = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "md5": hashlib.md5}[method.replace("hmac", "").lower()]

client = mqtt.Client(client_id=f"{client_id}|securemode=2,signmethod={method},timestamp={stamp}|", protocol=int(protocol))
client.username_pw_set(f"{device_key}&{product_key}", digest(text.encode()).hexdigest())
if ca_file:
    client.tls_set(ca_certs=ca_file, certfile=cert_file, keyfile=key_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)

connected, subscribed, answered = threading.Event(), threading.Event(), threading.Event()
answers = []
topic = f"/sys/{product_key}/{device_key}/thing/measurepoint/post"


def on_connect(client, _data, _flags, code, *_):
    if int(getattr(code, "value", code)) != 0:
        print(f"refused: {code}", file=sys.stderr)
        return
    connected.set()
    client.subscribe(topic + "_reply", 1)


def on_message(_client, _data, message):
    answers.append(json.loads(message.payload))
    if len(answers) == 2:
        answered.set()


client.on_connect = on_connect
client.on_message = on_message
client.on_subscribe = lambda *_: subscribed.set()
client.reconnect_delay_set(60, 60)
client.connect(host, int(port), 60)
client.loop_start()
if not connected.wait(8) or not subscribed.wait(20):
    raise SystemExit("no connection")


def message(number, value):
    params = {"measurepoints": {"p0": value}, "time": time + number * 1000}
    return json.dumps({"id": str(number), "version": "1.0", "method": "thing.measurepoint.post", "params": params})


sent = client.publish(topic, message(1, 10.25), 1)
sent.wait_for_publish(20)
if not sent.is_published():
    raise SystemExit("no PUBACK")
client.publish(topic, message(2, 20.5), 0)
if not answered.wait(20):
    raise SystemExit(f"replies: {answers}")
client.disconnect()
client.loop_stop()
print(json.dumps({answer["id"]: answer["code"] for answer in answers}))
