# SPDX-License-Identifier: GPL-2.0-only
"""Who may talk to whom: TLS for everything but this machine itself, and the keys for it."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from distributed.security import Security

from harness.base.errors import InputError, SpecError

AUTHORITY = "ca.pem"
CERTIFICATE = "cert.pem"
KEY = "key.pem"

_DAYS = 365
_NAME = "harness cluster"


def checked_address(text: str) -> str:
    """Return an address of a scheduler as Dask has it.

    :raises SpecError: when it is none, or one in the open that is not this machine's own.
    """
    scheme, there, place = text.rpartition("://")
    host, colon, port = place.rpartition(":")
    odd = host in ("", "local") or not colon or not port.isdecimal()
    if odd or (there and scheme not in ("tcp", "tls")):
        raise SpecError(
            f"{text!r} is no address of a scheduler",
            hint="such as tls://build1:8786, tcp://127.0.0.1:8786 or local:2",
        )
    if is_loopback(host):
        return f"{scheme or 'tcp'}://{place}"
    if scheme == "tcp":
        raise SpecError(
            f"{text} is in the open: whoever reaches it runs what he likes there",
            hint="start the scheduler with TLS, and name it tls://...; "
            "'harness cluster keys DIR' makes the keys",
        )
    return f"tls://{place}"


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine for itself alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def security_of(address: str, keys: Path | None) -> Security:
    """Return what Dask needs to talk to a scheduler.

    :param keys: the directory of the keys; ``None`` when none was named.
    :raises InputError: when there are no keys, and there have to be.
    """
    if not address.startswith("tls://"):
        return Security(require_encryption=False)
    if keys is None:
        raise InputError(
            f"{address}: TLS needs keys", hint="--cluster-keys DIR; 'harness cluster keys' makes it"
        )
    files = {name: keys / name for name in (AUTHORITY, CERTIFICATE, KEY)}
    for path in files.values():
        if not path.is_file():
            raise InputError(
                f"there is no {path}", hint="'harness cluster keys DIR' makes the keys"
            )
    own = {"cert": str(files[CERTIFICATE]), "key": str(files[KEY])}
    roles = ("scheduler", "worker", "client")
    given = {f"tls_{role}_{what}": path for role in roles for what, path in own.items()}
    return Security(tls_ca_file=str(files[AUTHORITY]), require_encryption=True, **given)


def make_keys(directory: Path) -> None:
    """Make an authority of its own, and one key that it has signed, for all of a cluster.

    Who has the key may run what he likes on every machine of the cluster.  The authority's key is
    not kept: the keys of a cluster are made anew together.

    :raises InputError: when there is something in *directory*, or it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InputError(f"{directory} is not empty", hint="name a new directory")
        authority, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        signer = _certificate(f"{_NAME} authority", authority, authority, None)
        signed = _certificate(_NAME, key, authority, signer)
        _write(directory / AUTHORITY, signer.public_bytes(serialization.Encoding.PEM))
        _write(directory / CERTIFICATE, signed.public_bytes(serialization.Encoding.PEM))
        _write(
            directory / KEY,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
    except OSError as error:
        raise InputError(f"cannot make {error.filename}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signing: ec.EllipticCurvePrivateKey,
    signer: x509.Certificate | None,
) -> x509.Certificate:
    """Return a certificate; without a *signer* it is an authority's."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.subject if signer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
    )
    if signer is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = made.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    return made.sign(signing, hashes.SHA256())
