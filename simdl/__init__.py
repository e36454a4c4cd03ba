"""simdl: simulate systems with neural networks in the loop.

    block, port, diagram   the language: declare equations, wire them by assignment
    clock, compile         exact time, flattening, ordering, every wiring fault in one error
    engine/                runs all lanes at once: instants, solvers, crossings
    result, requirements   traces and runs; temporal logic over them
    campaign, falsify      thousands of lanes; the search for one that fails
    data/, learn/          shards, windows and training
    networks/              PyTorch modules as blocks, with their model cards
    computer/              processors, buses and tasks
    blocks/, scenarios/    the library of blocks and of ready-made studies
    cli, report            the command line and the page a person reads
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

# Public names by the module that defines them. Loaded at first use, so that `import simdl` costs nothing;
# written once more below, for type checkers. tests/test_public_names.py keeps the two lists equal.
_NAMES = {
    "errors": (
        "ClockError CompileError DataError LoopError LoweringError ModelError NetworkError ProbeError "
        "RequirementError RunError SimdlError UsageError"
    ),
    "block": "Block",
    "declarations": "Input Inputs Noise Output Param State",
    "methods": "crossing derivative edges hit initial output tick",
    "port": "stack where",
    "iterate": "repeat",
    "linear": "LinearModel jacobian",
    "linearisation": "linearise",
    "quadratic": "box_qp",
    "diagram": "Diagram connect enabled resettable triggered",
    "compile": "compile_model",
    "engine.simulator": "Simulator",
    "simulate": "rollout simulate",
    "prepared": "Prepared prepare",
    "result": "Run Trace",
    "engine.solver": "DormandPrince Euler Heun RK4 Rosenbrock Tsit5",
    "campaign": "Campaign",
    "space": "Choice Grid LogUniform Normal Sampled Uniform",
    "scenario": "Scenario scenario",
    "requirements": "Requirement Verdict always eventually implies requirement until",
    "networks": "Callback Monitor Network Recurrent",
    "networks.card": "ModelCard",
    "slots": "Slot",
    "campaign.monte_carlo": "monte_carlo",
}
_HOME = {name: f"simdl.{module}" for module, names in _NAMES.items() for name in names.split()}

if TYPE_CHECKING:
    from simdl.block import Block as Block
    from simdl.campaign import Campaign as Campaign
    from simdl.campaign.monte_carlo import monte_carlo as monte_carlo
    from simdl.compile import compile_model as compile_model
    from simdl.declarations import (
        Input as Input,
        Inputs as Inputs,
        Noise as Noise,
        Output as Output,
        Param as Param,
        State as State,
    )
    from simdl.diagram import (
        Diagram as Diagram,
        connect as connect,
        enabled as enabled,
        resettable as resettable,
        triggered as triggered,
    )
    from simdl.engine.simulator import Simulator as Simulator
    from simdl.engine.solver import (
        RK4 as RK4,
        DormandPrince as DormandPrince,
        Euler as Euler,
        Heun as Heun,
        Rosenbrock as Rosenbrock,
        Tsit5 as Tsit5,
    )
    from simdl.errors import (
        ClockError as ClockError,
        CompileError as CompileError,
        DataError as DataError,
        LoopError as LoopError,
        LoweringError as LoweringError,
        ModelError as ModelError,
        NetworkError as NetworkError,
        ProbeError as ProbeError,
        RequirementError as RequirementError,
        RunError as RunError,
        SimdlError as SimdlError,
        UsageError as UsageError,
    )
    from simdl.iterate import repeat as repeat
    from simdl.linear import LinearModel as LinearModel, jacobian as jacobian
    from simdl.linearisation import linearise as linearise
    from simdl.methods import (
        crossing as crossing,
        derivative as derivative,
        edges as edges,
        hit as hit,
        initial as initial,
        output as output,
        tick as tick,
    )
    from simdl.networks import (
        Callback as Callback,
        Monitor as Monitor,
        Network as Network,
        Recurrent as Recurrent,
    )
    from simdl.networks.card import ModelCard as ModelCard
    from simdl.port import stack as stack, where as where
    from simdl.prepared import Prepared as Prepared, prepare as prepare
    from simdl.quadratic import box_qp as box_qp
    from simdl.requirements import (
        Requirement as Requirement,
        Verdict as Verdict,
        always as always,
        eventually as eventually,
        implies as implies,
        requirement as requirement,
        until as until,
    )
    from simdl.result import (
        Run as Run,
        Trace as Trace,
    )
    from simdl.scenario import (
        Scenario as Scenario,
        scenario as scenario,
    )
    from simdl.simulate import (
        rollout as rollout,
        simulate as simulate,
    )
    from simdl.slots import Slot as Slot
    from simdl.space import (
        Choice as Choice,
        Grid as Grid,
        LogUniform as LogUniform,
        Normal as Normal,
        Sampled as Sampled,
        Uniform as Uniform,
    )

__all__ = ["__version__", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


if not TYPE_CHECKING:  # type checkers would take any misspelt name as found here

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'simdl' has no attribute {name!r}")
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))


class _Package(ModuleType):
    """Importing the module `simdl.scenario` must not hide the function of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _HOME.get(name) == value.__name__:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

if not Path(__path__[0], "blocks").is_dir():
    # A checkout without symbolic links (Windows): the libraries lie beside this package.
    __path__.append(str(Path(__path__[0]).parent))
