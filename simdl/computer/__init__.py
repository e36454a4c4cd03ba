"""The computer a loop runs on, in whole nanoseconds, and discrete-event plants.

    computer, task         Computer, Task: what is released when, what its jobs do, and what happens when they are late
    instructions           what a task's body yields: Read, Compute, Write, Run, Send, Sleep, Raise
    processor, policy      cores with a clock; fixed priority, EDF, round robin, a table, any key
    accelerator            GPUs and NPUs: a queue, batches, copies, streams
    bus, ethernet, loss    ideal delay, CAN, TDMA, switched Ethernet; what goes wrong on them
    times, draws, measure  execution times: distributions, drawn for each job; measured here
    kernel, cores, queue   one lane on SimPy: instants; who runs; pending jobs
    job, schedule          what happened
    analysis               response times and schedulability without simulating
    plot                   Gantt charts, histograms, utilisation
    mapped, coupling       blocks that tasks run, in a copy of a diagram: both engines replay the times of every lane
    replay                 a schedule that was measured
    process, history       SimPy processes as blocks
"""

from __future__ import annotations

from simdl.computer.accelerator import Accelerator as Accelerator
from simdl.computer.bus import CAN as CAN, TDMA as TDMA, Bus as Bus, Ideal as Ideal, Message as Message
from simdl.computer.computer import Computer as Computer
from simdl.computer.ethernet import SwitchedEthernet as SwitchedEthernet
from simdl.computer.instructions import (
    Compute as Compute,
    Raise as Raise,
    Read as Read,
    Run as Run,
    Send as Send,
    Sleep as Sleep,
    Write as Write,
)
from simdl.computer.job import Job as Job
from simdl.computer.kernel import Kernel as Kernel
from simdl.computer.loss import BurstLoss as BurstLoss, Duplicate as Duplicate, Loss as Loss, Reorder as Reorder
from simdl.computer.measure import measure as measure
from simdl.computer.policy import (
    EDF as EDF,
    FixedPriority as FixedPriority,
    Keyed as Keyed,
    Policy as Policy,
    RoundRobin as RoundRobin,
    Table as Table,
)
from simdl.computer.process import Process as Process
from simdl.computer.processor import Processor as Processor
from simdl.computer.replay import Replay as Replay
from simdl.computer.schedule import Access as Access, Schedule as Schedule
from simdl.computer.task import Degrade as Degrade, Task as Task
from simdl.computer.times import (
    Correlated as Correlated,
    Distribution as Distribution,
    Exponential as Exponential,
    Measured as Measured,
    Mixture as Mixture,
    Normal as Normal,
    Uniform as Uniform,
)

__all__ = [
    "CAN", "EDF", "TDMA", "Accelerator", "Access", "BurstLoss", "Bus", "Compute", "Computer", "Correlated", "Degrade",
    "Distribution", "Duplicate", "Exponential", "FixedPriority", "Ideal", "Job", "Kernel", "Keyed", "Loss", "Measured",
    "Message", "Mixture", "Normal", "Policy", "Process", "Processor", "Raise", "Read", "Reorder", "Replay",
    "RoundRobin", "Run", "Schedule", "Send", "Sleep", "SwitchedEthernet", "Table", "Task", "Uniform", "Write",
    "measure",
]  # fmt: skip
