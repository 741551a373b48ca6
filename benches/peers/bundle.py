"""heedful's model file in Python: a .safetensors file with the configuration and the tokenizer in its metadata.

Tensors are F32, F16, or I8 with a companion `NAME.scale` of one number a row; all are returned as f32.
"""

import json
import struct

import numpy as np
import torch

from tokenizer import Tokenizer

DTYPES = {"F32": "<f4", "F16": "<f2", "I8": "i1"}


def read(path):
    """Returns the configuration, the tokenizer and the weights by name."""
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header, data = json.loads(data[8:8 + length]), memoryview(data)[8 + length:]
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        arrays[name] = np.frombuffer(data[start:end], DTYPES[info["dtype"]]).reshape(info["shape"]).astype(np.float32)
    weights = {}
    for name, array in arrays.items():
        if header[name]["dtype"] == "I8":
            array = (array.reshape(-1, array.shape[-1]) * arrays[name + ".scale"][:, None]).reshape(array.shape)
        if not name.endswith(".scale"):
            weights[name] = torch.from_numpy(np.ascontiguousarray(array))
    return json.loads(metadata["heedful.config"]), Tokenizer(metadata["heedful.tokenizer"]), weights
