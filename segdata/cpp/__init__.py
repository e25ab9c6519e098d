"""Class-probability-preserving pooling: kernels, the stored form, cropping and scaling."""
