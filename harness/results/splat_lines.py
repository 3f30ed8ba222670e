# SPDX-License-Identifier: GPL-2.0-only
"""What lines inside the kernel's reports look like: headlines of traces, registers, ends.

The texts are those of x86, arm, arm64 and riscv (``arch/*/kernel/traps.c``, ``dumpstack.c``,
``process.c``, ``arch/*/mm/fault.c``), of lockdep, KASAN and the other detectors.
"""

from __future__ import annotations

import re

CUT_HERE = re.compile(r"-{8,}\[ cut here \]-{8,}")
FENCE = re.compile(r"^\s*(?:[=\-*]{20,}|={10,}|-{10,}|\*{10,})\s*$")
END_TRACE = re.compile(r"---\[ end (?!Kernel panic)\w")
TRACE = re.compile(r"Call [Tt]race:|\S\+0x[0-9a-f]+/0x[0-9a-f]+")
BOOT = re.compile(r"Linux version \d|Booting Linux on physical CPU")
BACKTRACES = re.compile(r"NMI backtrace for cpu|Sending NMI from CPU|backtrace for CPU")

CONFIRMED = re.compile(
    r"CPU: ?\d+ .*(?:PID|Comm): |Call [Tt]race:|Modules linked in:|(?:RIP|pc|epc) ?: \S"
    r"|stack backtrace:|Hardware name: "
)
"""What only stands below the first line of a report."""

REGISTERS = re.compile(
    r"^\s*(?:RIP|EIP|RSP|ESP|Code|RAX|EAX|RBX|RCX|RDX|RSI|ESI|RDI|RBP|EBP|R\d\d|FS|CS|DS|CR\d|DR\d"
    r"|PKRU|EFER|EFLAGS|DAR|SS|GS): "
    r"|^\s*(?:pc|lr|sp|epc|ra|gp|tp|[atsx]\d{1,2}|pstate|status|psr|ip|fp|r\d{1,2}) ?: "
    r"|^(?:PC|LR) is at |^note: |^Modules linked in|^Kernel Offset:|^PHYS_OFFSET:|^CPU features:"
    r"|^Memory Limit:|^SMP: stopping|^Dumping ftrace|^Rebooting in \d+ s|^CPU: ?\d|^Hardware name: "
    r"|^Fixing recursive fault|^Shutting down cpus|^---\[ end Kernel panic|^Tainted: "
    r"|BUG: unable to handle kernel.{0,3}$"
)
"""What an oops prints again behind its end, and what a panic adds."""

_MEMBERS = (
    r"\S\+0x[0-9a-f]+/0x[0-9a-f]+",
    r"\[<[0-9a-f]{8,16}>\]",
    r"Call [Tt]race:",
    r"^\s*</?(?:TASK|IRQ|NMI|SOFTIRQ|#DF|#DB|EOI|\w+)>$",
    r"^\s*\??\s*0x[0-9a-f]{8,16}$",
    r"irq event stamp",
    r"(?:hard|soft)irqs last",
    r"^stack backtrace",
    r"^Stack:",
    r"^Backtrace:",
    r"backtrace:$",
    r"^Workqueue: ",
    r"^Stopper: ",
    r"^Comm: ",
    r"^kernel tried",
    r"^Disabling lock debugging",
    r"^\[[0-9a-f]{8,16}\]",
    r"^Oops",
    r"^PGD ",
    r"^#PF",
    r"^BUG: unable",
    r"^\*pgd",
    r"^swapper pgtable",
    r"^user pgtable",
    r"^Current \S+ pgtable",
    r"^Mem abort",
    r"^Data abort",
    r"^  (?:ESR|EC|SET|EA|FSC|ISV|CM|GCS|SSE|SF|Access)",
    r"^KASAN: ",
    r"^(?:ESR|FAR|(?:Task|IRQ|Overflow) stack): ?",
    r"^(?:Read|Write|Free) (?:of|at) ",
    r"^(?:Allocated|Freed|Last|Second to last|First) ",
    r"^(?:allocated|freed) by ",
    r"^The buggy",
    r"buggy address",
    r"^which belongs",
    r"^Memory state",
    r"^page:",
    r"^flags:",
    r"^raw:",
    r"^page dumped",
    r"^page (?:last|owner|type|allocated)",
    r"^head:",
    r"^ksm",
    r"^Pointer tag",
    r"^\s*[>]?ffff",
    r"^\s*>?[0-9a-f]{8,16}: ",
    r"^\s+\^",
    r"^The mapping",
    r"^vmalloc",
    r"^\s*\d+-page vmalloc",
    r"region starting",
    r"^kfence-#",
    r"^value changed",
    r"^(?:read|write|race|assert)(?: \(\w+\))? ",
    r"^Reported by Kernel",
    r"^Uninit was",
    r"^Bytes? \d",
    r"^Memory access of size",
    r"^Local variable",
    r"^Data copied",
    r"^(?:index|shift|load|store|member|division|signed|unsigned|negation|value|\d+ [+*-]) ",
    r"^(?:INFO|FIX|Object|Redzone|Padding|Bytes b4|Slab|Process|Disabling|Fix) ",
    r"^\d+ locks? held",
    r"^\s*#\d+:",
    r"^no locks held",
    r"other info",
    r"-> ?#\d",
    r"existing dependency",
    r"^but task",
    r"^but \S+ lock",
    r"which lock",
    r"Chain exists",
    r"[Pp]ossible .*unsafe",
    r"\*\*\* DEADLOCK",
    r"^\s*lock\(",
    r"^\s+CPU\d",
    r"^\s*<Interrupt>",
    r"^\s*-{4,}$",
    r"^\s*\.\.\.",
    r"^\s*=+>",
    r"^\s*\}",
    r"ops: \d+",
    r"^\s*[\w-]+ (?:at|USE at):",
    r"acquired at",
    r"is trying to",
    r"already holding",
    r"just changed",
    r"took a",
    r"dependencies between",
    r"^and (?:this|interrupt)",
    r"^to a \S+-irq-unsafe",
    r"^the (?:shortest|dependencies)",
    r"^\{\S+\} state",
    r"state was registered",
    r"^context-",
    r"suspicious rcu",
    r"rcu_scheduler_active",
    r"^RCU (?:used|nest)",
    r"^in_atomic",
    r"^preempt_count",
    r"^Preemption disabled",
    r"^(?:last )?function: ",
    r"^turning off",
    r"^you didn't",
    r"^the code is fine",
    r"^(?:maybe|Maybe) you",
    r"^Please attach",
    r"^depth: ",
    r"^Hash chain",
    r"^(?:class|chain)_",
    r"^rcu: ",
    r"^\s*\(t=",
    r"^\s*\(detected by",
    r"^\s*Tasks blocked",
    r"^Unless ",
    r"^task:",
    r"^NMI backtrace",
    r"^Sending NMI",
    r"^Not tainted",
    r"^\s+(?:Not tainted|Tainted|Blocked by)",
    r"^\"echo 0",
    r"^INFO: (?:task|lockdep|Stall)",
    r"^Showing ",
    r"^Task dump",
    r"^blocking rcu_node",
    r"^Kernel panic",
    r"^ref_tracker",
    r"^leaked reference",
    r"^unreferenced object",
    r"^\s+(?:comm|hex dump|backtrace|[0-9a-f]{2} [0-9a-f]{2} )",
    r"^\s+(?:pwq|in-flight|pending|inactive|delayed|workqueue)",
    r"^workqueue ",
    r"^pool \d",
    r"^addr:",
    r"^file:",
    r"^page_type",
    r"^Internal error",
    r"^Exception ",
    r"^handlers:",
    r"^Disabling IRQ",
    r"^---\[",
    r"Tainted: ",
    r"^ret_from",
    r"^entry_",
    r"^\d+\.\d+\.\d+\S* ",
)
MEMBER = re.compile("|".join((REGISTERS.pattern, *_MEMBERS)))
"""Lines that belong to a report when they are near it."""
