"""The published enos-mqtt-sdk-python, unchanged, as a device that obeys: posts an event, then answers commands.

Usage: enos_device.py URL PRODUCT_KEY DEVICE_KEY DEVICE_SECRET TIME_MS COMMANDS

Ends after COMMANDS commands, and prints what it was told and what the event came to.
"""

import json
import os
import sys
import threading
import traceback

from enos.core.MqttClient import MqttClient
from enos.message.downstream.tsl.MeasurepointGetCommand import MeasurepointGetCommand
from enos.message.downstream.tsl.MeasurepointGetReply import MeasurepointGetReply
from enos.message.downstream.tsl.MeasurepointSetCommand import MeasurepointSetCommand
from enos.message.downstream.tsl.MeasurepointSetReply import MeasurepointSetReply
from enos.message.downstream.tsl.ServiceInvocationCommand import ServiceInvocationCommand
from enos.message.downstream.tsl.ServiceInvocationReply import ServiceInvocationReply
from enos.message.upstream.tsl.EventPostRequest import EventPostRequest


def main():
    url, product_key, device_key, secret, time, commands = sys.argv[1:]
    client = MqttClient(url, product_key, device_key, secret)
    client.get_profile().set_auto_reconnect(False)
    told, done = [], threading.Event()

    def note(command, args):
        told.append([args[2] if len(args) > 2 else command.get_class(), command.get_params()])
        if len(told) >= int(commands):
            # The reply goes after this returns.
            threading.Timer(1.0, done.set).start()

    def on_set(command, args):
        note(command, args)
        return MeasurepointSetReply.builder().set_code(200).build()

    def on_get(command, args):
        note(command, args)
        values = {"Power": "on", "Temp": 23}
        points = {point: values[point] for point in command.get_params()}
        return MeasurepointGetReply.builder().add_measureponits(points).set_code(200).build()

    def on_service(command, args):
        note(command, args)
        if args[2] != "multiply":
            return ServiceInvocationReply.builder().set_message("unknown service").set_code(2220).build()
        params = command.get_params()
        return ServiceInvocationReply.builder().add_output_data("result", params["left"] * params["right"]).set_code(200).build()

    client.register_arrived_message_handler(MeasurepointSetCommand.get_class(), on_set)
    client.register_arrived_message_handler(MeasurepointGetCommand.get_class(), on_get)
    client.register_arrived_message_handler(ServiceInvocationCommand.get_class(), on_service)
    client.connect()
    if not client.is_connected():
        raise SystemExit("the SDK did not connect")
    event = EventPostRequest.builder().set_event_identifier("OverTemp").add_value("level", 2).add_value("temp", 91.5)
    response = client.publish(event.set_timestamp(int(time)).build())
    if not done.wait(90):
        raise SystemExit(f"commands did not come: {told}")
    client.close()
    print(json.dumps({"event": response.get_code(), "told": told}))
    sys.stdout.flush()


# The SDK keeps threads of its own that outlive a failure: end the process whatever they do.
try:
    main()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
