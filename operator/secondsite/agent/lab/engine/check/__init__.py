"""Looking into the files of a store while nobody has it open, and mending what can be mended."""
