# SPDX-License-Identifier: GPL-2.0-only
"""Mails of all shapes become the tree that ``git am`` makes of them."""

from __future__ import annotations

import base64
import bz2
import email
import email.policy
import gzip
import lzma
import quopri
import random
import subprocess
from collections.abc import Callable
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

import pytest
from patches import FROM_LINE, git, tiny_tree

from harness.base.errors import SeriesError
from harness.base.store import Store
from harness.kernel.apply import Position, apply_series
from harness.kernel.mail import changes, mail_text, mails_for_am, read_mail, touched_files
from harness.kernel.series import read_series
from harness.kernel.source import SourceTree

# -- what patches change ------------------------------------------------------------------------


def _long(tree: Path) -> None:
    lines = (tree / "kernel/long.c").read_text().splitlines()
    lines[1], lines[18] = "changed", "changed \t "
    (tree / "kernel/long.c").write_text("\n".join(lines) + "\n")


def _crlf(tree: Path) -> None:
    (tree / "dos.txt").write_bytes(b"one\r\ntwo changed\r\nthree\r\n")


def _rename(tree: Path) -> None:
    git(tree, "mv", "kernel/long.c", "kernel/longer name.c")


def _remove(tree: Path) -> None:
    git(tree, "rm", "-q", "kernel/a.c", "empty")


def _mode(tree: Path) -> None:
    (tree / "kernel/a.c").chmod(0o755)


def _link(tree: Path) -> None:
    (tree / "link").symlink_to("kernel/a.c")


def _write(name: str, data: bytes) -> Callable[[Path], None]:
    def write(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)

    return write


CHANGES: dict[str, Callable[[Path], None]] = {
    "one-line": _write("kernel/a.c", b"new\n"),
    "two-hunks": _long,
    "new-file": _write("drivers/new/file.c", b"one\n\ntwo = 1;\n"),
    "new-empty-file": _write("drivers/empty", b""),
    "removed": _remove,
    "renamed": _rename,
    "mode": _mode,
    "link": _link,
    "binary": _write("blob", bytes(range(256)) * 4),
    "no-newline": _write("kernel/a.c", b"new without an end"),
    "latin-1": _write("kernel/a.c", "/* Käse */\n".encode("latin-1")),
    "utf-8": _write("kernel/a.c", "/* Käse \N{SNOWMAN} */\n".encode()),
    "crlf-file": _crlf,
    "new-crlf-file": _write("new.txt", b"one\r\ntwo\r\n"),
    "space-in-name": _write("kernel/a b.c", b"new\n"),
    "quoted-name": _write("kernel/K\N{LATIN SMALL LETTER A WITH DIAERESIS}se\t.c", b"new\n"),
    "glob-name": _write("kernel/[a]*?.c", b"new\n"),
    "form-feed": _write("kernel/a.c", b"one\x0c\ntwo\x0bthree\x1c\n"),
    "signature": _write("kernel/a.c", b"-- \nold\n--- a\n+++ b\nFrom here on\n"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a branch for each change."""
    tree = tiny_tree(tmp_path_factory.mktemp("mails") / "tree")
    (tree / "dos.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    (tree / "empty").touch()
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "more")
    for name, change in CHANGES.items():
        git(tree, "checkout", "-q", "-b", name, "main")
        change(tree)
        git(tree, "add", "-A")
        git(tree, "commit", "-qm", f"mm: do {name}\n\nWhy it is done.\nFrom here on it is better.")
    git(tree, "checkout", "-q", "main")
    return tree


@pytest.fixture(scope="module")
def checkout(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone for ``git am``."""
    made = tmp_path_factory.mktemp("am") / "clone"
    git(tree, "clone", "-q", str(tree), str(made))
    git(made, "config", "user.name", "C O Mitter")
    git(made, "config", "user.email", "committer@example.com")
    return made


def formatted(tree: Path, change: str, *words: str) -> bytes:
    """Return a change as ``git format-patch`` makes a mail of it, without its first line."""
    argv = ["git", "-C", str(tree), "format-patch", "--stdout", "-1", *words, change]
    done = subprocess.run(argv, check=True, capture_output=True)
    return done.stdout.partition(b"\n")[2]


# -- how mails are made of them -----------------------------------------------------------------

HEADERS = "From: A U Thor <author@example.com>\nDate: Mon, 2 Feb 2026 10:00:00 +0000\n"


def parts_of(raw: bytes) -> tuple[str, bytes]:
    """Return subject and text of a plain mail."""
    head, _, body = raw.partition(b"\n\n")
    assert b"multipart" not in head
    return str(email.message_from_bytes(head, policy=email.policy.default)["Subject"]), body


def made(subject: str, headers: str, body: bytes, sender: str = HEADERS) -> bytes:
    return f"{sender}Subject: {subject}\nMIME-Version: 1.0\n{headers}\n".encode() + body


def _plain(raw: bytes, charset: str = "utf-8") -> bytes:
    subject, body = parts_of(raw)
    return made(
        subject,
        f"Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: 8bit\n",
        body,
    )


def _quoted_printable(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    headers = 'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: '
    return made(subject, headers + "quoted-printable\n", quopri.encodestring(body))


def _base64(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    headers = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n"
    return made(subject, headers, base64.encodebytes(body))


def _base64_crlf(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    return _base64(made(subject, "", body.replace(b"\n", b"\r\n")))


def _flowed(raw: bytes, value: str = "flowed") -> bytes:
    subject, body = parts_of(raw)
    lines = [
        b" " + line if line.startswith((b" ", b"From ", b">")) else line.rstrip() or line
        for line in body.split(b"\n")
    ]
    kind = f"Content-Type: text/plain; charset=UTF-8; format={value}; DelSp=yes\n"
    return made(subject, kind + "Content-Transfer-Encoding: 8bit\n", b"\n".join(lines))


def _several(kind: str, *more: tuple[str, str], first: bool = True) -> Callable[[bytes], bytes]:
    """Return what puts a patch into a mail of several parts, before or behind others."""

    def shape(raw: bytes) -> bytes:
        subject, body = parts_of(raw)
        message = MIMEMultipart(kind)
        own = MIMEText("", "plain", "utf-8")
        own.set_payload(base64.encodebytes(body).decode())
        parts = [MIMEText(text, subtype, "utf-8") for subtype, text in more]
        for part in [own, *parts] if first else [*parts, own]:
            message.attach(part)
        for name, value in (("From", "A <a@example.com>"), ("Subject", subject)):
            message[name] = value
        return message.as_bytes()

    return shape


HTML = (
    "<html><body><pre>diff --git a/kernel/a.c b/kernel/a.c\n@@ -1 +1 @@\n-old</pre></body></html>"
)


def _alternative_crlf(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    return _several("alternative", ("html", HTML))(
        made(subject, "", body.replace(b"\n", b"\r\n"), "")
    )


def _attached_file(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    message = MIMEMultipart()
    message["From"], message["Subject"] = "A <a@example.com>", subject
    message.attach(MIMEText("Why.\n", "plain"))
    part = MIMEApplication(body, "octet-stream", name="0001-fix.patch")
    part.add_header("Content-Disposition", "attachment", filename="0001-fix.patch")
    message.attach(part)
    return message.as_bytes()


def _signed(raw: bytes) -> bytes:
    subject, body = parts_of(raw)
    message = MIMEMultipart("signed", protocol="application/pgp-signature")
    message["From"], message["Subject"] = "A <a@example.com>", subject
    part = MIMEText("", "plain", "utf-8")
    part.set_payload(base64.encodebytes(body).decode())
    message.attach(part)
    message.attach(MIMEApplication(b"-----BEGIN PGP SIGNATURE-----\n", "pgp-signature"))
    return message.as_bytes()


def _sender(line: str) -> Callable[[bytes], bytes]:
    def shape(raw: bytes) -> bytes:
        subject, body = parts_of(raw)
        date = "Date: Mon, 2 Feb 2026 10:00:00 +0000\n"
        return made(subject, "", body, f"{line}\n{date}")

    return shape


def _subject(form: str) -> Callable[[bytes], bytes]:
    def shape(raw: bytes) -> bytes:
        subject, body = parts_of(raw)
        return made(form.format(subject.partition("] ")[2]), "", body)

    return shape


def _body(before: bytes, after: bytes = b"") -> Callable[[bytes], bytes]:
    def shape(raw: bytes) -> bytes:
        subject, body = parts_of(raw)
        return made(subject, "", before + body + after)

    return shape


def _same(raw: bytes) -> bytes:
    return raw


FOOTER = "____________\nsome-list mailing list\nhttp://lists.example.org/some-list\n"

SHAPES: dict[str, tuple[tuple[str, ...], Callable[[bytes], bytes]]] = {
    "format-patch": ((), _same),
    "attach": (("--attach",), _same),
    "inline": (("--inline",), _same),
    "plain": ((), _plain),
    "wrong-charset": ((), lambda raw: _plain(raw, "us-ascii")),
    "no-such-charset": ((), lambda raw: _plain(raw, "x-unknown")),
    "latin-1": ((), lambda raw: _plain(raw, "iso-8859-1")),
    "quoted-printable": ((), _quoted_printable),
    "base64": ((), _base64),
    "base64-crlf": ((), _base64_crlf),
    "crlf": ((), lambda raw: raw.replace(b"\n", b"\r\n")),
    "flowed": ((), _flowed),
    "flowed-quoted": ((), lambda raw: _flowed(raw, '"flowed"')),
    "alternative": ((), _several("alternative", ("html", HTML))),
    "alternative-html-first": ((), _several("alternative", ("html", HTML), first=False)),
    "alternative-crlf": ((), _alternative_crlf),
    "mixed-footer": ((), _several("mixed", ("plain", FOOTER))),
    "mixed-text-first": ((), _several("mixed", ("plain", "Hello.\n"), first=False)),
    "attached-file": ((), _attached_file),
    "signed": ((), _signed),
    "no-prefix": (("--keep-subject",), _same),
    "reply": ((), _subject("Re: {}")),
    "list-prefix": ((), _subject("[some-list] [PATCH] {}")),
    "encoded-subject": ((), _subject("=?UTF-8?q?[PATCH]_K=C3=A4se:?= {}")),
    "raw-subject": ((), _subject("[PATCH] K\N{LATIN SMALL LETTER A WITH DIAERESIS}se: {}")),
    "own-author": ((), _body(b"From: Some Body <some@example.com>\n\n")),
    "scissors": ((), _body(b"Hello.\n\n-- >8 --\n")),
    "from-line": ((), _body(b"From what was said at 10:30:21 in 2024 on\nit fails.\n\n")),
    "from-lines": ((), _body(b"\n>From the start.\nFrom me\n\n")),
    "list-footer": ((), _body(b"", FOOTER.encode())),
    "name-only": ((), _sender("From: A U Thor via some-list")),
    "archive": ((), _sender("From: author at example.com (A U Thor)")),
    "address-only": ((), _sender("From: author@example.com")),
    "via-list": ((), _sender('From: "A U Thor via list" <list@example.org>')),
    "no-sender": ((), _sender("From:")),
    "dots": ((), _sender("From: ... <author@example.com>")),
    "quotes": ((), _sender("From: '' <author@example.com>")),
}


def with_git_am(checkout: Path, mail: bytes) -> str | None:
    """Return the tree that ``git am`` makes of a mail, ``None`` when it takes it not."""
    git(checkout, "reset", "-q", "--hard", "origin/main")
    git(checkout, "clean", "-qfd")
    file = checkout.parent / "mail"
    file.write_bytes(FROM_LINE.encode() + mail)
    done = subprocess.run(["git", "-C", checkout, "am", "-q", str(file)], capture_output=True)
    if done.returncode != 0:
        subprocess.run(["git", "-C", checkout, "am", "--abort"], capture_output=True)
        return None
    return git(checkout, "rev-parse", "HEAD^{tree}")


def with_harness(tree: Path, mail: bytes, directory: Path) -> Position:
    """Return what the harness makes of a mail."""
    file = directory / "mail.mbox"
    file.write_bytes(FROM_LINE.encode() + mail)
    source = SourceTree(
        repo=tree,
        base=git(tree, "rev-parse", "main"),
        tree=git(tree, "rev-parse", "main^{tree}"),
        version="7.0",
        label="tiny",
        public=True,
        lock="tiny",
    )
    applied = apply_series(
        source,
        read_series(str(file)),
        Store(directory / "cache"),
        support=None,
        progress=lambda _: None,
    )
    return applied.position(None)


def corpus() -> set[tuple[str, str]]:
    """Return every shape with a changed line and with something else, and every change."""
    pick = random.Random(17)  # noqa: S311 - a choice that is the same every time
    others = sorted(set(CHANGES) - {"one-line", "crlf-file"})
    return {
        *((shape, "one-line") for shape in SHAPES),
        *((shape, pick.choice(others)) for shape in SHAPES),
        *(("format-patch", change) for change in CHANGES),
        *(("base64", change) for change in ("binary", "crlf-file", "form-feed", "latin-1")),
        ("attached-file", "crlf-file"),
        ("attached-file", "new-crlf-file"),
        ("base64", "new-crlf-file"),
        ("crlf", "crlf-file"),
    }


@pytest.mark.parametrize(("shape", "change"), sorted(corpus()))
def test_tree_is_that_of_git_am(
    tree: Path, checkout: Path, tmp_path: Path, shape: str, change: str
) -> None:
    words, form = SHAPES[shape]
    mail = form(formatted(tree, change, *words))
    wanted = with_git_am(checkout, mail)
    if wanted is None and change == "crlf-file":
        # Its line ends are those of the mail as well.
        with pytest.raises(SeriesError, match=r"dos\.txt, the hunk at line 1"):
            with_harness(tree, mail, tmp_path)
        return
    if wanted is None:
        # Where git am gives up, what the patch is about is clear all the same.
        wanted = git(tree, "rev-parse", f"{change}^{{tree}}")
    assert with_harness(tree, mail, tmp_path).tree == wanted


@pytest.mark.parametrize(
    ("shape", "author"),
    [
        ("name-only", "A U Thor <unknown@localhost>"),
        ("archive", "A U Thor <author@example.com>"),
        ("address-only", "author@example.com <author@example.com>"),
        ("own-author", "Some Body <some@example.com>"),
        ("no-sender", "unknown <unknown@localhost>"),
        ("quotes", "author <author@example.com>"),
    ],
)
def test_author_of_a_mail_whose_sender_was_mangled(
    tree: Path, tmp_path: Path, shape: str, author: str
) -> None:
    mail = SHAPES[shape][1](formatted(tree, "one-line"))
    commit = with_harness(tree, mail, tmp_path).commit
    assert git(tree, "log", "-1", "--format=%an <%ae>", commit) == author


def test_mail_without_an_author_that_does_not_apply_names_the_hunk(
    tree: Path, tmp_path: Path
) -> None:
    mail = SHAPES["name-only"][1](formatted(tree, "one-line")).replace(b"\n-old\n", b"\n-other\n")
    with pytest.raises(SeriesError, match=r"does not apply: kernel/a\.c, the hunk at line 1"):
        with_harness(tree, mail, tmp_path)


@pytest.mark.parametrize("header", ["X-Original-From", "Reply-To"])
def test_author_is_known_by_what_the_list_kept(tree: Path, tmp_path: Path, header: str) -> None:
    sender = f"From: A U Thor via some-list\n{header}: A U Thor <author@example.com>"
    mail = _sender(sender)(formatted(tree, "one-line"))
    commit = with_harness(tree, mail, tmp_path).commit
    assert git(tree, "log", "-1", "--format=%an <%ae>", commit) == "A U Thor <author@example.com>"


# -- how they are kept --------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress, bytes])
@pytest.mark.parametrize("where", ["file", "directory", "maildir"])
def test_packed_mails_are_read(
    tree: Path, tmp_path: Path, pack: Callable[[bytes], bytes], where: str
) -> None:
    directory = tmp_path / "mails"
    (directory / "cur" if where == "maildir" else directory).mkdir(parents=True)
    name = {"file": "series.mbx.xz", "directory": "0001-one.patch.gz", "maildir": "cur/1.x:2,S"}
    data = b"" if where == "maildir" else FROM_LINE.encode()
    (directory / name[where]).write_bytes(pack(data + formatted(tree, "one-line")))
    series = read_series(str(directory / name[where] if where == "file" else directory))
    assert [patch.subject for patch in series.patches] == ["mm: do one-line"]
    assert series.name == ("series" if where == "file" else "mails")


def test_packed_file_that_is_damaged_is_named(tmp_path: Path) -> None:
    file = tmp_path / "series.mbx.gz"
    file.write_bytes(gzip.compress(b"From x" * 1000)[:20])
    with pytest.raises(SeriesError, match=r"cannot read .*series\.mbx\.gz: "):
        read_series(str(file))


@pytest.mark.parametrize(
    "line",
    [
        "From me to you at 10:30:21 in 2024",
        "From A Mon Feb  2 10:00:00 2026",
        "From the\nFrom me at 10:30 2024\n",
    ],
)
def test_from_lines_in_a_text_end_no_mail(tree: Path, tmp_path: Path, line: str) -> None:
    file = tmp_path / "two.mbox"
    mails = [
        _body(f"It fails.\n\n{line}\nas was said.\n\n".encode())(formatted(tree, change))
        for change in ("one-line", "two-hunks")
    ]
    file.write_bytes(b"".join(FROM_LINE.encode() + mail for mail in mails))
    series = read_series(str(file))
    assert [patch.subject for patch in series.patches] == ["mm: do one-line", "mm: do two-hunks"]
    assert with_harness(tree, mails[0], tmp_path).tree == git(tree, "rev-parse", "one-line^{tree}")


def test_empty_lines_before_an_mbox_are_none_of_its(tree: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.mbox"
    file.write_bytes(b"\xef\xbb\xbf\n\n" + FROM_LINE.encode() + formatted(tree, "one-line"))
    assert len(read_series(str(file)).patches) == 1


# -- what is read of them -----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["flowed", '"flowed"', "Flowed"])
def test_flowed_mail_is_warned_about(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    file = tmp_path / "flowed.eml"
    file.write_bytes(_flowed(formatted(tree, "one-line"), value))
    read_series(str(file))
    assert "mm: do one-line is format=flowed" in caplog.text
    assert "white space may be damaged" in caplog.text


def test_html_is_no_part_of_the_text() -> None:
    raw = made("[PATCH] x", "", b"Why.\n---\ndiff --git a/a b/a\n")
    for shape in ("alternative", "alternative-html-first"):
        mail = SHAPES[shape][1](raw)
        assert "<pre>" not in mail_text(mail)
        assert b"html" not in mails_for_am(mail)[0]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("renamed", ("kernel/long.c", "kernel/longer name.c")),
        ("mode", ("kernel/a.c",)),
        ("removed", ("empty", "kernel/a.c")),
        ("new-empty-file", ("drivers/empty",)),
        ("space-in-name", ("kernel/a b.c",)),
        ("quoted-name", ("kernel/K\N{LATIN SMALL LETTER A WITH DIAERESIS}se\t.c",)),
        ("glob-name", ("kernel/[a]*?.c",)),
        ("binary", ("blob",)),
    ],
)
def test_touched_files_of_every_kind(tree: Path, change: str, names: tuple[str, ...]) -> None:
    assert touched_files(formatted(tree, change)) == names


def test_touched_files_of_a_patch_that_is_not_git_s() -> None:
    body = "--- linux-7.0.orig/mm/a.c\t2026-02-02 10:00\n+++ linux-7.0/mm/a.c\t2026-02-03\n"
    assert touched_files(made("x", "", (body + "@@ -1 +1 @@\n-a\n+b\n").encode())) == ("mm/a.c",)


def test_changes_end_with_the_last_hunk(tree: Path) -> None:
    for change in CHANGES:
        body = mail_text(formatted(tree, change))
        assert changes(body) != ""
        assert changes(body) == changes(body.rpartition("\n-- \n")[0] + "\n" + FOOTER)


def test_changes_tell_binary_patches_apart(tree: Path) -> None:
    body = mail_text(formatted(tree, "binary"))
    lines = body.splitlines()
    at = lines.index("GIT binary patch") + 3
    lines[at] = lines[at].swapcase()
    assert changes(body) != changes("\n".join(lines))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"Subject:\n\n",
        b"Subject: =?utf-8?q?=ff?= =?x?z?y?=\n\n",
        b"Subject: [PATCH] \xff\xfe\nFrom: =?utf-8?b?!?= <\n\n\xff",
        b"Content-Type: multipart/mixed\n\nx",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\n--x--\n",
        b"Content-Type: text/plain; charset=\xff\nContent-Transfer-Encoding: base64\n\n!!!",
        b"In-Reply-To: me\nReferences: <<>>\nMessage-ID:\n\n",
        b"Subject: =?\xf4tf-8?q?x?=\n\n",
        b'Content-Type: text/plain; charset="a\x00b"\n\nx',
    ],
)
def test_damaged_mail_is_no_error(raw: bytes) -> None:
    mail = read_mail(raw)
    assert not mail.has_diff
    assert mails_for_am(raw)
