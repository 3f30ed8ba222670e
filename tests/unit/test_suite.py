# SPDX-License-Identifier: GPL-2.0-only
"""A suite is read strictly: every key, and what is wrong with one by file and line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.base.errors import SpecError
from harness.base.importing import ObjectSpec
from harness.base.spec import CONFIGS_DIR, PROJECT_ROOT, load_profiles
from harness.base.suite import (
    CoverageSpec,
    ModuleSpec,
    Preconditions,
    SelftestSpec,
    Suite,
    find_suite,
    load_suite,
)

WHOLE = """\
name: own
description: one line
kernel: ../linux
series: v1
support: support
image: image.yaml
programs: [own.c]
verbs: [verbs.c]
headers: [linux/own.h]
fragments: [own.config]
cmdline: [own=on]
modules:
  - name: own
    source: kmod
  - {name: other, source: kmod/other}
selftests:
  - directory: own
    programs: [one, two]
  - {directory: plain, programs: [three]}
features:
  own-put:
    description: there is something to put
    file: own.h
    contains: own_put
    macro: HAVE_OWN_PUT
  own:
    description: it is configured
    symbol: OWN
    series: true
needs: [own]
preconditions:
  files: [/dev/own]
  refused: ['own: broken']
  reason: 'own: .*off'
  hint: it needs own=on
idle: {open files: echo 3}
complaints: ['own: wrong .*']
known_issues: issues.yaml
tests: tests
mutants: mutants
fixes: fixes
mutation: {files: [lib/a.c], drop: [put], profiles: {drop: debug}, first: {drop: test_a}}
compat: compat.yaml
coverage:
  files: '.*/own\\.c'
  reasons: reasons.yaml
profiles:
  big:
    description: with room
    fragments: [base.config, extra.config]
    cmdline: [big]
    memory_mib: 2048
arch: aarch64
matrix: [default, big, default]
plugins: [own.fixtures]
sections:
  draws: own.shown:DRAWS
"""

DIRECTORIES = ("v1", "support", "kmod/other", "tests", "mutants", "fixes")
MODULES = ("own/fixtures.py", "own/shown.py")
FILES = (
    "own.config",
    "extra.config",
    "issues.yaml",
    "compat.yaml",
    "reasons.yaml",
    "own.c",
    "verbs.c",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A suite that has every key, with all that it names."""
    made = tmp_path / "suite"
    for name in DIRECTORIES:
        (made / name).mkdir(parents=True)
    (made / "own").mkdir()
    for name in (*FILES, *MODULES):
        (made / name).touch()
    (made / "image.yaml").write_text("name: own\npackages: []\nfiles: {}\n")
    (made / "suite.yaml").write_text(WHOLE)
    return made


def minimal(root: Path, more: str = "") -> Path:
    """Write a suite that says no more than it must, and *more*."""
    (root / "tests").mkdir(parents=True, exist_ok=True)
    (root / "suite.yaml").write_text(f"name: small\ntests: tests\n{more}")
    return root


# -- every key -------------------------------------------------------------------------------


def test_every_key_is_read(root: Path) -> None:
    suite = load_suite(root)
    assert [feature.name for feature in suite.features] == ["own-put", "own"]
    assert suite.needs == ("own",)
    assert suite.feature("own").series
    with pytest.raises(SpecError, match=r"no feature 'put' in"):
        suite.feature("put")
    assert (suite.name, suite.description, suite.root) == ("own", "one line", root)
    assert suite.file == root / "suite.yaml"
    assert suite.kernel == str(root.parent / "linux")
    assert (suite.series, suite.support) == (str(root / "v1"), root / "support")
    assert (suite.image.name, suite.image.path) == ("own", root / "image.yaml")
    assert (suite.image.programs, suite.verbs) == ((root / "own.c",), (root / "verbs.c",))
    assert suite.headers == ("linux/own.h",)
    assert suite.modules == (
        ModuleSpec(name="own", source=root / "kmod"),
        ModuleSpec(name="other", source=root / "kmod" / "other"),
    )
    assert suite.selftests == (
        SelftestSpec(directory="own", programs=("one", "two")),
        SelftestSpec(directory="plain", programs=("three",)),
    )
    assert suite.preconditions == Preconditions(
        files=("/dev/own",), refused=("own: broken",), reason="own: .*off", hint="it needs own=on"
    )
    assert suite.complaints == ("own: wrong .*",)
    assert suite.known_issues == root / "issues.yaml"
    assert (suite.tests, suite.mutants) == (root / "tests", root / "mutants")
    assert suite.fixes == root / "fixes"
    assert suite.compat == root / "compat.yaml"
    assert suite.coverage == CoverageSpec(files=r".*/own\.c", reasons=root / "reasons.yaml")
    assert (suite.arch, suite.matrix) == ("aarch64", ("default", "big"))
    assert suite.plugins == ("own.fixtures",)
    place = f"{root / 'suite.yaml'}:{line_of('  draws:')}"
    assert suite.sections == {
        "draws": ObjectSpec(module="own.shown", name="DRAWS", root=root, place=place)
    }


def test_example_has_every_key_that_there_is(root: Path) -> None:
    fields = {field.name for field in dataclasses.fields(Suite)} - {"root"}
    keys = {line.partition(":")[0] for line in WHOLE.splitlines() if line[0].isalpha()}
    assert keys == fields | {"fragments", "cmdline", "programs"}


def test_name_and_tests_are_enough(tmp_path: Path) -> None:
    suite = load_suite(minimal(tmp_path))
    assert (suite.name, suite.tests, suite.description) == ("small", tmp_path / "tests", "")
    for key in (
        "kernel",
        "series",
        "support",
        "known_issues",
        "mutants",
        "fixes",
        "compat",
        "coverage",
    ):
        assert getattr(suite, key) is None, key
    assert (suite.headers, suite.modules, suite.selftests, suite.plugins) == ((), (), (), ())
    assert suite.preconditions == Preconditions()
    assert suite.sections == {}
    assert (suite.profiles, suite.matrix) == (load_profiles(), ("default",))
    assert suite.image.path.is_relative_to(PROJECT_ROOT)


def test_kernel_with_a_name_stays_one(tmp_path: Path) -> None:
    assert load_suite(minimal(tmp_path, "kernel: 7.0.13\n")).kernel == "7.0.13"


def test_kernel_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    suite = load_suite(minimal(tmp_path, "kernel: ~/linux\n"))
    assert suite.kernel == str(tmp_path / "home" / "linux")


def test_shipped_suite_has_what_its_tests_need() -> None:
    suite = load_suite(PROJECT_ROOT)
    assert {"default", "debug"} <= set(suite.profiles)
    assert ("luo_test", PROJECT_ROOT / "tests" / "kmod") in [
        (m.name, m.source) for m in suite.modules
    ]
    assert (suite.tests / "test_boot.py").is_file()


# -- what is wrong ---------------------------------------------------------------------------

LINES = WHOLE.splitlines()


def line_of(text: str) -> int:
    """Return the number of the first line of the example that has *text*."""
    return next(number for number, line in enumerate(LINES, 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # keys
        ("headers:", "haeders:", "unknown key 'haeders'"),
        ("  refused:", "  refuse:", "unknown key 'refuse'"),
        ("  reasons:", "  raesons:", "unknown key 'raesons'"),
        ("    series: true", "    seires: true", "unknown key 'seires'"),
        ("needs: [own]", "needs: [onw]", "needs: there is no feature 'onw'"),
        ("    source: kmod", "    source: kmod\n    sauce: x", "unknown key 'sauce'"),
        (
            "    programs: [one, two]",
            "    programs: [one, two]\n    common: [x.c]",
            "unknown key 'common'",
        ),
        # types
        ("description: one line", "description: [1]", "description in suite must be str, not list"),
        ("kernel: ../linux", "kernel: 7.0", "kernel in suite must be str, not float"),
        ("headers: [linux/own.h]", "headers: linux/own.h", "headers in suite must be list"),
        ("headers: [linux/own.h]", "headers: [1]", "headers in suite must hold strings only"),
        ("  files: [/dev/own]", "  files: /dev/own", "files in suite.preconditions must be list"),
        ("    programs: [one, two]", "    programs: one", "programs in suite.selftests must be"),
        # files
        ("series: v1", "series: absent", "series: there is no"),
        ("support: support", "support: absent", "support: there is no"),
        ("image: image.yaml", "image: absent", "image: there is no"),
        ("programs: [own.c]", "programs: [absent.c]", "programs: there is no file"),
        ("    source: kmod", "    source: absent", "source: there is no"),
        ("known_issues: issues.yaml", "known_issues: absent", "known_issues: there is no"),
        ("tests: tests", "tests: absent", "tests: there is no"),
        ("mutants: mutants", "mutants: absent", "mutants: there is no"),
        ("  reasons: reasons.yaml", "  reasons: absent", "reasons: there is no"),
        ("fragments: [own.config]", "fragments: [absent.config]", "no such fragment: absent"),
        ("    fragments: [base.config, extra", "    fragments: [absent, extra", "no such fragment"),
        # regular expressions
        ("  refused: ['own: broken']", "  refused: ['a', '(']", "refused: '(' is no regular"),
        ("  reason: 'own: .*off'", "  reason: '*'", "reason: '*' is no regular expression"),
        ("  files: '.*/own", "  files: '[/own", "is no regular expression"),
        # names and numbers
        ("name: own", "name: My Suite", "'My Suite' is no name"),
        ("name: own", "name: -x", "'-x' is no name"),
        ("name: own", "name: ''", "'' is no name"),
        ("    memory_mib: 2048", "    memory_mib: 1", "memory_mib must be at least 64"),
        ("matrix: [default, big, default]", "matrix: [large]", "matrix: no profile 'large'"),
        (
            "plugins: [own.fixtures]",
            "plugins: [own.gone]",
            "plugins: there is no module 'own.gone'",
        ),
        ("plugins: [own.fixtures]", "plugins: [gone.x]", "plugins: there is no module 'gone.x'"),
        ("matrix: [default, big, default]", "matrix: []", "matrix: names no profile"),
        ("matrix: [default, big, default]", "matrix: [big@arm]", "matrix: no architecture 'arm'"),
        (
            "  draws: own.shown:DRAWS",
            "  draws: own.shown",
            "'own.shown' is not written module:",
        ),
        (
            "  draws: own.shown:DRAWS",
            "  draws: own.gone:X",
            "there is no module 'own.gone'",
        ),
        ("  draws: own.shown:DRAWS", "  draws: [own]", "draws in suite.sections must be str, not"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(
    root: Path, old: str, new: str, message: str
) -> None:
    assert old in WHOLE
    (root / "suite.yaml").write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load_suite(root)
    assert message in caught.value.message
    line = line_of(old) + new.count("\n")
    assert caught.value.message.startswith(f"{root / 'suite.yaml'}:{line}: ")


@pytest.mark.parametrize("key", ["name", "tests"])
def test_key_that_is_needed_is_named(root: Path, key: str) -> None:
    lines = [line for line in LINES if not line.startswith(f"{key}:")]
    (root / "suite.yaml").write_text("\n".join(lines))
    with pytest.raises(SpecError, match=rf"suite\.yaml:1: suite lacks the key '{key}'"):
        load_suite(root)


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ("modules:\n  - name: x\n", 4, "lacks the key 'source'"),
        ("modules:\n\n  - source: tests\n", 5, "lacks the key 'name'"),
        ("selftests:\n  - directory: x\n", 4, "lacks the key 'programs'"),
        ("coverage:\n  reasons: tests\n", 4, "lacks the key 'files'"),
        ("modules: [tests]\n", 3, "must be a list of mappings"),
        ("modules: tests\n", 3, "must be list, not str"),
        ("preconditions: [a]\n", 3, "must be dict, not list"),
        ("profiles: {big: 1}\n", 3, "must be dict, not int"),
    ],
)
def test_part_that_lacks_something_is_told_with_its_line(
    tmp_path: Path, more: str, line: int, message: str
) -> None:
    minimal(tmp_path, more)
    with pytest.raises(SpecError) as caught:
        load_suite(tmp_path)
    assert message in caught.value.message
    assert caught.value.message.startswith(f"{tmp_path / 'suite.yaml'}:{line}: ")


def test_suite_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*suite\.yaml"):
        load_suite(tmp_path)


def test_fragment_that_is_missing_says_where_it_was_looked_for(root: Path) -> None:
    (root / "own.config").unlink()
    with pytest.raises(SpecError) as caught:
        load_suite(root)
    assert str(root) in (caught.value.hint or "")
    assert str(CONFIGS_DIR) in (caught.value.hint or "")


# -- profiles --------------------------------------------------------------------------------


def test_every_profile_gets_what_the_suite_adds(root: Path) -> None:
    suite, plain = load_suite(root), load_profiles()
    assert set(suite.profiles) == {*plain, "big"}
    for name, profile in plain.items():
        found = suite.profile(name)
        assert found.fragments == (*profile.fragments, root / "own.config")
        # What the profile says comes later, and so has the last word.
        assert found.cmdline == ("own=on", *profile.cmdline)
        assert found.memory_mib == profile.memory_mib


def test_profile_of_the_suite_takes_fragments_from_both_places(root: Path) -> None:
    big = load_suite(root).profile("big")
    assert big.fragments == (
        CONFIGS_DIR / "base.config",
        root / "extra.config",
        root / "own.config",
    )
    assert (big.cmdline, big.memory_mib) == (("own=on", "big"), 2048)


def test_fragment_of_the_suite_goes_before_one_of_the_same_name(root: Path) -> None:
    (root / "base.config").touch()
    assert load_suite(root).profile("big").fragments[0] == root / "base.config"


def test_profile_of_the_same_name_replaces(tmp_path: Path) -> None:
    more = (
        "cmdline: [own=on]\nprofiles:\n  default:\n    description: mine\n"
        "    fragments: [base.config]\n    memory_mib: 128\n"
    )
    suite = load_suite(minimal(tmp_path, more))
    default = suite.profile("default")
    assert (default.description, default.memory_mib) == ("mine", 128)
    assert default.fragments == (CONFIGS_DIR / "base.config",)
    assert default.cmdline == ("own=on",), "nothing is left of the one that was replaced"
    assert suite.profile("debug").memory_mib == load_profiles()["debug"].memory_mib


def test_unknown_profile_lists_the_known(tmp_path: Path) -> None:
    suite = load_suite(minimal(tmp_path))
    with pytest.raises(SpecError, match=rf"no profile 'huge' in {suite.file}") as caught:
        suite.profile("huge")
    assert caught.value.hint == f"known profiles: {', '.join(load_profiles())}"


# -- which suite -----------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory; no suite is in it."""
    made = tmp_path / "here"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def test_suite_that_is_given_goes_first(tmp_path: Path, here: Path) -> None:
    minimal(here)
    other = minimal(tmp_path / "other")
    assert find_suite(str(other)) == other
    assert find_suite("../other") == other


def test_suite_in_the_home_directory(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    minimal(tmp_path / "other")
    assert find_suite("~/other") == tmp_path / "other"


@pytest.mark.parametrize("given", [None, ""])
def test_suite_of_the_current_directory_goes_before_the_shipped_one(
    here: Path, given: str | None
) -> None:
    assert find_suite(given) == PROJECT_ROOT
    minimal(here)
    assert find_suite(given) == here


def test_directory_without_a_suite_is_refused_when_it_is_given(here: Path) -> None:
    with pytest.raises(SpecError, match=r"absent: no suite\.yaml there") as caught:
        find_suite("absent")
    assert "--suite" in (caught.value.hint or "")
