"""A second implementation of the semantics, written from the specification alone, to compare the engines with.

    expression   the arithmetic of random models: one tree, read as floats, as tensors or as wiring
    spec         models as plain data: leaves, nests, conditions, and one experiment on them
    moment       every value at one time, each computed when it is first asked for
    interpreter  instants, latency queues, commits and recording, for one lane of Python floats
    segment      Runge-Kutta steps between instants, crossings found by bisection of the step itself
    noise        Philox in whole numbers
    choices      sources of random choices that can be recorded, replayed and shrunk
    parts, draw  random leaves, and random models made of them
    build        a simdl diagram from a spec
    compare      the two side by side, instant by instant

`python -m tests.reference --count 1000` compares that many random models and goes on where it stopped.
"""
