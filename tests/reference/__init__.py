"""A second implementation of the semantics, written from the specification alone, to compare the engines with.

    expression   the arithmetic of random models: one tree, read as floats, as tensors or as wiring
    spec         models as plain data: leaves, nests, conditions, and one experiment on them
    model        a spec with its paths resolved
    moment       every value at one time, each computed when it is first asked for
    interpreter  instants, latency queues, commits and recording, for one lane of Python floats
    segment      Runge-Kutta steps between instants, crossings found by bisection of the step itself
    noise        Philox in whole numbers
    choices      where random choices come from
    parts, draw  random leaves, and random models made of them; dependence keeps them free of loops
    reduce       the smallest model that shows what a model showed
    build        a simdl diagram from a spec
    compare      the two side by side, instant by instant
    native       many experiments on the native engine, compiled together
    judge        many models compared, in several processes

`python -m tests.reference --count 1000` compares that many random models and goes on where it stopped.
"""
