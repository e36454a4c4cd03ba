"""One file per tool: functions named like the models of `benchmarks.cases`, called as `model(case, data)`.

Each prepares all that is not to be timed and returns `(run, read)`: `run()` is timed, `read(result)` turns what it
returned into a dict of arrays as in `benchmarks.reference`. They run in the tool's own environment, which has NumPy and
the tool.
"""


class Skip(Exception):
    """A tool does not take part in a case; the text says why."""
