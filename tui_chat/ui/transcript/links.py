"""Which links in a model's text may be opened, and where they really lead.

This module only reads addresses; opening one is left to the app.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tui_chat.safe_text import safe_line, safe_text

OPENABLE_SCHEMES = ("http", "https", "mailto")


@dataclass(frozen=True, slots=True)
class Link:
    """An address as written, and what the user should know before opening it."""

    url: str
    """The address for the browser, to be used only if there is no `problem`."""
    shown: str
    """The whole address, safe to show on one line."""
    host: str
    """The host in ASCII, non-ASCII letters as Punycode (RFC 3492), and the port if it names one;
    empty if unknown."""
    problem: str = ""
    """Why it must not be opened; empty if it may."""
    warning: str = ""
    """What about it may deceive; empty if nothing."""


def read_link(url: str) -> Link:
    """Read an address from any source. Never raises."""
    shown = safe_line(url)
    if url != safe_text(url) or any(c.isspace() or not c.isprintable() for c in url):
        return Link(url, shown, "", "It holds characters that do not belong into an address")
    if url.startswith("-"):
        return Link(url, shown, "", "It begins with a dash, which a browser could obey")
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").rstrip(".")
        port = parts.port
    except ValueError:
        return Link(url, shown, "", "It is not an address")
    if parts.scheme not in OPENABLE_SCHEMES:
        known = f"{parts.scheme}: links are" if parts.scheme else "An address without https:// is"
        return Link(url, shown, "", f"{known} not opened, only copied")
    if parts.scheme == "mailto":
        name = parts.path.rpartition("@")[2]
    host = _ascii_host(name)
    if not host:
        return Link(url, shown, "", "It names no host")
    warning = ""
    if host != name.lower():
        warning = "Its name is written with other letters than a to z, and may imitate another"
    elif "@" in parts.netloc:
        warning = "What stands before the @ is not where it leads"
    where = f"{host}:{port}" if port is not None else host
    return Link(url, shown, where, "", warning)


def _ascii_host(name: str) -> str:
    """Return a host name with Punycode labels; empty if it is not a host name."""
    if ":" in name:
        return f"[{name}]" if _is_ipv6(name) else ""
    try:
        labels = [
            label.lower() if label.isascii() else label.encode("idna").decode("ascii")
            for label in name.split(".")
        ]
    except UnicodeError:
        return ""
    host = ".".join(labels)
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    return host if host and all(labels) and allowed.issuperset(host) else ""


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6 and "%" not in name
    except ValueError:
        return False
