"""The computer a loop runs on, in whole nanoseconds, and discrete-event plants.

    computer, task         Computer, Task: what is released when, what its jobs do, and what happens when they are late
    edge                   Edge: an interrupt, in live mode
    instructions           what a task's body yields: Read, Compute, Write, Run, Send, Acquire, Put, Wait, …
    processor, policy      cores with a clock; fixed priority, EDF, round robin, a table, any key
    accelerator            GPUs and NPUs: a queue, batches, copies, streams
    bus, ethernet, loss    ideal delay, CAN, TDMA, switched Ethernet; what goes wrong on them
    wireless               a medium shared by carrier sense, with collisions
    times, draws, measure  execution times: distributions, drawn for each job; measured here
    kernel, cores, queue   one lane on SimPy: instants; who runs; pending jobs
    lock, mailbox          what tasks share: priority inheritance and ceilings; values with the time they were put
    sharing, waiting       the locks, mailboxes and events of a lane, and who waits for them
    traffic                wires of a diagram over buses, without tasks
    job, schedule          what happened
    analysis               response times and schedulability without simulating
    jitter                 the cost of linear loops with random delays, without simulating
    energy                 frequency levels, the energy of a schedule, batteries that stop a processor
    plot, bars             Gantt charts, histograms, utilisation; the bars of a chart
    states, signals        when a task runs, is ready, or is blocked; that as signals of a diagram
    mapped, coupling       blocks that tasks run, in a copy of a diagram: both engines replay the times of every lane
    placement, instead     how one of them is mapped; which block a degraded job runs in place of another
    timetable              those times, from the schedules of lanes
    placed, describe       from a diagram back to its computer, and that in words
    replay                 a schedule that was measured
    process, history       SimPy processes as blocks
"""

from __future__ import annotations

from simdl.computer.accelerator import Accelerator as Accelerator
from simdl.computer.bus import CAN as CAN, TDMA as TDMA, Bus as Bus, Ideal as Ideal, Message as Message
from simdl.computer.computer import Computer as Computer
from simdl.computer.edge import Edge as Edge
from simdl.computer.energy import Battery as Battery, Frequency as Frequency
from simdl.computer.ethernet import SwitchedEthernet as SwitchedEthernet
from simdl.computer.instructions import (
    Acquire as Acquire,
    Compute as Compute,
    Put as Put,
    Raise as Raise,
    Read as Read,
    Release as Release,
    Run as Run,
    Scale as Scale,
    Send as Send,
    Sleep as Sleep,
    Take as Take,
    Wait as Wait,
    Write as Write,
)
from simdl.computer.jitter import DelayedLoop as DelayedLoop
from simdl.computer.job import Job as Job
from simdl.computer.kernel import Kernel as Kernel
from simdl.computer.lock import Lock as Lock
from simdl.computer.loss import BurstLoss as BurstLoss, Duplicate as Duplicate, Loss as Loss, Reorder as Reorder
from simdl.computer.mailbox import Mail as Mail, Mailbox as Mailbox
from simdl.computer.measure import measure as measure
from simdl.computer.placed import computer_of as computer_of, schedule_of as schedule_of
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
from simdl.computer.traffic import Frames as Frames, Link as Link, Traffic as Traffic
from simdl.computer.wireless import Wireless as Wireless

__all__ = [
    "CAN", "EDF", "TDMA", "Accelerator", "Access", "Acquire", "Battery", "BurstLoss", "Bus", "Compute", "Computer",
    "Correlated", "Degrade", "DelayedLoop", "Distribution", "Duplicate", "Edge", "Exponential", "FixedPriority",
    "Frames", "Frequency", "Ideal", "Job", "Kernel", "Keyed", "Link", "Lock", "Loss", "Mail", "Mailbox", "Measured",
    "Message", "Mixture", "Normal", "Policy", "Process", "Processor", "Put", "Raise", "Read", "Release", "Reorder",
    "Replay", "RoundRobin", "Run", "Scale", "Schedule", "Send", "Sleep", "SwitchedEthernet", "Table", "Take", "Task",
    "Traffic", "Uniform", "Wait", "Wireless", "Write", "computer_of", "measure", "schedule_of",
]  # fmt: skip
