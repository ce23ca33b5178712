"""The calls of the agent contract, one module per part; `http.py` is what they share."""
