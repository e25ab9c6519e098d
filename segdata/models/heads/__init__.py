"""Segmentation heads: backbone features in, class scores out.

Every head is an ``nn.Module`` built from the backbone's channels and strides; its forward takes the list of features,
finest first, and returns a `HeadOutput`.
"""
