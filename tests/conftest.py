pytest_plugins = ["support.control_plane"]
