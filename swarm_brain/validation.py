"""Validate the ids that clients choose, and recognise local addresses."""

from __future__ import annotations

import ipaddress
import re

# Thread ids, names of keys: safe in a path, in a file name and in a log.
ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


def is_id(text: str) -> bool:
    """Return whether a text is a valid thread id or key name."""
    return re.fullmatch(ID_PATTERN, text) is not None


def is_local(host: str | None) -> bool:
    """Return whether a host name or address always means this machine."""
    return host == "localhost" or is_loopback(host)


def is_loopback(address: str | None) -> bool:
    """Return whether an IP address is this machine's own."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
