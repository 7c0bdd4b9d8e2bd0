"""The measuring run on a machine with a GPU: ``python -m benchmarks.gpu_run --help``, in a clone of the project."""
