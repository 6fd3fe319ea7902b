"""Which proxy a request takes: the environment's, never for servers of this machine or of a private network.

In: a URL and `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` (either case; lower case wins, and `HTTP_PROXY` is
not read in a CGI program, as everywhere). Out: the proxy's URL or None, or a fault that names the variable.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.request import getproxies_environment

import httpx

from forklock.models.contract import ModelFault

SCHEMES = ("http", "https", "socks5", "socks5h")
_LOCAL_SUFFIXES = (".localhost", ".local")


def proxy_for(url: httpx.URL) -> str | None:
    """The proxy for a request to `url`, None for a direct one.

    Raises:
        ModelFault: the variable that applies holds no proxy URL.
    """
    if is_near(url.host):
        return None
    known = getproxies_environment()
    if _excepted(url.host, url.port, known.get("no", "")):
        return None
    for kind in (url.scheme, "all"):
        if value := known.get(kind, "").strip():
            return _checked(value, _variable(kind))
    return None


def is_near(host: str) -> bool:
    """Whether a host is this machine, or a private address that no proxy of the internet could reach."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(_LOCAL_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_loopback or address.is_private or address.is_link_local or address.is_unspecified


def _excepted(host: str, port: int | None, listed: str) -> bool:
    """Whether `NO_PROXY` names the host: a name, a domain, `host:port`, an address or a network (10.0.0.0/8)."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        address = None
    for entry in (part.strip().lower() for part in listed.replace(" ", ",").split(",")):
        if not entry:
            continue
        network = _network(entry)
        if network is not None:
            if address is not None and address in network:
                return True
            continue
        wanted, _, wanted_port = entry.rpartition("://")[2].partition(":")
        if wanted_port and wanted_port != str(port):
            continue
        bare = wanted.removeprefix("*").removeprefix(".")
        if wanted == "*" or name == bare or (bare and name.endswith(f".{bare}")):
            return True
    return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _variable(kind: str) -> str:
    """The environment variable that a value of `getproxies_environment` came from."""
    names = [f"{kind}_proxy", f"{kind.upper()}_PROXY"]
    names += [name for name in os.environ if name.lower() == f"{kind}_proxy"]
    return next((name for name in names if os.environ.get(name)), names[1])


def _checked(value: str, variable: str) -> str:
    address = value if "://" in value else f"http://{value}"
    try:
        url = httpx.URL(address)
        usable = bool(url.host) and url.scheme in SCHEMES and (url.port is None or 0 < url.port < 65536)
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        raise ModelFault(
            f"{variable} is no proxy URL that can be used here.",
            fix=f"Write http://host:port or socks5://host:port into {variable}, unset it, or except the server "
            "with NO_PROXY.",
        )
    if url.scheme.startswith("socks5"):
        _require_socks(variable)
    return address


def _require_socks(variable: str) -> None:
    try:
        import socksio  # noqa: F401
    except ImportError:
        raise ModelFault(
            f"{variable} names a SOCKS proxy, and the package socksio is missing.",
            fix=f"pip install socksio, or unset {variable}.",
        ) from None
