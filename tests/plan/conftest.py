"""The fixtures of tests on small recipes."""

from small_recipe import fake_method, write

__all__ = ["fake_method", "write"]
