"""One lane of a computer: SimPy's queue of timers, and the instants at which jobs, devices and messages go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import simpy
from simpy.events import EventPriority

from simdl.clock import SECOND, nanoseconds
from simdl.computer.accelerator import Accelerator
from simdl.computer.bus import Bus
from simdl.computer.cores import Cores
from simdl.computer.energy import Battery, Meter
from simdl.computer.environment import MOST
from simdl.computer.instructions import (
    Acquire,
    Compute,
    Put,
    Raise,
    Read,
    Release,
    Run,
    Scale,
    Send,
    Sleep,
    Take,
    Wait,
    Write,
)
from simdl.computer.job import Job
from simdl.computer.queue import Jobs
from simdl.computer.raised import raised
from simdl.computer.schedule import Access, Schedule
from simdl.computer.sharing import Sharing
from simdl.computer.task import resume
from simdl.computer.times import Distribution
from simdl.computer.untold import Untold
from simdl.errors import LaneError, RunError

if TYPE_CHECKING:
    from simdl.computer.computer import Computer
    from simdl.computer.edge import Edge


LOOKS = 1000  # reads in a row of a live job, each 1 ns after the other


class Timer(simpy.Event):
    """A SimPy event that calls a function with itself; of: whose timer it is."""

    def __init__(self, env: simpy.Environment, delay: int, order: int, call: Callable[[Any], None], of: Any) -> None:
        self.env, self.of = env, of
        self.callbacks = [call]
        self._ok, self._value = True, None
        env.schedule(self, EventPriority(order), delay)


class Kernel:
    """The timeline of one lane, from 0 on.

    At an instant, in this order: computations, transfers and messages that end (0), releases (1), budgets, quanta and
    deadlines that expire (2); then free cores, accelerators and buses choose among what is there. What that causes at
    the same instant follows in the same order. Equal times and orders keep the order in which they were set.

    In live mode a job that reads stops the instant until its values are given: see `advance`.
    """

    def __init__(self, computer: Computer, seed: int, lane: int, live: bool = False) -> None:
        self.computer, self._seed, self._lane, self.live = computer, seed, lane, live
        self.drawn = False  # whether anything has asked for the lane or the seed: all lanes are alike otherwise
        self.env = simpy.Environment()
        self.now = 0
        self.jobs: list[Job] = []
        self.reads: dict[str, list[int]] = {}
        self.writes: dict[str, list[tuple[int, int]]] = {}  # block -> (when, which read)
        self.variants: dict[str, dict[int, int]] = {}  # block -> which read -> the variant of a degraded job
        self.messages: list[Any] = []
        self.values: dict[str, Any] = {}
        self.log: list[tuple[Any, ...]] = []
        self.asked: Job | None = None
        self.asked_for: tuple[str, ...] = ()
        self._seen: list[Access] = []
        self._touched: list[Any] = []
        self._at, self._spent = -1, 0  # a time, and how many steps it has taken
        self._fixed: dict[Any, int] = {}
        self.meters: dict[Battery, Meter] = {}
        self.cores = {id(p): Cores(p, self) for p in computer.processors}
        self.devices: dict[int, Any] = {}
        self.sharing = Sharing(self)
        self.queues = {task.name: Jobs(task, i, self.cores[id(task.on)], self) for i, task in enumerate(computer.tasks)}
        self.triggered: dict[str | Edge, list[Jobs]] = {}
        for queue in self.queues.values():
            if queue.task.trigger is not None:
                self.triggered.setdefault(queue.task.trigger, []).append(queue)
            queue.next()

    @property
    def seed(self) -> int:
        """The seed of the run."""
        self.drawn = True
        return self._seed

    @property
    def lane(self) -> int:
        """The number of the lane."""
        self.drawn = True
        return self._lane

    # timers and instants

    def after(self, delay: int, order: int, call: Callable[[Any], None], of: Any = None) -> Timer:
        """Call a function so many ns from now."""
        return Timer(self.env, delay + self.now - int(self.env.now), order, call, of)

    def touch(self, device: Any) -> None:
        """Something changed at a processor, an accelerator or a bus: it chooses at the end of this pass."""
        if not device.dirty:
            device.dirty = True
            self._touched.append(device)

    def run(self, until: int) -> None:
        """Everything up to and with a time."""
        env = self.env
        while not self.asked:
            if self._touched:
                self._settle()
            elif (due := env.peek()) <= until:
                self.now = int(due)
                self._pass()
            else:
                return

    def _pass(self) -> None:
        env, now = self.env, self.now
        while env.peek() == now and self.asked is None:
            self._spend()
            env.step()

    def _spend(self) -> None:
        """Count a step at this time. Raises LaneError where there is no end of them."""
        if self.now != self._at:
            self._at, self._spent = self.now, 0
        self._spent += 1
        if self._spent > MOST:
            last = self.jobs[-1].where if self.jobs else f"lane {self.lane}"
            raise LaneError(last, f"{MOST} steps at one time, {self.now} ns", "time that goes on",
                            "Compute, Sleep or Wait in a body that repeats; gaps above 0 between arrivals")  # fmt: skip

    def _settle(self) -> None:
        """Let the first of what was touched choose: processors before accelerators before buses."""
        touched = self._touched
        place = 0 if len(touched) == 1 else min(range(len(touched)), key=lambda i: (touched[i].rank, i))
        touched.pop(place).dispatch()
        if self.env.peek() == self.now:
            self._pass()

    # live

    def peek(self) -> float:
        """When something happens next, ns; inf when nothing does."""
        return self.now if self.asked is not None or self._touched else self.env.peek()

    def advance(self, ns: int, values: Mapping[str, Any] | None = None) -> list[Access]:
        """Go on to a time, not beyond `peek()`; the reads and writes that happen now.

        When a job reads, this returns at once, and `peek()` is still ns: evaluate the blocks, and call again with what
        they gave, which the job receives. values: by name; they stay until they are given anew.
        Raises RunError for a time before now or beyond what is due.
        """
        if not self.now <= ns <= self.peek():
            raise RunError(f"computer: lane {self.lane}", f"advance({ns})", f"from {self.now} to {self.peek()} ns",
                           "advance to peek() first")  # fmt: skip
        self.log.append(("advance", ns, dict(values or {})))
        self.values.update(values or {})
        self._seen = []
        if self.asked is not None:
            job, self.asked = self.asked, None
            given = tuple(self.values.get(name) for name in self.asked_for)
            self.progress(job, given[0] if len(given) == 1 else given)
        self.now = ns
        self.run(ns)
        return self._seen

    def raise_(self, event: str | Edge, ns: int | None = None) -> None:
        """An event from outside: the tasks that it triggers are released at `ns`, now by default."""
        at = self.now if ns is None else ns
        known: dict[Any, Any] = {**self.triggered, **self.sharing.events}
        if at < self.now or event not in known:
            raise RunError(f"computer: lane {self.lane}", f"event {event!r} at {at} ns",
                           f"an event that triggers a task, at {self.now} ns or later",
                           names=list(map(str, known)))  # fmt: skip
        self.log.append(("raise", at, event))
        self.after(at - self.now, 1, lambda timer: self.happen(event))

    def replay(self, log: list[tuple[Any, ...]]) -> None:
        """Bring a new kernel to where another one was, from its log."""
        for kind, ns, what in log:
            (self.advance if kind == "advance" else lambda n, e: self.raise_(e, n))(ns, what)

    def schedule(self, until: int | None = None) -> Schedule:
        """What has happened so far."""
        end = self.now if until is None else until
        self.now = end
        for cores in self.cores.values():
            for core in cores.cores:
                if core.job is not None:
                    cores._count(core)
        tracks, levels = {}, {}
        for cores in self.cores.values():
            for core in cores.cores:
                number = f"[{core.number}]" if len(cores.cores) > 1 else ""
                tracks[f"{cores.processor.name}{number}"] = core.segments
                levels[f"{cores.processor.name}{number}"] = cores.frequencies
        devices = {d.name: [(*part[:3], part[3], min(part[4], end)) for part in d.segments if part[3] < end]
                   for d in self.devices.values()}  # fmt: skip
        streams = {d.name: d.streams for d in self.devices.values() if d.streams is not None}
        return Schedule(end, self.jobs, tracks, devices, self.messages, self.reads, self.writes,
                        self.sharing.holds(end), self.sharing.waits(end), levels, self.computer.tasks,
                        streams, self.drawn, self.variants)  # fmt: skip

    # jobs

    def duration(self, job: Job, time: Any) -> int:
        """A time of a job, ns: fixed, drawn, or a function of the job."""
        queue = self.queues[job.task.name]
        if isinstance(time, Distribution):
            job.ordinal += 1
            return queue.draw(f"time.{job.ordinal}", time, job.index)
        if callable(time):
            try:
                found = time(job)
                finite = isinstance(found, float) and math.isfinite(found)
                ns = round(found * SECOND) if finite else nanoseconds(found, "its time")
            except RunError:
                raise
            except Exception as error:
                raise raised(job.where, "the function of its time", error, f"at {self.now} ns", "catch it") from error
        elif time in self._fixed:
            return self._fixed[time]
        else:
            ns = self._fixed[time] = nanoseconds(time, job.task.name)
        if ns < 0:
            raise LaneError(job.where, f"a time of {ns} ns, at {self.now} ns", "at least 0")
        return ns

    def execution(self, job: Job) -> int:
        """The execution time of the job's task, the cheaper one when it is degraded."""
        task = job.task
        if job.cheaper is not None:
            return self.duration(job, job.cheaper.execution)
        if task.execution is None:
            raise RunError(f"task {task.name}", "Compute() without a time", "execution= of the task, or a time")
        return self.duration(job, task.execution)

    def progress(self, job: Job, answer: Any = None) -> None:
        """Go on with the body of a job on its core, until it computes, waits or ends."""
        queue = self.queues[job.task.name]
        if job.start is None:
            job.start = self.now
        answer, job.answer = (job.answer if answer is None else answer), None
        while True:
            self._spend()
            if job.step is None:
                step = resume(job, answer)
            else:
                step, job.step = job.step, None
            answer = None
            if isinstance(step, Compute):
                ns = self.execution(job) if step.time is None else self.duration(job, step.time)
                job.looks = 0 if ns else job.looks
                if queue.cores.compute(job, ns):
                    return
            elif isinstance(step, Read):
                names = step.blocks or tuple(job.task.runs)
                self._read(job, tuple(dict.fromkeys(job.task.run(name) for name in names)))
                if self.live:
                    self._look(job)
                    self.asked, self.asked_for = job, names
                    return
                untold = tuple(Untold(job, name) for name in names)
                answer = untold[0] if len(untold) == 1 else untold
            elif isinstance(step, Write):
                for block in step.blocks or job.task.runs:
                    self.publish(job, block, self._captured(job, block))
            elif isinstance(step, Send):
                which = self._captured(job, step.block)
                self.device(job, step.bus, Bus).send(job, step, which)
            elif isinstance(step, Raise):
                self._declared(job, step, step.event)
                self.happen(step.event)
            elif isinstance(step, Run | Sleep):
                queue.cores.leave(job)
                ns = self.duration(job, step.time)
                job.looks = 0 if ns else job.looks
                if isinstance(step, Run):
                    self.device(job, step.accelerator, Accelerator).request(job, ns)
                else:
                    self.after(job.task.on.later(self.now, ns) - self.now, 0, self._awake, job)
                return
            elif isinstance(step, Scale):
                queue.cores.scale(step.factor)
            elif isinstance(step, Acquire | Release | Put | Take | Wait):
                if isinstance(step, Wait):
                    self._declared(job, step, step.event)
                    job.looks = 0
                goes_on, answer = self.sharing.follow(job, step)
                if not goes_on:
                    return
            elif step is None:
                self._end(job, "missed" if job.deadline is not None and self.now > job.deadline else "done")
                return
            else:
                raise RunError(f"task {job.task.name}", f"its body yields {step!r}",
                               "an instruction, such as Read, Compute, Write")  # fmt: skip

    def _read(self, job: Job, blocks: tuple[str, ...]) -> None:
        now, runs = self.now, job.task.runs
        for block in blocks:
            if runs and block not in runs:
                raise self._stranger(job, "a Read", block)
            reads = self.reads.setdefault(block, [])
            job.seen[block] = len(reads)
            reads.append(now)
            job.reads.append((block, now))
            if job.cheaper is not None:
                self.variants.setdefault(block, {})[len(reads) - 1] = job.variant
            if self.live:
                self._seen.append(Access("read", block, now, now, len(reads) - 1, job.variant))

    def _look(self, job: Job) -> None:
        """Count a read. Raises LaneError where a job does nothing else."""
        job.looks += 1
        if job.looks > LOOKS:
            raise LaneError(job.where, f"{LOOKS} reads in a row, at {self.now} ns", "time between them",
                            "Compute, Sleep or Wait in a body that repeats")  # fmt: skip

    def _declared(self, job: Job, step: Any, event: str) -> None:
        """Raises RunError for an event that is none of those the computer was told."""
        events = self.computer.events
        blocks = (block for queue in self.queues.values() for block in queue.task.runs)
        known = () if events is None else {*events, *self.triggered, *self.queues, *blocks}
        if events is not None and event not in known:
            raise RunError(job.where, f"{step!r}", "an event of events=", names=sorted(map(str, known)), wrong=event)

    def _stranger(self, job: Job, what: str, block: str) -> RunError:
        return RunError(f"task {job.task.name}: job {job.index}", f"{what} of {block!r}, which it does not run",
                        "what the task runs", "name it in runs=", names=job.task.runs, wrong=block)  # fmt: skip

    def _captured(self, job: Job, block: str) -> int:
        if block not in job.seen and job.task.runs and block not in job.task.runs:
            raise self._stranger(job, "a Write or Send", block)
        if block not in job.seen:
            raise RunError(f"task {job.task.name}", f"{block!r} is written and this job has not read it",
                           "yield Read of it first", names=job.seen)  # fmt: skip
        return job.seen[block]

    def publish(self, job: Job, block: str, which: int) -> bool:
        """What a block computed at read number `which` is shown, unless its job is late and keeps the old."""
        now = self.now
        if job.silent or (job.task.late == "keep old" and job.deadline is not None and now > job.deadline):
            return False
        captured = self.reads[block][which]
        self.writes.setdefault(block, []).append((now, which))
        job.writes.append((block, now, captured))
        if self.live:
            self._seen.append(Access("write", block, now, captured, which))
        return True

    def _awake(self, timer: Timer) -> None:
        self.again(timer.of)

    def again(self, job: Job, answer: Any = None) -> None:
        """A job that waited is ready again, unless it was killed."""
        if job.end is None:
            job.answer = answer
            self.cores[id(job.task.on)].add(job)

    def device(self, job: Job, what: Any, kind: type[Accelerator] | type[Bus]) -> Any:
        """The accelerator or bus of this lane."""
        found = self.devices.get(id(what))
        if found is None:
            if not isinstance(what, kind):
                raise RunError(f"task {job.task.name}", f"{what!r}", f"a {kind.__name__}, not its name")
            if any(one.name == what.name for one in self.devices.values()):
                raise RunError(f"task {job.task.name}", f"another device named {what.name!r}", "different names",
                               "make it once, and let the bodies share it")  # fmt: skip
            found = self.devices[id(what)] = what.open(self)
        return found

    def meter(self, battery: Battery) -> Meter:
        """The battery of this lane."""
        return self.meters.setdefault(battery, Meter(battery, self))

    def happen(self, event: str | Edge) -> None:
        """Release the tasks that an event triggers."""
        for queue in self.triggered.get(event, ()):
            queue.arrive(self.now)
        if self.sharing.events:
            self.sharing.happen(str(event))

    def overrun(self, job: Job) -> bool:
        """A job has used its budget; whether it is over with it."""
        job.overrun = True
        job.budget_left = None
        policy = job.task.over
        if policy == "kill":
            self.kill(job)
            return True
        job.silent = job.silent or policy == "keep old"
        if policy == "skip next":
            self.queues[job.task.name].skip = True
        return False

    def kill(self, job: Job) -> None:
        """Stop a job wherever it is; what it has asked of accelerators and buses goes on without it."""
        cores = self.cores[id(job.task.on)]
        if job in cores.ready:
            cores.leave(job)
        self._over(job, "killed")

    def _end(self, job: Job, status: str) -> None:
        self.cores[id(job.task.on)].leave(job)
        self._over(job, status)
        if status != "killed":
            self.happen(job.task.name)

    def _over(self, job: Job, status: str) -> None:
        if self.asked is job:
            self.asked = None
        if job.held or job.waiting is not None:
            self.sharing.over(job, status)
        self.queues[job.task.name].ended(job, status)
