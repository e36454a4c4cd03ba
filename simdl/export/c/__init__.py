"""Sampled parts of a diagram as freestanding C99: written with the native engine's emitter, put back into the loop."""

from simdl.export.c.block import CompiledC, in_loop
from simdl.export.c.compared import check_in_loop, lane_samples
from simdl.export.c.export import Exported, export_c

__all__ = ["CompiledC", "Exported", "check_in_loop", "export_c", "in_loop", "lane_samples"]
