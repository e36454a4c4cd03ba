"""Data sets: what a campaign leaves behind, and what a network learns from.

    schema, shard, manifest, writer   immutable safetensors shards with a sealed manifest; survives a kill
    shards, joined                    reading them, mapped from the disk
    columns, windows, sequences       torch datasets of named, aligned, normalised features
    split, normalisation, leaks       parts by lane, statistics that travel with a network, what must not leak
    durable, jsonl                    whole files or none, sealed lines
"""

from simdl.data.columns import Columns
from simdl.data.joined import Joined
from simdl.data.leaks import LeakReport, leak_check
from simdl.data.normalisation import Normalisation
from simdl.data.schema import Parameter, Schema, Signal
from simdl.data.sequences import Sequences
from simdl.data.shard import Entry, store
from simdl.data.shards import Shards, Verdict
from simdl.data.split import split_by_lane
from simdl.data.windows import Windows
from simdl.data.writer import ShardWriter

__all__ = [
    "Columns",
    "Entry",
    "Joined",
    "LeakReport",
    "Normalisation",
    "Parameter",
    "Schema",
    "Sequences",
    "ShardWriter",
    "Shards",
    "Signal",
    "Verdict",
    "Windows",
    "leak_check",
    "split_by_lane",
    "store",
]
