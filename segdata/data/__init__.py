"""From a draw to a sample: photographs, crops, augmentation and pooled targets."""
