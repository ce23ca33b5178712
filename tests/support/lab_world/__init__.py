"""Two lab sites in one process over engines in memory, with a clock, a link and turns that a test gives by hand."""
