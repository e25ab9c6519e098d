"""Images in, what a model makes of them out: label images, colours, overlays, probabilities, auto-labels."""
