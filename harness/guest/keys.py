# SPDX-License-Identifier: GPL-2.0-only
"""Who may log in to a guest: SSH keys, made once for each cache."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness.base.store import Store
from harness.guest.archive import archive_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestKeys:
    """Who may log in to a guest, and how the guest proves itself.

    :param client: our private key, OpenSSH format, mode 0600.
    :param host_public: the guest's public key: the wire form in base64.
    :param archive: authorized_keys and the guest's private key, to go with the image.
    """

    client: Path
    host_public: str
    archive: Path


def ssh_argv(keys: GuestKeys, known_hosts: Path, port: int) -> list[str]:
    """Return the command that logs in to a guest, for people.

    :param known_hosts: a file with the guest's public key.
    :param port: of 127.0.0.1.
    """
    # Of an agent with many keys the guest would take none, and hang up before this one is tried.
    options = ["-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known_hosts}"]
    return ["ssh", "-i", str(keys.client), *options, "-p", str(port), "root@127.0.0.1"]


def guest_keys(store: Store) -> GuestKeys:
    """Return the keys of this cache, made at the first call; the user alone can read them."""
    directory = store.root / "keys"
    names = ("client", "host.pub", "keys.cpio")
    with store.lock("keys"):
        if not all((directory / name).exists() for name in names):
            directory.mkdir(mode=0o700, exist_ok=True)
            _make_keys(directory)
    return GuestKeys(
        client=directory / "client",
        host_public=(directory / "host.pub").read_text().strip(),
        archive=directory / "keys.cpio",
    )


def _make_keys(directory: Path) -> None:
    client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    authorized = client.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    archive_of(
        {
            "root/.ssh/authorized_keys": authorized + b"\n",
            "etc/dropbear/host_key": _dropbear_key(host),
        },
        directory / "keys.cpio",
    )
    public = _string(b"ssh-ed25519") + _string(host.public_key().public_bytes_raw())
    (directory / "host.pub").write_text(base64.b64encode(public).decode() + "\n")
    private = directory / "client"
    private.touch(mode=0o600)
    private.write_bytes(client.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))


def _dropbear_key(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as dropbear stores it (its ``ed25519.c``): name, then both halves."""
    both = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return _string(b"ssh-ed25519") + _string(both)


def _string(data: bytes) -> bytes:
    """Return an SSH string (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data
