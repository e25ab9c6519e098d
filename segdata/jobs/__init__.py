"""What the batch commands do: one module per job."""
