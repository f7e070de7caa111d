"""The embedded mini models: their drawings, networks, trainers and gate."""

from moderation import torch_shim as torch_shim  # before anything here imports diffusers or transformers
