"""The contract between operator and agent, and between agents: types only."""
