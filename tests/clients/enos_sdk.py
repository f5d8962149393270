"""The published enos-mqtt-sdk-python, unchanged: log in, post single and batch points, resume, and print the codes.

Usage: enos_sdk.py URL PRODUCT_KEY DEVICE_KEY DEVICE_SECRET TIME_MS
"""

import json
import os
import sys
import traceback

from enos.core.MqttClient import MqttClient
from enos.message.upstream.resume.MeasurepointResumeBatchRequest import MeasurepointResumeBatchRequest
from enos.message.upstream.resume.MeasurepointResumeRequest import MeasurepointResumeRequest
from enos.message.upstream.tsl.MeasurepointPostBatchRequest import MeasurepointPostBatchRequest
from enos.message.upstream.tsl.MeasurepointPostRequest import MeasurepointPostRequest


def post(points, time):
    return MeasurepointPostRequest.builder().add_measurepoints(points).set_timestamp(time).build()


def resume(points, time):
    return MeasurepointResumeRequest.builder().add_measure_points(points).set_timestamp(time).build()


def main():
    url, product_key, device_key, secret, time = sys.argv[1:]
    time = int(time)
    client = MqttClient(url, product_key, device_key, secret)
    client.get_profile().set_auto_reconnect(False)
    client.connect()
    if not client.is_connected():
        raise SystemExit("the SDK did not connect")

    answers = {}

    def send(name, request):
        response = client.publish(request)
        answers[name] = [response.get_code(), response.get_message()]

    send("post", post({"p0": 1.5, "p1": 2}, time))
    # The flags left out go as empty texts, and sub-requests carry empty keys: that is what the SDK does.
    batch = MeasurepointPostBatchRequest.builder()
    for i in range(1, 4):
        batch.add_request(post({"p0": 1.5 + i}, time + i * 1000))
    send("post_batch", batch.build())
    batch = MeasurepointPostBatchRequest.builder().set_allow_offline_sub_device(True)
    batch.set_skip_invalid_measurepoints(True)
    batch.add_request(post({"p0": 5.5, "nobody_knows_me": 1}, time + 4000))
    send("post_batch_skip", batch.build())
    batch = MeasurepointPostBatchRequest.builder().set_skip_invalid_measurepoints(False)
    batch.add_request(post({"p0": 99.5, "nobody_knows_me": 1}, time + 5000))
    send("post_batch_strict", batch.build())
    send("resume", resume({"p0": -1.0}, time - 60_000))
    batch = MeasurepointResumeBatchRequest.builder()
    batch.add_request(resume({"p0": -2.0}, time - 120_000)).add_request(resume({"p0": -3.0}, time - 180_000))
    send("resume_batch", batch.build())
    send("post_unknown", post({"nobody_knows_me": 1}, time + 6000))
    client.close()
    print(json.dumps(answers))
    sys.stdout.flush()


# The SDK keeps threads of its own that outlive a failure: end the process whatever they do.
try:
    main()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
