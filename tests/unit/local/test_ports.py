import socket

import pytest

from modelyard.errors import PreconditionError
from modelyard.local.ports import Port


def listen(number: int, *options: int) -> socket.socket:
    """Listen as a server does that sets these options."""
    server = socket.socket()
    for option in options:
        server.setsockopt(socket.SOL_SOCKET, option, 1)
    server.bind(("127.0.0.1", number))
    server.listen()
    return server


def test_a_held_port_is_given_to_nobody_who_asks_for_any() -> None:
    held = Port()
    others = [socket.create_server(("127.0.0.1", 0)) for _ in range(200)]
    assert held.number not in {other.getsockname()[1] for other in others}
    for other in others:
        other.close()
    held.release()


@pytest.mark.parametrize(
    "options", [[socket.SO_REUSEADDR], [socket.SO_REUSEPORT, socket.SO_REUSEADDR], [socket.SO_REUSEPORT]]
)
def test_a_server_of_ours_can_listen_on_it_again_and_again(options: list[int]) -> None:
    held = Port()
    for _ in range(3):
        with listen(held.number, *options), socket.create_connection(("127.0.0.1", held.number)):
            pass
    held.release()


def test_nobody_answers_on_a_port_that_is_only_held() -> None:
    held = Port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", held.number))
    held.release()


@pytest.mark.parametrize("options", [[], [socket.SO_REUSEADDR], [socket.SO_REUSEPORT, socket.SO_REUSEADDR]])
def test_a_port_on_which_somebody_listens_is_refused(options: list[int]) -> None:
    with listen(0, *options) as server:
        number = server.getsockname()[1]
        with pytest.raises(PreconditionError, match=f"cannot listen on 127.0.0.1:{number}: Address already in use"):
            Port(number)


def test_a_port_that_was_released_is_free() -> None:
    first = Port()
    first.release()
    second = Port(first.number)
    assert second.address == f"127.0.0.1:{first.number}"
    second.release()
