"""What a Read gives a body before a loop runs: something that stands for the value, and that nothing may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from simdl.errors import RunError

if TYPE_CHECKING:
    from simdl.computer.job import Job

USES = (
    "bool float int complex index len iter contains getitem setitem call hash array "
    "eq ne lt le gt ge add sub mul matmul truediv floordiv mod divmod pow and or xor lshift rshift "
    "radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rand ror rxor rlshift rrshift "
    "neg pos abs invert round trunc floor ceil format str"
).split()


class Untold:
    """The value of a name that a job has read, which only a loop that runs can tell. Any use of it is a RunError."""

    def __init__(self, job: Job, name: str) -> None:
        vars(self).update(_job=job, _name=name)

    def __repr__(self) -> str:
        return f"<what {self._name} gives, told with live=True>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return refuse(self)


def refuse(untold: Untold, *_: Any, **__: Any) -> NoReturn:
    """Raise the RunError of a use."""
    about = vars(untold)
    raise RunError(about["_job"].where, f"uses what a Read of {about['_name']!r} gives, before a loop runs",
                   "a loop that tells it what it reads",
                   "it needs live=True: Computer(tasks, live=True).on(diagram)")  # fmt: skip


for use in USES:
    setattr(Untold, f"__{use}__", refuse)
