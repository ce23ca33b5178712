"""The receiving half: catalogue, layers, recovery points, clones, damage and its repair."""
