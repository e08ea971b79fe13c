from __future__ import annotations

import psutil

from modelyard_worker.trainer.interface import interface_of


def test_the_interface_that_has_an_address_is_found() -> None:
    (loopback,) = [
        name for name, all_ in psutil.net_if_addrs().items() if any(one.address == "127.0.0.1" for one in all_)
    ]
    assert interface_of("127.0.0.1") == loopback
    assert interface_of("localhost") == loopback


def test_there_is_none_for_addresses_of_others() -> None:
    assert not interface_of("192.0.2.1")  # RFC 5737: nobody's
    assert not interface_of("")
