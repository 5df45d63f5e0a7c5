"""Records of connections, and replays of either side."""
