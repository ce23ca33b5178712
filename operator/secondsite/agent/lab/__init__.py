"""The lab driver: a small data centre whose hosts behave like Hyper-V Replica."""
