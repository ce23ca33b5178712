"""The site agent: one HTTP contract in front of a driver."""
