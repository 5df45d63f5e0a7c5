"""The fault table: each system call, each error of its manual page, and what becomes of the connections."""
