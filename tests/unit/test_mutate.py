# SPDX-License-Identifier: GPL-2.0-only
"""Generated mutants: made of C, put into one program, switched on by number, tried in order."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.base.errors import InputError, SpecError
from harness.base.mutation import MutationSpec, SwapSpec
from harness.base.settings import UNTIL_FAILED, target_from_settings
from harness.base.suite import load_suite
from harness.cli.mutants import _shard
from harness.results.directory import LEFT_FILE, TEST_FILE
from harness.results.expectation import Expected
from harness.results.results import Outcome, TestResult
from harness.search.generated import (
    Generated,
    Schemata,
    chosen,
    mutant_cell,
    read_equivalent,
    seconds_of,
    sound_cell,
)
from harness.search.mutate import Mutation, mutations_of
from harness.search.reach import gcov_of, gone_on, reaching_tests, read_reach
from harness.search.schemata import all_in_one, at_fault, one, with_all

SPEC = MutationSpec(
    files=("lib/count.c",),
    drop=("put|note",),
    double=("put|get",),
    instead={"get": "1"},
    rename={"first": "last"},
    locks={"hold": "release"},
    assign=(r"\.seen$", r"^\*"),
    swap=(SwapSpec(function="order", first="hold", second="note"),),
    profiles={},
    first={"*.order.*": "test_a"},
    at_reboot=("reboot",),
    equivalent=None,
)

SOURCE = b"""\
#include <errno.h>
#include <stdio.h>

#define __init
#define scoped_guard(kind, lock) for (int once = (hold(lock), 1); once; once = (release(lock), 0))

static int refs, held;
struct thing { int seen; };

static int get(void) { return ++refs; }
static void put(void) { refs--; }
static void hold(int *lock) { ++*lock; }
static void release(int *lock) { --*lock; }
static void note(const char *word) { printf("%s%d ", word, held); }

static int __init start(struct thing *it, int *out)
{
	if (!get())
		return -ENOMEM;
	it->seen = 1;
	*out = 5;
	put();
	return -EBUSY;
}

static void order(void)
{
	hold(&held);
	note("in");
	release(&held);
	scoped_guard(mutex, &held)
		note("guarded");
}

int main(int argc, char **argv)
{
	struct thing it = { 0 };
	int out = 0, err;

	ASK(argc > 1 ? argv[1] : "0");
	err = start(&it, &out);
	order();
	printf("err %d seen %d out %d refs %d\\n", err, it.seen, out, refs);
	return 0;
}
"""


def made(spec: MutationSpec = SPEC, source: bytes = SOURCE) -> dict[str, Mutation]:
    return {m.name: m for m in mutations_of("lib/count.c", source, spec)}


def test_every_operator_finds_its_places() -> None:
    assert [name for name in made() if ".start." in name or ".order." in name] == [
        "count.start.drop.put",
        "count.start.double.put",
        "count.start.instead.get",
        "count.start.instead.get.twice",
        "count.start.errno.ENOMEM",
        "count.start.errno.EBUSY",
        "count.start.assign.out",
        "count.order.drop.note",
        "count.order.drop.note.2",
        "count.order.unlock.scoped_guard",
        "count.order.unlock.hold",
        "count.order.swap.note_in",
    ]


def test_assignment_through_a_pointer_is_found_by_its_field() -> None:
    found = made(replace(SPEC, assign=("->seen$",)))
    assert found["count.start.assign.it_seen"].lines == (20,)
    assert found["count.start.assign.it_seen"].what == "start(): leaves out it->seen = 1;"


def test_name_does_not_depend_on_lines() -> None:
    assert list(made(source=b"/* a\n * b\n */\n" + SOURCE)) == list(made())


def test_what_stands_behind_a_label_is_left_out() -> None:
    source = b"""\
int open(void)
{
	if (busy())
		goto undo;
	return 0;
undo:
	close();
	if (mapped)
		unmap();
	return 1;
}
"""
    found = mutations_of("a.c", source, replace(SPEC, drop=()))
    assert [m.name for m in found] == [
        "a.open.cleanup.undo.close",
        "a.open.cleanup.undo.if",
    ]


def test_function_of_a_variable_number_of_arguments_is_left_alone() -> None:
    assert mutations_of("a.c", b"void f(int a, ...)\n{\n\tput();\n}\n", SPEC) == ()


# -- one program ------------------------------------------------------------------------------


def build(tmp_path: Path, text: bytes) -> Path:
    """Build a file with headers that stand for the kernel's."""
    (tmp_path / "linux").mkdir(exist_ok=True)
    (tmp_path / "linux/export.h").write_text("#define EXPORT_SYMBOL_GPL(x)\n")
    (tmp_path / "linux/moduleparam.h").write_text(
        "#include <stdlib.h>\n#define core_param(name, value, type, mode)\n"
        "#define ASK(text) (harness_mutant = atoi(text))\n"
    )
    (tmp_path / "count.c").write_bytes(text)
    words = ["gcc", "-I", ".", "-o", "count", "count.c"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "count"


def test_one_program_behaves_as_the_mutant_that_is_switched_on(tmp_path: Path) -> None:
    spec = replace(SPEC, assign=("->seen$", r"^\*"))
    mutations = dict(enumerate(made(spec).values(), 1))
    program = build(tmp_path, with_all(mutations, {"lib/count.c": SOURCE})["lib/count.c"])

    def said(name: str) -> str:
        number = next((n for n, m in mutations.items() if m.name == name), 0)
        assert number or not name, name
        return subprocess.run(
            [program, str(number)], check=True, capture_output=True, text=True
        ).stdout.strip()

    assert said("") == "in1 guarded1 err -16 seen 1 out 5 refs 0"
    assert said("count.start.drop.put") == "in1 guarded1 err -16 seen 1 out 5 refs 1"
    assert said("count.start.double.put") == "in1 guarded1 err -16 seen 1 out 5 refs -1"
    assert said("count.start.instead.get.twice").endswith("refs 1")
    assert said("count.start.errno.EBUSY").startswith("in1 guarded1 err -5 ")
    assert said("count.start.assign.it_seen").endswith("seen 0 out 5 refs 0")
    assert said("count.start.assign.out").endswith("seen 1 out 0 refs 0")
    assert said("count.order.unlock.scoped_guard").startswith("in1 guarded0 ")
    assert said("count.order.unlock.hold").startswith("in0 guarded1 ")
    assert said("count.order.swap.note_in").startswith("in0 guarded1 ")


def test_mutant_that_does_not_compile_is_named(tmp_path: Path) -> None:
    spec = replace(SPEC, instead={"get": "nothing_of_that_name"}, double=())
    mutations = dict(enumerate(made(spec).values(), 1))
    sources = {"lib/count.c": SOURCE}
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/count.c").write_bytes(with_all(mutations, sources)["lib/count.c"])
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux/export.h").write_text("#define EXPORT_SYMBOL_GPL(x)\n")
    (tmp_path / "linux/moduleparam.h").write_text(
        "#define core_param(a, b, c, d)\n#define ASK(x)\n"
    )
    words = ["gcc", "-fsyntax-only", "-I", ".", "-Wno-implicit-function-declaration", "lib/count.c"]
    log = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True).stderr
    found = at_fault(log, mutations, sources)
    assert [mutations[number].name for number in found] == ["count.start.instead.get"]
    assert "nothing_of_that_name" in next(iter(found.values()))
    assert at_fault("lib/count.c:1:1: error: not a mutant's\n", mutations, sources) == {}


@pytest.mark.parametrize("which", ["all", "one"])
def test_patch_applies(tmp_path: Path, which: str) -> None:
    mutations = dict(enumerate(made().values(), 1))
    sources = {"lib/count.c": SOURCE}
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/count.c").write_bytes(SOURCE)
    text = all_in_one(mutations, sources) if which == "all" else one(mutations[1], sources)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "base"]):
        subprocess.run([*git, *words], check=True)
    subprocess.run([*git, "am", "-q"], input=text.encode(), check=True)
    changed = (tmp_path / "lib/count.c").read_bytes()
    assert (changed == with_all(mutations, sources)["lib/count.c"]) is (which == "all")
    assert changed != SOURCE


# -- which are tried, and by what ---------------------------------------------------------------


def generated() -> Generated:
    mutations = dict(enumerate(made().values(), 1))
    slow = {n: "debug" if m.operator == "unlock" else "default" for n, m in mutations.items()}
    return Generated(
        sources={"lib/count.c": SOURCE}, mutations=mutations, profiles=slow, equivalent={}
    )


def test_shards_are_all_of_it_and_nothing_twice() -> None:
    whole = chosen(generated(), (), None, (1, 1))
    parts = [chosen(generated(), (), None, (k, 3)) for k in (1, 2, 3)]
    assert sorted(number for part in parts for number in part) == whole
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_kernel_without_a_mutant_is_asked_as_those_with_one(tmp_path: Path) -> None:
    target = target_from_settings({}.get)
    schemata = Schemata(target=replace(target, extra=(tmp_path / "a.patch",)), wrong={})
    sound, mutant = sound_cell(schemata), mutant_cell(schemata, 7, ("test_a.py::test_b",))
    assert mutant == replace(
        sound,
        tests=("test_a.py::test_b",),
        pytest_args=(UNTIL_FAILED, "--maxfail=5", *sound.pytest_args),
        cmdline="harness_mutant=7",
    )


def test_only_what_passes_every_time_can_notice_a_mutant() -> None:
    tests = [
        TestResult(id="a", outcome=Outcome.PASSED, seconds=2),
        TestResult(id="b", outcome=Outcome.FAILED, seconds=1),
        TestResult(id="c", outcome=Outcome.PASSED, seconds=1, expected=Expected.EITHER),
    ]
    assert seconds_of(tests) == {"a": 2}


def test_names_and_profile_choose() -> None:
    found = generated()
    names = [found.mutations[n].name for n in chosen(found, ["*.unlock.*"], "debug", (1, 1))]
    assert names == ["count.order.unlock.scoped_guard", "count.order.unlock.hold"]
    assert chosen(found, ["*.unlock.*"], "default", (1, 1)) == []
    with pytest.raises(InputError, match="no generated mutant 'flb'"):
        chosen(found, ["flb"], None, (1, 1))


def test_those_that_no_test_can_notice_are_tried_when_asked_for() -> None:
    found = replace(generated(), equivalent={1: "nobody asks", 4: "nobody asks"})
    parts = [chosen(found, (), None, (k, 3), equivalent=True) for k in (1, 2, 3)]
    assert {1, 4} <= set(parts[0])
    assert [chosen(found, (), None, (k, 3)) for k in (1, 2, 3)] == [
        [number for number in part if number not in (1, 4)] for part in parts
    ]
    assert chosen(found, [found.mutations[1].name], None, (1, 1)) == [1]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0"])
def test_wrong_shard_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no part of a whole"):
        _shard(text)
    assert _shard("2/3") == (2, 3)


def test_equivalent_mutants_have_reasons_and_must_be_there(tmp_path: Path) -> None:
    file = tmp_path / "equivalent.yaml"
    file.write_text("- mutant: 'count.order.*'\n  reason: nobody\n    asks\n")
    found = read_equivalent(file, generated().mutations)
    assert set(found.values()) == {"nobody asks"}
    assert len(found) == 5
    file.write_text("- {mutant: count.gone.drop.put, reason: it was}\n")
    with pytest.raises(SpecError, match=r"equivalent\.yaml:1: .*count\.gone"):
        read_equivalent(file, generated().mutations)


def test_tests_that_a_mutant_is_tried_by_first() -> None:
    assert SPEC.first_of("count.order.drop.put", "drop") == "test_a"
    assert SPEC.first_of("count.start.drop.put", "drop") == ""
    assert (
        replace(SPEC, first={"drop": "test_b"}).first_of("count.start.drop.put", "drop") == "test_b"
    )


def test_wrong_operator_and_name_are_refused(tmp_path: Path) -> None:
    for wrong, message in (
        ("profiles: {explode: debug}", "no operator 'explode'"),
        ("first: {explode: test_a}", "no operator 'explode'"),
        ("first: {drop: '('}", "no regular expression"),
        ("rename: {a: 'b c'}", "'b c' is no name of C"),
    ):
        (tmp_path / "suite.yaml").write_text(
            f"name: a\ntests: .\nmutation:\n  files: []\n  {wrong}\n"
        )
        load_suite.cache_clear()
        with pytest.raises(SpecError, match=re.escape(message)):
            load_suite(tmp_path)


def test_tests_that_reach_a_line_come_shortest_first() -> None:
    reach = {
        "slow": frozenset({("a.c", 4)}),
        "quick": frozenset({("a.c", 4), ("a.c", 5)}),
        "elsewhere": frozenset({("b.c", 4)}),
        "fails-anyway": frozenset({("a.c", 4)}),
    }
    seconds = {"slow": 3.0, "quick": 0.5, "elsewhere": 0.1}
    assert reaching_tests("a.c", (3, 4), reach, seconds) == ("quick", "slow")
    assert reaching_tests("a.c", (5,), reach, seconds) == ("quick",)
    assert reaching_tests("a.c", (6,), reach, seconds) == ()
    assert reaching_tests("a.c", (6,), {}, seconds) == ("elsewhere", "quick", "slow")
    # It has run on another profile only.
    found = reaching_tests("a.c", (5,), reach, seconds | {"other-profile": 0.1})
    assert found == ("other-profile", "quick")
    assert reaching_tests("a.c", (4,), reach, seconds, "^sl") == ("slow", "quick")


def test_lines_are_counted_for_the_test_that_ran(tmp_path: Path) -> None:
    source = tmp_path / "src/lib/way.c"
    source.parent.mkdir(parents=True)
    source.write_text(
        "int done(int);\nint way(int n)\n{\n\tif (n > 1)\n\t\treturn -22;\n\treturn done(n);\n}\n"
    )
    objects = tmp_path / "obj/lib"
    objects.mkdir(parents=True)
    main = objects / "main.c"
    main.write_text(
        "int way(int); int done(int n) { return n; }\n"
        "int main(int argc, char **argv) { return way(argc) == 3; }\n"
    )
    for words in (
        ["--coverage", "-c", source, "-o", "way.o"],
        ["-c", main, "-o", "main.o"],
        ["--coverage", "way.o", "main.o", "-o", "way"],
    ):
        subprocess.run(["gcc", "-O2", *words], cwd=objects, check=True)
    directories = []
    for test, words in (("test_a.py::test_short", []), ("test_a.py::test_long", ["y"])):
        subprocess.run([objects / "way", *words], cwd=objects, check=True)
        kept = tmp_path / f"{len(directories):04}-0-key"
        (kept / "lib").mkdir(parents=True)
        (kept / "lib/way.gcno").write_bytes((objects / "way.gcno").read_bytes())
        (kept / "lib/way.gcda").write_bytes((objects / "way.gcda").read_bytes())
        (objects / "way.gcda").unlink()
        (kept / TEST_FILE).write_text(test)
        directories.append(kept)
    found = read_reach(directories, ["lib/way.c", "lib/other.c"])
    assert {("lib/way.c", 6)} <= found["test_a.py::test_short"] - found["test_a.py::test_long"]
    # With optimization there is nothing to count in it: it is reached with the condition.
    assert ("lib/way.c", 5) in found["test_a.py::test_long"]
    assert gone_on(directories) == frozenset()
    (directories[0] / TEST_FILE).write_text("")
    assert list(read_reach(directories, ["lib/way.c"])) == ["test_a.py::test_long"]


def test_lines_of_the_reboot_are_reached_by_who_goes_to_the_next_kernel(tmp_path: Path) -> None:
    for name, test in (("0000-0-key", "stays"), ("0001-0-key", "goes"), ("0002-1-key", "goes")):
        (tmp_path / name).mkdir()
        (tmp_path / name / TEST_FILE).write_text(test)
    directories = sorted(tmp_path.iterdir())
    assert gone_on(directories) == {"goes"}
    (tmp_path / "0000-0-key" / LEFT_FILE).touch()
    assert gone_on(directories) == {"goes", "stays"}
    (tmp_path / "0000-0-key" / LEFT_FILE).unlink()
    reach = read_reach(directories, ["a.c"], {("a.c", 5)})
    seconds = {"stays": 1.0, "goes": 2.0}
    assert reaching_tests("a.c", (5,), reach, seconds) == ("goes",)
    assert reaching_tests("a.c", (6,), reach, seconds) == ()


@pytest.mark.parametrize(
    ("cc", "gcov"),
    [
        ("gcc", "gcov"),
        ("aarch64-linux-gnu-gcc-14", "aarch64-linux-gnu-gcov-14"),
        ("/opt/gcc-14/bin/gcc", "/opt/gcc-14/bin/gcov"),
    ],
)
def test_counters_are_read_by_the_gcov_of_their_compiler(cc: str, gcov: str) -> None:
    assert gcov_of(cc) == gcov
