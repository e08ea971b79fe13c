"""Which interface of the network has an address."""

from __future__ import annotations

import socket

import psutil


def interface_of(host: str) -> str:
    """Return the name of the interface by which others reach this machine under a name or address; empty: none has it,
    as where an address is another machine's, which passes on.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host.strip("[]"), None)}
    except OSError:
        return ""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] in found for one in addresses):
            return name
    return ""
