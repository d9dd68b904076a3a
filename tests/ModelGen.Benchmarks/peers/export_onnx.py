"""Writes FOLDER/NAME.onnx for every FOLDER/NAME.safetensors that `ModelGen.Benchmarks export` wrote: PyTorch's own export, with batch and length left open."""

import glob
import os
import sys

import torch
from torch.onnx._internal import onnx_proto_utils

import bert

# The exporter asks for the package onnx only to look for functions of its own script language, of which there are none here.
onnx_proto_utils._add_onnxscript_fn = lambda model_bytes, custom_opsets: model_bytes

for path in glob.glob(os.path.join(sys.argv[1], "*.safetensors")):
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        bert.load(path), bert.sentence(), os.path.splitext(path)[0] + ".onnx", opset_version=17, input_names=names, output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names + ["last_hidden_state"]},
    )
