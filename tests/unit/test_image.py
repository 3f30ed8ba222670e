# SPDX-License-Identifier: GPL-2.0-only
"""An image holds what its recipe names, the same bytes each time; what is missing is named."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from architectures import SET_UP
from archives import unpacked
from shipped import SUITE

from harness.base.arch import AARCH64, X86_64, Architecture
from harness.base.errors import BuildError, DownloadError, SpecError
from harness.base.spec import ImageSpec
from harness.base.store import Store, file_sha256
from harness.guest import image
from harness.guest.packages import fetch_packages

UAPI = Path(__file__).resolve().parents[1] / "data" / "uapi"


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
    verbs: tuple[Path, ...] = SUITE.verbs,
    arch: Architecture = X86_64,
) -> image.Image:
    content = image.ImageContent(
        recipe=spec,
        verbs=verbs,
        headers=SUITE.headers,
        arch=arch,
        uapi=UAPI,
        cc=compiler[0],
        compiler=compiler[1],
    )
    return image.build_image(content, store, progress=lambda text: None)


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


@pytest.mark.parametrize("arch", SET_UP)
def test_build_image_again_is_the_same_bytes(
    tmp_path: Path, spec: ImageSpec, downloads: Path, arch: Architecture
) -> None:
    for package in list(downloads.iterdir()):
        name = package.name.replace("amd64", arch.debian)
        package.rename(package.with_name(name))
    compiler = (arch.compiler("gcc"), "gcc 12")
    made = [build(spec, Store(tmp_path / name), compiler, arch=arch) for name in ("one", "two")]
    assert file_sha256(made[0].initrd) == file_sha256(made[1].initrd)
    agent = unpacked(made[0].initrd, tmp_path / "out") / "bin/harness-agent"
    header = subprocess.run(["readelf", "-h", agent], capture_output=True, text=True, check=True)
    assert re.search(rf"Machine:.*{arch.name.replace('_', '-')}", header.stdout, re.I)


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
    assert [path.parent.name for path in store.root.glob("objects/*/*")] == ["packages"]
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


APT = """\
#!/bin/sh
echo "$@" >>{log}
case " $* " in
*" update "*) ;;
*) for last; do :; done; cp {ask} "${{last%:*}}_1_arm64.deb" ;;
esac
"""


def test_fetch_packages_of_another_architecture_leaves_apt_of_the_host_alone(
    tmp_path: Path, spec: ImageSpec, store: Store, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ask,) = downloads.glob("ask_*.deb")
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    (programs / "apt-get").write_text(APT.format(log=log, ask=ask))
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    both = replace(spec, packages=("ask", "answer"))
    root = fetch_packages(both, arch=AARCH64, store=store, progress=lambda text: None)
    assert (root / "usr/bin/ask").is_file()
    update, *fetched = log.read_text().splitlines()
    assert update.endswith(" update")
    assert [line.split()[-1] for line in fetched] == ["ask:arm64", "answer:arm64"]
    for line in (update, *fetched):
        assert "-o APT::Architectures=arm64 " in line
        lists = re.search(r"-o Dir::State::Lists=(\S+)", line)
        assert lists is not None
        assert Path(lists.group(1)).is_relative_to(tempfile.gettempdir())


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
