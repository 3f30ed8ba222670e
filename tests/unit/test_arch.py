# SPDX-License-Identifier: GPL-2.0-only
"""What a guest's processor is, and how one is told that is another."""

from __future__ import annotations

import pytest

from harness.base.arch import AARCH64, ARCHITECTURES, X86_64, Architecture

OWN = " ".join(X86_64.processor.flags)


def why(flags: str, *cmdline: str) -> str | None:
    text = f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: avx2\n\n"
    return X86_64.why_other_processor(text, cmdline)


def test_processor_with_what_it_is_to_have_is_the_one() -> None:
    assert why(OWN) is None


def test_flags_that_kernels_add_make_no_other_processor() -> None:
    assert why(f"{OWN} nopl cpuid tsc_reliable") is None


def test_flag_that_is_missing_is_named() -> None:
    assert why(OWN.replace(" cx16", "").replace(" nx", "")) == "lacks cx16 nx"


def test_flag_that_is_too_many_is_named() -> None:
    assert why(f"sha_ni {OWN} avx2") == "has also avx2 sha_ni"


def test_second_cpu_that_differs_is_seen() -> None:
    text = f"flags : {OWN}\n\nflags : {OWN.replace(' nx', '')} ssse3\n"
    assert X86_64.why_other_processor(text, ()) == "lacks nx and has also ssse3"


def test_text_without_flags_is_no_proof() -> None:
    assert X86_64.why_other_processor("processor : 0\n", ()) == "tells no flags"


@pytest.mark.parametrize("word", ["clearcpuid=rdrand", "clearcpuid=62", "nordrand"])
def test_flag_that_a_parameter_takes_away_may_be_missing(word: str) -> None:
    assert why(OWN.replace(" rdrand", ""), "kho=on", word) is None


def test_parameter_that_takes_flags_away_adds_none() -> None:
    assert why(f"{OWN} ssse3", "clearcpuid=rdrand") == "has also ssse3"


def test_processor_has_no_vector_instructions_that_are_slow_to_emulate() -> None:
    slow = {"ssse3", "sse4_1", "sse4_2", "avx", "avx2", "sha_ni", "aes", "pclmulqdq", "la57"}
    assert not slow & set(X86_64.processor.flags)


def test_processor_of_another_architecture_has_its_own_words() -> None:
    own = " ".join(AARCH64.processor.flags)
    text = f"processor\t: 0\nBogoMIPS\t: 125.00\nFeatures\t: {own} evtstrm cpuid\n\n"
    assert AARCH64.why_other_processor(text, ()) is None
    assert AARCH64.why_other_processor(text.replace("aes", "paca"), ()) == (
        "lacks aes and has also paca"
    )
    assert AARCH64.why_other_processor("flags : fp\n", ()) == "tells no Features"


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=list(ARCHITECTURES))
def test_machine_is_one_of_a_version(arch: Architecture) -> None:
    assert arch.machine.partition(",")[0].endswith(f"-{arch.qemu_oldest}")


@pytest.mark.parametrize(
    ("asked", "program"),
    [
        ("gcc", "aarch64-linux-gnu-gcc"),
        ("gcc-14", "aarch64-linux-gnu-gcc-14"),
        ("aarch64-linux-gnu-gcc-14", "aarch64-linux-gnu-gcc-14"),
        ("/opt/bin/cross-gcc", "/opt/bin/cross-gcc"),
    ],
)
def test_compiler_for_another_architecture_has_its_prefix(
    monkeypatch: pytest.MonkeyPatch, asked: str, program: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert AARCH64.compiler(asked) == program
    assert X86_64.compiler("gcc-14") == "gcc-14"


def test_tools_of_the_hosts_architecture_have_no_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert (AARCH64.prefix, AARCH64.compiler("gcc"), AARCH64.gdb) == ("", "gcc", "gdb")
    assert (X86_64.prefix, X86_64.gdb) == ("x86_64-linux-gnu-", "gdb-multiarch")
