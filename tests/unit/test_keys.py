# SPDX-License-Identifier: GPL-2.0-only
"""Guests' keys: private, made once, and what both ends of a connection ask for."""

from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path

from archives import unpacked
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from harness.base.store import Store
from harness.guest import keys as guest
from harness.guest.keys import guest_keys, ssh_argv


def test_guest_keys_client_key_is_private(store: Store) -> None:
    keys = guest_keys(store)
    assert stat.S_IMODE(keys.client.stat().st_mode) == 0o600
    assert stat.S_IMODE(keys.client.parent.stat().st_mode) == 0o700


def test_guest_keys_are_made_once(store: Store) -> None:
    first = guest_keys(store)
    before = first.client.read_bytes()
    assert guest_keys(store) == first
    assert first.client.read_bytes() == before


def test_guest_keys_client_may_log_in(tmp_path: Path, store: Store) -> None:
    keys = guest_keys(store)
    private = load_ssh_private_key(keys.client.read_bytes(), password=None)
    assert isinstance(private, Ed25519PrivateKey)
    authorized = (
        unpacked(keys.archive, tmp_path / "out") / "root/.ssh/authorized_keys"
    ).read_text()
    kind, blob = authorized.split()
    assert kind == "ssh-ed25519"
    assert base64.b64decode(blob)[-32:] == private.public_key().public_bytes_raw()


def test_guest_keys_guest_proves_itself(tmp_path: Path, store: Store) -> None:
    keys = guest_keys(store)
    key = (unpacked(keys.archive, tmp_path / "out") / "etc/dropbear/host_key").read_bytes()
    public = Ed25519PrivateKey.from_private_bytes(key[19:51]).public_key().public_bytes_raw()
    assert base64.b64decode(keys.host_public)[-32:] == public


def test_guest_keys_half_made_are_made_anew(store: Store) -> None:
    keys = guest_keys(store)
    keys.archive.unlink()
    assert guest_keys(store).archive.exists()
    assert stat.S_IMODE(keys.client.stat().st_mode) == 0o600


def test_dropbear_key_form() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key().public_bytes_raw()
    assert guest._dropbear_key(key) == (
        b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x40" + bytes(range(32)) + public
    )


def test_ssh_offers_the_key_of_the_guest_and_no_other(store: Store, tmp_path: Path) -> None:
    keys = guest_keys(store)
    ssh, *words = ssh_argv(keys, tmp_path / "known_hosts", 2222)
    # What ssh itself makes of the options.
    done = subprocess.run([ssh, "-G", "-F", "none", *words], check=True, capture_output=True)
    said = dict(line.split(" ", 1) for line in done.stdout.decode().splitlines() if " " in line)
    assert said["identitiesonly"] == "yes"
    assert said["identityfile"] == str(keys.client)
    assert said["userknownhostsfile"] == str(tmp_path / "known_hosts")
    assert (said["user"], said["hostname"], said["port"]) == ("root", "127.0.0.1", "2222")
