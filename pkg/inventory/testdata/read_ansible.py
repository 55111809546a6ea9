"""Reads inventories with Ansible's own code and resolves each host's variables, templates in them too: for each path
on stdin it prints {"hosts": {name: variables}, "groups": {name: [host]}} in one line of JSON, or what Ansible says
against it, be it a warning."""
import json
import sys

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.utils.display import Display
from ansible.vars.manager import VariableManager

BUILT_IN = {"inventory_file", "inventory_dir", "inventory_hostname", "inventory_hostname_short", "group_names", "groups"}


def plain(v):
    """Without the types of Ansible's own, which print as objects."""
    if isinstance(v, dict):
        return {str(k): plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v if v is None or isinstance(v, (bool, int)) else str(v)


warnings = []
Display.warning = lambda self, text, *args, **kwargs: warnings.append(text)

for line in sys.stdin:
    warnings.clear()
    try:
        loader = DataLoader()
        inventory = InventoryManager(loader=loader, sources=[line.rstrip("\n")])
        variables = VariableManager(loader=loader, inventory=inventory)
        hosts = {}
        for host in inventory.get_hosts():
            own = {k: v for k, v in host.get_vars().items() if k not in BUILT_IN}
            known = variables.get_vars(host=host)
            hosts[str(host.name)] = plain(Templar(loader=loader, variables=known).template(own))
        groups = {str(g): sorted(str(h.name) for h in inventory.groups[g].get_hosts()) for g in inventory.groups}
        answer = {"hosts": hosts, "groups": groups}
    except AnsibleError as e:
        answer = str(e)
    print(json.dumps("\n".join(warnings) or answer), flush=True)
