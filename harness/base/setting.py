# SPDX-License-Identifier: GPL-2.0-only
"""What a setting is; :mod:`harness.base.settings` says which there are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from harness.base.errors import SpecError


class Group(StrEnum):
    """What a setting is about; each is a heading of the help."""

    TREE = "what is tested"
    TARGET = "where"
    MACHINE = "machines"
    OUTCOME = "results"
    HOST = "this host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """An option without a value, which stands for one value of a setting."""

    option: str
    value: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, under the name that it has everywhere.

    :param metavar: what the help calls its value.
    :param help: one line, without the default.
    :param default: what it is when nobody says anything; ``None`` when *otherwise* says it.
    :param otherwise: what happens without it, in words; empty when it needs none.
    :param choices: all values that it may have; empty when it may have any.
    :param short: a letter that the command line takes as well.
    :param flag: what the command line has in place of ``--NAME VALUE``.
    :param inherited: whether tests take it from the environment of what starts them, because it
        changes none of their results.
    """

    name: str
    group: Group
    metavar: str
    help: str
    default: str | None = None
    otherwise: str = ""
    choices: tuple[str, ...] = ()
    short: str | None = None
    flag: Flag | None = None
    inherited: bool = False

    @property
    def option(self) -> str:
        """Its option on the command line, of those commands that have use for it."""
        return self.flag.option if self.flag is not None else f"--{self.name}"

    @property
    def plugin_option(self) -> str:
        """Its option on pytest's command line."""
        return f"--harness-{self.name}"

    @property
    def variable(self) -> str:
        """Its variable in the environment."""
        return f"HARNESS_{self.name.upper()}"

    @property
    def ini(self) -> str:
        """Its key in pytest's ini file."""
        return f"harness_{self.name}"

    @property
    def text(self) -> str:
        """The help, with what happens when nobody says anything."""
        otherwise = self.default or self.otherwise
        return f"{self.help} (default: {otherwise})" if otherwise else self.help

    def words(self, value: str) -> list[str]:
        """Return what says *value* on the command line; nothing where only a flag could."""
        if self.flag is None:
            return [self.option, value]
        return [self.option] if value == self.flag.value else []

    def value(self, given: object, ini: str = "") -> str | None:
        """Return its value: command line, environment, ini file, default, in this order.

        :param given: what the command line says, ``None`` when it does not.
        :param ini: what the ini file says; there, and in the environment, empty is nothing.
        :raises SpecError: when it is none of the choices.
        """
        if given is not None:
            return self.checked(str(given))
        return self.checked(os.environ.get(self.variable) or ini or self.default)

    def checked(self, value: str | None) -> str | None:
        """Return *value*.

        :raises SpecError: when it is none of the choices.
        """
        if value is not None and self.choices and value not in self.choices:
            raise SpecError(
                f"{self.name} is {' or '.join(self.choices)}, not {value!r}",
                hint=f"{self.option}, {self.plugin_option}, {self.variable} and the ini file's "
                f"{self.ini} set it",
            )
        return value
