"""Requirements: what must hold of a run, as signal temporal logic.

    tree, operators, templates   the Python form
    grammar, lexer, parser, text the text form, and back
    check                        names, units and windows, before a run
    windows, algebra, evaluation truth and margin over traces, all lanes at once
    worst, margin, verdict       what a person is told
"""

from __future__ import annotations

from simdl.requirements.margin import Margin as Margin, Read as Read
from simdl.requirements.operators import (
    all_of as all_of,
    always as always,
    any_of as any_of,
    changes as changes,
    eventually as eventually,
    fall as fall,
    iff as iff,
    implies as implies,
    negate as negate,
    requirement as requirement,
    rise as rise,
    until as until,
)
from simdl.requirements.templates import (
    bounds as bounds,
    no_chatter as no_chatter,
    overshoot as overshoot,
    respond as respond,
    settle as settle,
)
from simdl.requirements.tree import Requirement as Requirement
from simdl.requirements.verdict import Verdict as Verdict

__all__ = [
    "Margin", "Read", "Requirement", "Verdict", "all_of", "always", "any_of", "bounds", "changes", "eventually",
    "fall", "iff", "implies", "negate", "no_chatter", "overshoot", "requirement", "respond", "rise", "settle", "until",
]  # fmt: skip
