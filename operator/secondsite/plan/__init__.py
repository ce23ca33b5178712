"""The functional core: what was observed, what is to be done, what is to be reported. No I/O, no clock."""
