"""From a diagram to a model that an engine can run."""

from simdl.compile.model import Model as Model, compile_model as compile_model
