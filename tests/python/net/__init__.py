"""Hostile networks and exhausted resources. Tests that need a network of their own make it and need root."""
