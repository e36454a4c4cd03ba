"""How torch operations become operations of the lane program: importing this registers all rules."""

from __future__ import annotations

import simdl.engine.native.rules_gradients
import simdl.engine.native.rules_layers
import simdl.engine.native.rules_linear
import simdl.engine.native.rules_moves
import simdl.engine.native.rules_order
import simdl.engine.native.rules_pointwise
import simdl.engine.native.rules_reduce
import simdl.engine.native.rules_special
import simdl.engine.native.rules_systems
import simdl.engine.native.rules_tables  # noqa: F401
from simdl.engine.native.registry import RULES

__all__ = ["RULES"]
