"""The process group and the launcher of its processes."""
