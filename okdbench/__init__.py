"""okdbench reproduces the tables of online knowledge distillation papers (see README.md)."""

__version__ = "0.1.0"
