"""Tests run on one thread each: several of them run at once, and torch's threads would fight."""

import os

import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
