"""Images in, what a model makes of them out: label images, colors, overlays, probabilities, auto-labels."""
