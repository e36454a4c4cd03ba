"""What blocks may be given: limits in order, whole numbers."""

from typing import Any

from simdl import ModelError, Param
from simdl.declarations import as_tensor
from simdl.port import Signal


class Limit(Param):
    """A parameter that is no more than another one of its block (`below=`), or no less (`above=`), element by element.

    Checked when the block is made (ModelError), where both are numbers; `set=` checks `low` and `high` alone.

    >>> from simdl.blocks import Saturation
    >>> Saturation(low=2.0)
    Traceback (most recent call last):
    simdl.errors.ModelError: Saturation.high: 1.0
      expected: at least low = 2.0
    """

    def __init__(self, value: Any, *, below: str = "", above: str = "", **options: Any) -> None:
        super().__init__(value, **options)
        self.below, self.above = below, above

    def __set__(self, block: Any, value: Any) -> None:
        super().__set__(block, value)
        other = block.settings.get(self.below or self.above)
        if other is None or isinstance(value, Signal) or isinstance(other, Signal):
            return
        high, low = (other, value) if self.below else (value, other)
        if bool((as_tensor(high) < as_tensor(low)).any()):
            bound = f"at most {self.below}" if self.below else f"at least {self.above}"
            raise ModelError(f"{block}.{self.name}", f"{value}", f"{bound} = {other}")


def whole_number(where: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`. Raises ModelError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ModelError(where, f"{value!r}", f"a whole number, {least} or more")
    return value
