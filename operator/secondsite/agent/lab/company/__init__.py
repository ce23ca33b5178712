"""A plausible company of two sites with 500 VMs each, made from a seed: data centres, and what would protect them."""
