"""The operator: kopf as the shell around one queue, one planner and one status writer."""
