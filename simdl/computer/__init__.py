"""The computer a loop runs on, in whole nanoseconds, and discrete-event plants.

    mapped, coupling       blocks that tasks run, in a copy of a diagram: both engines replay the times of every lane
    replay                 a schedule that was measured
    process, history       SimPy processes as blocks
"""

from __future__ import annotations

from simdl.computer.process import Process as Process
from simdl.computer.replay import Replay as Replay

__all__ = ["Process", "Replay"]
