"""Loaded by Python at its start, where this folder is on PYTHONPATH: lets nothing out.

Look-ups of any name but loopback's, and connections to any port but those of GUARD_PORTS on
loopback, are written to GUARD_LOG and refused.
"""

import os
import socket

_PORTS = {int(port) for port in os.environ["GUARD_PORTS"].split(",")}
_LOOPBACK = ("127.0.0.1", "localhost", "::1", None, "")
_look_up, _connect, _connect_ex = (
    socket.getaddrinfo,
    socket.socket.connect,
    socket.socket.connect_ex,
)


def _note(what):
    with open(os.environ["GUARD_LOG"], "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{what}\n")


def _guarded_look_up(host, *rest, **more):
    name = host.decode() if isinstance(host, bytes) else host
    if name not in _LOOPBACK:
        _note(f"look-up {name}")
        raise socket.gaierror(socket.EAI_NONAME, "no look-ups here")
    return _look_up(host, *rest, **more)


def _allowed(sock, address):
    inside = sock.family == socket.AF_UNIX
    if not inside and not (address[0] in _LOOPBACK and address[1] in _PORTS):
        _note(f"connect {address}")
        raise ConnectionRefusedError(f"no way out to {address}")


def _guarded_connect(self, address):
    _allowed(self, address)
    return _connect(self, address)


def _guarded_connect_ex(self, address):
    _allowed(self, address)
    return _connect_ex(self, address)


socket.getaddrinfo = _guarded_look_up
socket.gethostbyname = lambda name: _guarded_look_up(name, None)[0][4][0]
socket.socket.connect, socket.socket.connect_ex = _guarded_connect, _guarded_connect_ex
