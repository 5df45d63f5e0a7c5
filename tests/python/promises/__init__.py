"""The table of promises: the ids in the tests, what they stand for, and which tests keep them."""
