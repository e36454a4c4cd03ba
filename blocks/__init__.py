"""The block library: short exemplars, each with its equation in the docstring. Import it as `simdl.blocks`."""

if __name__ != "simdl.blocks":
    raise ImportError(
        f"the block library was imported as {__name__!r}; it is part of simdl: write `from simdl.blocks import ...`"
    )
