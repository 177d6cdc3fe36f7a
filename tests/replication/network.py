"""A network of namespaces in two halves, whose one connection can be cut."""

import os
import subprocess


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """Hosts 1 to `hosts`, at 10.77.0.<number>; those up to `left` are in the left half, the others in the right one."""

    def __init__(self, hosts, left):
        self.mark = f"{os.getpid() % 100_000}"
        self.hosts, self.left = hosts, left

    def namespace(self, host):
        return f"weir{self.mark}n{host}"

    @staticmethod
    def address(host):
        return f"10.77.0.{host}"

    def __enter__(self):
        # The bridges have a namespace of their own, so that nothing is changed on this machine.
        self.switch = f"weir{self.mark}sw"
        ip("netns", "add", self.switch)
        for half in ("left", "right"):
            ip("-n", self.switch, "link", "add", "name", half, "type", "bridge")
            ip("-n", self.switch, "link", "set", half, "up")
        ip("-n", self.switch, "link", "add", "name", "toright", "type", "veth", "peer", "name", "toleft")
        for link, half in (("toright", "left"), ("toleft", "right")):
            ip("-n", self.switch, "link", "set", link, "master", half)
            ip("-n", self.switch, "link", "set", link, "up")
        for host in range(1, self.hosts + 1):
            self.add(host, "left" if host <= self.left else "right")
        return self

    def add(self, host, half):
        namespace = self.namespace(host)
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "add", "name", "eth0", "type", "veth", "peer", "name", f"h{host}", "netns", self.switch)
        ip("-n", self.switch, "link", "set", f"h{host}", "master", half)
        ip("-n", self.switch, "link", "set", f"h{host}", "up")
        ip("-n", namespace, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", namespace, "link", "set", "lo", "up")

    def cut(self):
        ip("-n", self.switch, "link", "set", "toright", "down")

    def heal(self):
        ip("-n", self.switch, "link", "set", "toright", "up")

    def command(self, host, *command):
        return ["ip", "netns", "exec", self.namespace(host), *command]

    def __exit__(self, *_):
        for name in [self.switch, *(self.namespace(host) for host in range(1, self.hosts + 1))]:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
