"""Measurements that are not verbs of the program; run them from a clone of the project."""
