"""A whole world on one machine: control plane, agents, operator, and the story of the demo."""
