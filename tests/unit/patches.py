# SPDX-License-Identifier: GPL-2.0-only
"""Patches as mail, and a tiny tree that they are for."""

from __future__ import annotations

import quopri
import subprocess
from pathlib import Path

FROM_LINE = "From 0123456789abcdef0123456789abcdef01234567 Mon Sep 17 00:00:00 2001\n"

QUOTED = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n"


def git(repo: Path, *words: str) -> str:
    identity = ["-c", "user.name=A U Thor", "-c", "user.email=author@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def diff(name: str = "kernel/a.c", old: str = "old", new: str = "new") -> str:
    return (
        f"---\n {name} | 2 +-\n\ndiff --git a/{name} b/{name}\n"
        f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+{new}\n-- \n2.39.0\n"
    )


def mail(subject: str, body: str | None = None, headers: str = "") -> str:
    text = (diff() if body is None else body).rstrip()
    return (
        f"From: A U Thor <author@example.com>\nDate: Mon, 2 Feb 2026 10:00:00 +0000\n"
        f"Subject: {subject}\n{headers}\nWhy.\n\n{text}\n\n"
    )


def mbox(path: Path, *mails: str) -> str:
    path.write_text("".join(FROM_LINE + text for text in mails))
    return str(path)


def encoded(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


def write_kernel(path: Path) -> None:
    """Write what passes for a kernel with live update from outside, until somebody compiles it."""
    (path / "kernel/liveupdate").mkdir(parents=True)
    (path / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 0\nSUBLEVEL = 1\nEXTRAVERSION =\n")
    (path / "Kconfig").write_text("\n")
    (path / "include/uapi/linux").mkdir(parents=True)
    (path / "include/uapi/linux/liveupdate.h").touch()
    # What shows that a tree needs no support commit.
    (path / "kernel/liveupdate/kexec_handover.c").write_text(
        "EXPORT_SYMBOL_GPL(liveupdate_register_file_handler);\nkasan_unpoison_vmalloc(x);\n"
    )


def tiny_tree(path: Path) -> Path:
    """Make a tiny tree in git, one commit."""
    (path / "kernel").mkdir(parents=True)
    (path / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 0\n")
    (path / "Kconfig").write_text("\n")
    (path / "kernel/a.c").write_text("old\n")
    (path / "kernel/equal.c").write_text("a = 1;\n")
    (path / "kernel/long.c").write_text("".join(f"line {number}\n" for number in range(1, 21)))
    git(path.parent, "init", "-q", "-b", "main", str(path))
    git(path, "add", ".")
    git(path, "commit", "-qm", "base")
    return path
