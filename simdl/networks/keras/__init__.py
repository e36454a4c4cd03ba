"""Keras networks (.keras and .h5) as torch modules, read as data: no class, function or code of a file is ever used.

    loading       load_keras: the whole way from a file to an Imported
    document      the two kinds of file: their configuration and where their weights are
    hdf5          numbers and names of an HDF5 file, and nothing else of it
    reader        from the configuration to a graph
    wires         what layers are called on
    graph         layers by name, and what they are called on
    options       one layer's configuration, checked as it is read
    layers        the layers that are known, with normalisation, convolution, recurrence and attention
    oracle        the same network rebuilt with Keras, to compare with
"""

from simdl.networks.keras.loading import load_keras as load_keras

__all__ = ["load_keras"]
