"""Ready-made studies, run by name: `simdl run battery_soc`, `scenario("battery_soc")`. Import as `simdl.scenarios`."""

if __name__ != "simdl.scenarios":
    raise ImportError(
        f"the scenarios were imported as {__name__!r}; they are part of simdl: write `from simdl.scenarios import ...`"
    )
