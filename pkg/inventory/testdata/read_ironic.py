"""Does with files of `openstack baremetal create` what that command does, with its own code, up to the calls of the
API: for each path on stdin it prints them as a list of [resource, attributes] in one line of JSON, or an error."""
import json
import sys
from types import SimpleNamespace

from ironicclient import exc
from ironicclient.v1 import create_resources
from ironicclient.v1.node import NodeManager
from ironicclient.v1.port import PortManager

calls = []


def recorder(resource, manager):
    def create(**attributes):
        unknown = set(attributes) - set(manager._creation_attributes)
        if unknown:
            raise exc.InvalidAttribute(str(unknown))  # as the client does
        calls.append([resource, attributes])
        return SimpleNamespace(uuid="uuid-%d" % len(calls))

    return SimpleNamespace(create=create)


client = SimpleNamespace(node=recorder("node", NodeManager), port=recorder("port", PortManager))
for line in sys.stdin:
    calls.clear()
    try:
        create_resources.create_resources(client, [line.rstrip("\n")])
        answer = calls
    except exc.ClientException as e:
        answer = str(e)
    print(json.dumps(answer), flush=True)
