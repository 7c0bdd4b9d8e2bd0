"""Studies without training: a Monte Carlo simulation of the methods in the plane, and checks of published numbers."""
