# SPDX-License-Identifier: GPL-2.0-only
"""Archives are the same bytes from the same content, and what is missing is named."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from shipped import SUITE

from harness.base.arch import X86_64
from harness.base.errors import BuildError, DownloadError, SpecError
from harness.base.spec import ImageSpec
from harness.base.store import Store, file_sha256
from harness.guest import image
from harness.guest.image import (
    archive_of,
    fetch_packages,
    guest_keys,
    join_archives,
    payload_archive,
    write_archive,
)

UAPI = Path(__file__).resolve().parents[1] / "data" / "uapi"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def unpacked(archive: Path, target: Path) -> Path:
    """Unpack an archive; a compressed one as the kernel does (``lib/decompress_unlz4.c``)."""
    target.mkdir()
    data = archive.read_bytes()
    if archive.suffix == ".lz4":
        end = 4
        while size := int.from_bytes(data[end : end + 4], "little"):
            end += 4 + size
        assert (len(data) % 4, data[end:].strip(b"\0")) == (0, b"")
        done = subprocess.run(
            ["lz4", "-q", "-d"], input=data[:end], capture_output=True, check=True
        )
        data = done.stdout
    subprocess.run(["cpio", "--quiet", "-id"], cwd=target, input=data, check=True)
    return target


def listing(archive: Path) -> list[list[str]]:
    with archive.open("rb") as stream:
        done = subprocess.run(
            ["cpio", "--quiet", "-itvn"], stdin=stream, check=True, capture_output=True, text=True
        )
    return [line.split() for line in done.stdout.splitlines()]


# -- archives --------------------------------------------------------------------------------

FILES = {"bin/sh": b"#!", "etc/a": b"A", "etc/b": b"BB", "z": b""}


def tree(root: Path, names: list[str], time: int) -> Path:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(FILES[name])
        os.utime(root / name, (time + place, time + place))
    (root / "link").symlink_to("bin/sh")
    os.utime(root / "bin", (time, time))
    return root


def test_write_archive_is_the_same_whatever_time_and_order(tmp_path: Path) -> None:
    write_archive(tree(tmp_path / "one", list(FILES), 1000), tmp_path / "one.cpio")
    write_archive(tree(tmp_path / "two", list(FILES)[::-1], 2000), tmp_path / "two.cpio")
    assert file_sha256(tmp_path / "one.cpio") == file_sha256(tmp_path / "two.cpio")


def test_write_archive_differs_with_content(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", list(FILES), 1000)
    write_archive(root, tmp_path / "one.cpio")
    (root / "etc/a").write_bytes(b"X")
    write_archive(root, tmp_path / "two.cpio")
    assert file_sha256(tmp_path / "one.cpio") != file_sha256(tmp_path / "two.cpio")


def test_write_archive_holds_files_and_links(tmp_path: Path) -> None:
    write_archive(tree(tmp_path / "root", list(FILES), 1000), tmp_path / "a.cpio")
    root = unpacked(tmp_path / "a.cpio", tmp_path / "out")
    assert {name: (root / name).read_bytes() for name in FILES} == FILES
    assert (root / "link").readlink() == Path("bin/sh")


def test_write_archive_belongs_to_root(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", list(FILES), 1000)
    if os.geteuid() == 0:  # an ordinary user's files are not root's as they are
        os.chown(root / "etc/a", 1234, 1234)
    write_archive(root, tmp_path / "a.cpio")
    assert {tuple(words[2:4]) for words in listing(tmp_path / "a.cpio")} == {("0", "0")}


def test_write_archive_name_with_odd_characters(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a b\nc").write_bytes(b"odd")
    write_archive(root, tmp_path / "a.cpio")
    assert (unpacked(tmp_path / "a.cpio", tmp_path / "out") / "a b\nc").read_bytes() == b"odd"


def test_archive_of_files_are_readable_by_root_alone(tmp_path: Path) -> None:
    archive_of({"root/.ssh/authorized_keys": b"key"}, tmp_path / "a.cpio")
    modes = {words[-1]: words[0] for words in listing(tmp_path / "a.cpio")}
    assert modes["root/.ssh/authorized_keys"] == "-rw-------"


def test_archive_of_takes_bytes_and_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    archive_of({"a": b"bytes", "d/b": tmp_path / "file"}, tmp_path / "a.cpio")
    root = unpacked(tmp_path / "a.cpio", tmp_path / "out")
    assert ((root / "a").read_bytes(), (root / "d/b").read_bytes()) == (b"bytes", b"from a file")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 512])
def test_join_archives_each_begins_at_a_multiple_of_four(tmp_path: Path, size: int) -> None:
    (tmp_path / "one").write_bytes(b"1" * size)
    (tmp_path / "two").write_bytes(b"07070")
    joined = join_archives([tmp_path / "one", tmp_path / "two"])
    assert joined.index(b"07070") == -(-size // 4) * 4
    assert len(joined) % 4 == 0


def test_join_archives_order_is_kept(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode() * 4)
    assert join_archives([tmp_path / "b", tmp_path / "a"]) == b"bbbbaaaa"


def test_payload_archive_puts_files_in_place(tmp_path: Path, store: Store) -> None:
    for name in ("m.ko", "kernel"):
        (tmp_path / name).write_text(name)
    archive = payload_archive(
        {"lib/m.ko": tmp_path / "m.ko", "boot/kernel": tmp_path / "kernel"}, store
    )
    root = unpacked(archive, tmp_path / "out")
    assert [(root / name).read_text() for name in ("lib/m.ko", "boot/kernel")] == ["m.ko", "kernel"]


def test_payload_archive_is_made_once_for_the_same_content(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.ko").write_bytes(b"ELF")
    (tmp_path / "copy.ko").write_bytes(b"ELF")
    made = {payload_archive({"m.ko": tmp_path / name}, store) for name in ("m.ko", "copy.ko")}
    assert len(made) == 1


def test_payload_archive_other_place_is_another_archive(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.ko").write_bytes(b"ELF")
    made = {payload_archive({place: tmp_path / "m.ko"}, store) for place in ("a.ko", "b.ko")}
    assert len(made) == 2


# -- building --------------------------------------------------------------------------------

SOURCE = "int answer(void); int main(void) { return answer(); }\n"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that needs ``libanswer.so.1``, and that library."""
    path = tmp_path_factory.mktemp("programs")
    (path / "answer.c").write_text("int answer(void) { return 42; }\n")
    (path / "main.c").write_text(SOURCE)
    library = path / "libanswer.so.1"
    shared = ["-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libanswer.so.1"]
    subprocess.run(["gcc", *shared, "-o", library, path / "answer.c"], check=True)
    bare = ["-nostdlib", "-Wl,-e,main", "-Wl,--dynamic-linker=/lib64/ld-tiny.so.2"]
    subprocess.run(["gcc", *bare, "-o", path / "ask", path / "main.c", library], check=True)
    return path


@pytest.fixture
def packages(tmp_path: Path, programs: Path) -> Path:
    """What unpacked packages look like."""
    root = tmp_path / "packages"
    files = {"usr/bin/ask": "ask", "usr/lib/x/libanswer.so.1.0": "libanswer.so.1"}
    for destination, name in files.items():
        (root / destination).parent.mkdir(parents=True, exist_ok=True)
        (root / destination).write_bytes((programs / name).read_bytes())
        (root / destination).chmod(0o755)
    (root / "usr/lib/x/libanswer.so.1").symlink_to("libanswer.so.1.0")
    (root / "lib64").mkdir()
    (root / "lib64/ld-tiny.so.2").write_bytes(b"loader")
    return root


@pytest.fixture
def spec(tmp_path: Path) -> ImageSpec:
    return ImageSpec(
        name="tiny",
        path=tmp_path / "tiny.yaml",
        packages=("ask", "libanswer1"),
        files={"usr/bin/ask": "bin/ask | usr/bin/ask"},
        links={"bin/sh": "ask"},
        directories=("proc", "dev"),
        overlay=None,
    )


def deb(directory: Path, name: str, tree: Path) -> None:
    """Make a Debian package of *tree*."""
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: A <a@example.com>\n"
        "Description: tiny\n"
    )
    directory.mkdir(exist_ok=True)
    target = directory / f"{name}_1_amd64.deb"
    subprocess.run(["dpkg-deb", "-b", tree, target], check=True, capture_output=True)


def build(
    spec: ImageSpec,
    store: Store,
    compiler: tuple[str, str] = ("gcc", "gcc 12"),
    verbs: Sequence[Path] = SUITE.verbs,
) -> image.Image:
    return image.build_image(
        spec,
        verbs=verbs,
        headers=SUITE.headers,
        arch=X86_64,
        uapi=UAPI,
        compiler=compiler,
        store=store,
        progress=lambda text: None,
    )


@pytest.fixture
def downloads(
    tmp_path: Path, spec: ImageSpec, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A directory with the recipe's packages, and the recipe's file."""
    spec.path.write_text("name: tiny\n")
    rest = tmp_path / "empty"
    rest.mkdir()
    deb(tmp_path / "debs", "ask", packages)
    deb(tmp_path / "debs", "libanswer1", rest)
    monkeypatch.setenv("HARNESS_DOWNLOADS", str(tmp_path / "debs"))
    return tmp_path / "debs"


def test_build_image_holds_everything_the_recipe_names(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    root = unpacked(build(spec, store).initrd, tmp_path / "out")
    assert os.access(root / "usr/bin/ask", os.X_OK)
    assert (root / "bin/sh").readlink() == Path("ask")
    assert (root / "proc").is_dir()
    assert os.access(root / "bin/harness-agent", os.X_OK)


def test_build_image_has_the_programs_of_the_suite_and_no_others(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    (tmp_path / "own.c").write_text("int main(void) { return 0; }\n")
    with_program = replace(spec, programs=(tmp_path / "own.c",))
    own = unpacked(build(with_program, store).initrd, tmp_path / "own")
    assert os.access(own / "bin/own", os.X_OK)
    none = unpacked(build(spec, store).initrd, tmp_path / "none")
    assert not (none / "bin/own").exists()


def test_build_image_brings_libraries_and_loader(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    root = unpacked(build(spec, store).initrd, tmp_path / "out")
    assert (root / "lib/libanswer.so.1").is_file()
    assert (root / "lib64/ld-tiny.so.2").read_bytes() == b"loader"


def test_build_image_lays_the_overlay_over_the_rest(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    (tmp_path / "overlay/usr/bin").mkdir(parents=True)
    (tmp_path / "overlay/usr/bin/ask").write_text("#!/bin/sh\n")
    made = build(replace(spec, overlay=tmp_path / "overlay"), store)
    root = unpacked(made.initrd, tmp_path / "out")
    assert (root / "usr/bin/ask").read_text() == "#!/bin/sh\n"


def test_build_image_gives_the_agent_the_verbs_that_lie_there_now(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    source = tmp_path / "verbs.c"
    for name in ("first", "second"):
        source.write_text(
            '#include "agent.h"\n'
            f'static const struct agent_verb verbs[] = {{ {{ "{name}", "" }}, {{ }} }};\n'
            "static struct agent_part part = { .verbs = verbs };\nAGENT_PART(part)\n"
        )
        agent = (
            unpacked(build(spec, store, verbs=(source,)).initrd, tmp_path / name)
            / "bin/harness-agent"
        )
        done = subprocess.run([agent, "help"], capture_output=True, check=True)
        assert f'"{name}"'.encode() in done.stdout


def test_build_image_again_is_the_same_bytes(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    made = [build(spec, Store(tmp_path / name)) for name in ("one", "two")]
    assert file_sha256(made[0].initrd) == file_sha256(made[1].initrd)


def test_build_image_is_of_the_compiler_that_was_asked_for(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    cc = tmp_path / "gcc-99"
    cc.write_text('#!/bin/sh\nfor out; do [ "$last" = -o ] && echo 99 >"$out"; last=$out; done\n')
    cc.chmod(0o755)
    made = [
        build(spec, store, compiler)
        for compiler in (("gcc", "gcc 12"), (str(cc), "gcc 12"), (str(cc), "gcc 99"))
    ]
    assert len({one.key for one in made}) == 3
    root = unpacked(made[1].initrd, tmp_path / "out")
    assert (root / "bin/harness-agent").read_text() == "99\n"


def test_build_image_file_that_no_package_holds_is_named(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    absent = replace(spec, files={"usr/bin/ask": "bin/ask | sbin/ask"})
    with pytest.raises(SpecError, match=r"tiny\.yaml: no package holds 'bin/ask \| sbin/ask'") as e:
        build(absent, store)
    assert e.value.hint == "packages: ask, libanswer1"


def test_build_image_missing_library_names_program_and_library(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path, packages: Path
) -> None:
    for path in packages.glob("usr/lib/x/*"):
        path.unlink()
    (packages / "DEBIAN/control").unlink()
    (packages / "DEBIAN").rmdir()
    deb(downloads, "ask", packages)
    with pytest.raises(BuildError, match=r"holds libanswer\.so\.1, which /usr/bin/ask needs"):
        build(spec, store)


def test_build_image_that_fails_leaves_no_image(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    with pytest.raises(SpecError):
        build(replace(spec, files={"a": "absent"}), store)
    assert [entry.kind for entry in store.entries()] == ["packages"]
    assert list((store.root / "tmp").iterdir()) == []


def test_build_image_without_the_interface_header_is_an_error(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.UAPI", tmp_path / "empty")
    with pytest.raises(BuildError, match=r"has no linux/liveupdate\.h"):
        build(spec, store)


def test_fetch_packages_takes_the_first_choice_there_is(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path
) -> None:
    either = replace(spec, packages=("absent | ask",))
    root = fetch_packages(either, arch=X86_64, store=store, progress=lambda text: None)
    assert (root / "usr/bin/ask").is_file()


def test_fetch_packages_that_nobody_has_are_named(
    tmp_path: Path, spec: ImageSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text("#!/bin/sh\necho E: no such package >&2\nexit 100\n")
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("HARNESS_DOWNLOADS", raising=False)
    with pytest.raises(DownloadError, match=r"cannot fetch the package ask: .*no such package"):
        fetch_packages(spec, arch=X86_64, store=store, progress=lambda text: None)


# -- keys ------------------------------------------------------------------------------------


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
    assert image._dropbear_key(key) == (
        b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x40" + bytes(range(32)) + public
    )
