"""Tools for developers: the benchmark, training and evaluation of nano, random checkpoints."""
