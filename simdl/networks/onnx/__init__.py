"""ONNX files as torch modules.

wire, arrays, graph    the file: counted, then checked, then plain values
operands, host         what operators are given; operators on sizes
operators/             the operators, as torch functions
program, layout        a graph that runs; where its lanes are
modules, executors     what a block calls; ONNX Runtime and onnx.reference
states, loading        recurrent networks; load_onnx
"""

from simdl.networks.onnx.loading import load_onnx as load_onnx

__all__ = ["load_onnx"]
