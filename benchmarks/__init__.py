"""Speed and memory of simdl beside hand-written C and other simulators: `python -m benchmarks`.

    cases         what is simulated, exactly, and for how many lanes
    data          weights, parameters and noise that all tools share
    reference     the same in plain NumPy: what a trajectory must be before its time counts
    tools/        one file per tool: prepare a case, run it, hand over its end values
    tools.toml    which tools there are, and what pip installs for them
    child         the side of a tool's own process; process: our side of it
    environment   virtual environments, versions, the machine
    measure       alternating runs of all tools of a case
    results       what is finished, kept in one JSON file
    page, figures the results, for people
"""
