"""Addresses that are taken, and free ones, on real sockets."""

from __future__ import annotations

import os
import socket

import pytest

from secondsite.sandbox.addresses import AddressTaken, free_loopback, require_free, split


def test_an_endpoint_without_port_means_443() -> None:
    assert split("https://[::1]:8443") == ("::1", 8443)
    assert split("https://127.0.10.1") == ("127.0.10.1", 443)


@pytest.mark.parametrize("bound_to", ["127.77.0.9", "0.0.0.0"])
def test_a_taken_address_is_refused_and_its_holder_named(bound_to: str) -> None:
    with socket.create_server((bound_to, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(AddressTaken) as caught:
            require_free("127.77.0.9", port)
    assert f"127.77.0.9:{port} cannot be listened on" in str(caught.value)
    assert f"held by process {os.getpid()}: " in str(caught.value)
    assert "python" in str(caught.value)


def test_a_free_address_is_free() -> None:
    host = free_loopback()
    require_free(host, 8443)
    with socket.create_server((host, 8443)), pytest.raises(AddressTaken):
        require_free(host, 8443)
