# SPDX-License-Identifier: GPL-2.0-only
"""One mail: what it says of the patch in it, and what of it ``git am`` is given."""

from __future__ import annotations

import base64
import email
import email.errors
import email.header
import email.policy
import email.utils
import re
from dataclasses import dataclass
from email.message import Message

from harness.kernel.subject import SubjectLine, read_subject

_DIFF = re.compile(r"^(?:diff --git \S|Index: \S|--- \S+.*\n\+\+\+ \S)", re.M)
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HEADER = re.compile(r"diff --git |--- \S|\+\+\+ \S|(?:new|old|deleted|rename|copy) ")
_PATCH_FILE = re.compile(r"\.(?:patch|diff|txt|mbox|eml)$", re.I)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_NO_AUTHOR = "unknown@localhost"
_FALLBACK = "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail, read.

    :param line: its subject.
    :param body: its text: its transfer encoding and ``format=flowed`` undone, HTML left out.
    :param message_id: without its brackets; empty when it has none.
    :param parents: ids of the mails that it answers, the nearest first.
    :param author: the address that it is from.
    :param flowed: whether its lines were wrapped by a mailer.
    :param raw: the mail, its lines ending as :mod:`harness.kernel.mailbox` leaves them.
    """

    line: SubjectLine
    body: str
    message_id: str
    parents: tuple[str, ...]
    author: str
    flowed: bool
    raw: bytes

    @property
    def has_diff(self) -> bool:
        """Whether it changes something."""
        return _DIFF.search(self.body) is not None

    @property
    def is_cover(self) -> bool:
        """Whether it is the letter before the patches."""
        line = self.line
        return line.tagged and (line.number == 0 or (not line.numbered and not self.has_diff))

    @property
    def is_patch(self) -> bool:
        """Whether it says that it is a patch, and is one."""
        return self.line.tagged and not self.line.reply and not self.is_cover and self.has_diff


def read_mail(raw: bytes) -> Mail:
    """Read a mail as a mailbox has it; nothing in it is an error."""
    message = _message(raw)
    parents = _ids(message, "In-Reply-To") + tuple(reversed(_ids(message, "References")))
    parts = _texts(message)
    return Mail(
        line=read_subject(_header(message, "Subject")),
        body=_decoded(parts),
        message_id=next(iter(_ids(message, "Message-ID")), ""),
        parents=tuple(dict.fromkeys(parents)),
        author=email.utils.parseaddr(_header(message, "From"))[1].lower(),
        flowed=any(_is_flowed(part) for part in parts),
        raw=raw,
    )


def message_id(mail: bytes) -> str | None:
    """Return a mail's ``Message-ID`` without its brackets, ``None`` when it has none."""
    return next(iter(_ids(_message(mail), "Message-ID")), None)


def mail_text(mail: bytes) -> str:
    """Return a mail's text, its transfer encoding undone."""
    return _decoded(_texts(_message(mail)))


def mail_bytes(mail: bytes) -> bytes:
    """Return a mail's text as :func:`mail_text`, in the bytes that its patch has."""
    return _joined(_texts(_message(mail)))


def changes(body: str) -> str:
    """Return what a text changes: its hunks and what goes with them, and nothing behind them."""
    found = _DIFF.search(body)
    if found is None:
        return ""
    kept: list[str] = []
    old = new = 0
    binary = False
    for line in body[found.start() :].splitlines():
        binary = line == "GIT binary patch" or (binary and line != "")
        if binary:
            kept.append(line)
        elif old > 0 or new > 0:
            old -= line[:1] in (" ", "-", "")
            new -= line[:1] in (" ", "+", "")
            kept.append(line.rstrip())
        elif (hunk := _HUNK.match(line)) is not None:
            old, new = (int(count) if count is not None else 1 for count in hunk.groups())
            kept.append(hunk.group())
        elif _HEADER.match(line):
            kept.append(line.rstrip())
    return "\n".join(kept)


def touched_files(mail: bytes) -> tuple[str, ...]:
    """Return the files that a patch is about, old and new names; none outside the tree."""
    text = mail_bytes(mail).decode(errors="surrogateescape")
    names: set[str] = set()
    for both in re.findall(r"^diff --git (.+)$", text, re.M):
        names.update(_both_names(both))
    for old, new in re.findall(r"^--- (\S.*)\n\+\+\+ (\S.*)$", text, re.M):
        names.update(_below(_unquoted(name.partition("\t")[0])) for name in (old, new))
    for name in re.findall(r"^(?:rename|copy) (?:from|to) (.+)$", text, re.M):
        names.add(_unquoted(name))
    names = {name for name in names if name[:1] != "/" and ".." not in name.split("/")}
    return tuple(sorted(names - {"", "dev/null", "null"}))


def _both_names(both: str) -> tuple[str, ...]:
    """Return the names in ``a/NAME b/NAME``; a space in one is no end, and both are the same."""
    quoted = re.fullmatch(r'("(?:[^"\\]|\\.)*"|\S+) ("(?:[^"\\]|\\.)*"|\S+)', both)
    if quoted is not None:
        return tuple(_below(_unquoted(name)) for name in quoted.groups())
    half = len(both) // 2
    same = _below(both[:half]) == _below(both[half + 1 :])
    return (_below(both[:half]),) if same else ()


def _below(name: str) -> str:
    """Return a name without its first directory, which is no directory: ``a/``, ``linux.orig/``."""
    return name.strip().partition("/")[2] if not name.startswith("/dev/null") else ""


def _unquoted(name: str) -> str:
    """Return a name that git wrote in quotes, as C does."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name
    text = re.sub(
        r"\\([0-7]{3}|.)",
        lambda m: chr(int(m.group(1), 8)) if len(m.group(1)) == 3 else _ESCAPED.get(m[1], m[1]),
        name[1:-1],
    )
    return text.encode("latin-1", "replace").decode(errors="surrogateescape")


# -- what git am is given ---------------------------------------------------------------------


def mails_for_am(mail: bytes) -> tuple[bytes, ...]:
    """Return a mail as mboxes of one (mboxrd), which ``git am`` reads, the best first.

    A mail that git reads well is left as it is.  Of one in several parts the text is taken, without
    a list's or a mailer's other parts; an author that git cannot use is replaced.
    """
    message = _message(mail)
    parts = _texts(message)
    plain = _plain(message, parts)
    if message.is_multipart():
        return plain, _mbox(mail)
    return _mbox(mail), plain


def _mbox(mail: bytes) -> bytes:
    mail = re.sub(rb"^(>*From )", rb">\1", mail, flags=re.M)
    return b"From " + b"0" * 40 + b" Mon Sep 17 00:00:00 2001\n" + mail


def _plain(message: Message, parts: list[Message]) -> bytes:
    """Return a mail of one part, in an encoding that it has."""
    body = _joined(parts, keep_cr=True)
    charset = next((c for part in parts if (c := part.get_content_charset())), _FALLBACK)
    try:
        body.decode(charset)
    except (LookupError, ValueError):
        charset = _FALLBACK if _is_text(body) else "iso-8859-1"
    author = _header(message, "From")
    if not _is_author(_header(message, "From")):
        author = _author(message)
    headers = {
        "From": author,
        "Date": _header(message, "Date"),
        "Subject": _header(message, "Subject"),
        "Message-ID": _header(message, "Message-ID"),
        "Content-Type": f"text/plain; charset={charset}",
    }
    if b"\r" in body:
        # Else git would take them for the line ends of the mail.
        headers["Content-Transfer-Encoding"] = "base64"
        body = base64.encodebytes(body)
    else:
        headers["Content-Transfer-Encoding"] = "8bit"
    lines = [
        f"{name}: {_encoded(value)}\n"
        for name, text in headers.items()
        if (value := " ".join(text.split()))
    ]
    return _mbox("".join(lines).encode() + b"\n" + body)


def _encoded(value: str) -> str:
    """Return a header's value, what is no ASCII in an encoded word that git reads."""
    if value.isascii():
        return value
    name, address = email.utils.parseaddr(value)
    if name and address.isascii() and "@" in address:
        return f"{_encoded(name) if name.isascii() else _word(name)} <{address}>"
    return _word(value)


def _word(text: str) -> str:
    # One long word: folded, git would put a space in where a character is cut.
    return email.header.Header(text, "utf-8", maxlinelen=10**6).encode()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeError:
        return False
    return True


def _is_author(value: str) -> bool:
    """Return whether git makes an author of a ``From:``: there is an address, and some name."""
    if "@" not in value and not re.search(r"\w.*<[^>]*>", value):
        return False
    name = value.partition("<")[0] if "<" in value else value
    return not name.strip(' "') or re.search(r"\w", name) is not None


def _author(message: Message) -> str:
    """Return the author of a mail whose ``From:`` was mangled, by a list or its archive."""
    for header in ("X-Original-From", "Reply-To", "Sender"):
        if _is_author(value := _header(message, header)):
            return value
    value = _header(message, "From")
    archived = re.fullmatch(r"\s*(\S+) (?:at|AT) (\S+)\s*(?:\((.*)\))?\s*", value)
    if archived is not None:
        user, host, name = archived.groups()
        return f"{name or user} <{user}@{host}>"
    name, address = email.utils.parseaddr(value)
    said = re.sub(r"\s+via\s+.*|[<>\"()]", "", name or value.partition("<")[0]).strip(" .,")
    address = address if "@" in address else _NO_AUTHOR
    # git takes no name that has nothing but punctuation (ident.c).
    named = re.search(r"\w", said) is not None
    return f"{said if named else address.partition('@')[0]} <{address}>"


# -- the parts of a mail ----------------------------------------------------------------------


def _message(mail: bytes) -> Message:
    # The older policy takes every header as it is; the newer one trips over damaged ones.
    return email.message_from_bytes(mail, policy=email.policy.compat32)


def _header(message: Message, name: str) -> str:
    """Return a header, its encoding undone; empty when there is none."""
    values = [value for key, value in message.raw_items() if key.lower() == name.lower()]
    if not values:
        return ""
    raw = str(values[0]).encode("ascii", "surrogateescape")
    text = raw.decode() if _is_text(raw) else raw.decode("iso-8859-1")
    if "=?" not in text:
        return text
    try:
        return str(email.header.make_header(email.header.decode_header(text)))
    except (LookupError, ValueError, email.errors.MessageError):
        return text


def _ids(message: Message, name: str) -> tuple[str, ...]:
    text = _header(message, name)
    found = re.findall(r"<([^<>\s]+)>", text)
    if not found and name == "Message-ID":
        found = text.split()[:1]
    return tuple(found)


def _texts(message: Message) -> list[Message]:
    """Return the parts that are text to read: of alternatives the plain one, and no HTML."""
    if not message.is_multipart():
        return [message]
    parts = [part for part in message.get_payload() if isinstance(part, Message)]
    if message.get_content_type() == "multipart/alternative":
        plain = [part for part in parts if part.get_content_type() != "text/html"]
        parts = plain[:1] or parts[:1]
    return [text for part in parts for text in _texts(part) if _is_readable(text)]


def _is_readable(part: Message) -> bool:
    kind = part.get_content_type()
    if kind == "application/octet-stream":
        return _PATCH_FILE.search(part.get_filename() or "") is not None
    return kind in ("application/x-patch", "text/x-patch") or (
        part.get_content_maintype() == "text" and kind not in ("text/html", "text/calendar")
    )


def _bytes(part: Message, *, keep_cr: bool = False) -> bytes:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if not keep_cr:
        data = data.replace(b"\r\n", b"\n")
    if _is_flowed(part):
        data = _unflowed(data, delete_space=_parameter(part, "delsp") == "yes")
    return data


def _joined(parts: list[Message], *, keep_cr: bool = False) -> bytes:
    texts = [_bytes(part, keep_cr=keep_cr) for part in parts]
    if len(texts) == 1:
        return texts[0]
    return b"".join(text if text.endswith(b"\n") else text + b"\n" for text in texts)


def _decoded(parts: list[Message]) -> str:
    texts = []
    for part in parts:
        data = _bytes(part)
        try:
            texts.append(data.decode(part.get_content_charset() or _FALLBACK))
        except (LookupError, ValueError):
            # It says something of itself that is not so: a patch is mostly ASCII all the same.
            texts.append(data.decode(errors="replace"))
    return "\n".join(texts).replace("\r\n", "\n")


def _is_flowed(part: Message) -> bool:
    return _parameter(part, "format") == "flowed"


def _parameter(part: Message, name: str) -> str:
    value = part.get_param(name, "")
    return value.lower() if isinstance(value, str) else ""


def _unflowed(data: bytes, *, delete_space: bool) -> bytes:
    """Undo format=flowed (RFC 3676), as ``git mailinfo`` does."""
    lines: list[bytes] = []
    begun = b""
    for line in data.split(b"\n"):
        if line == b"-- ":
            lines += [begun, line] if begun else [line]
            begun = b""
            continue
        text = line.removeprefix(b" ")
        if text.endswith(b" "):
            begun += text[:-1] if delete_space else text
        else:
            lines.append(begun + text)
            begun = b""
    return b"\n".join([*lines, begun] if begun else lines)
