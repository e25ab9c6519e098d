"""The class index as data, the draw as a pure function, the sampler as a thin shell."""
