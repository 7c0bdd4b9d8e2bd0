"""A run's folder: its files, their contents, its state and its lock. Nothing here imports pandas or torch."""
