"""Clients of others meet each fault; what they do is in docs/explanation/clients.md.

* `trouble`: the faults, by the words of the page.
* `subject`: a client as the table sees it: it asks, within a limit.
* `redis_and_http`, `databases`, `messaging`: the clients; `servers`: what they ask; `roster`: all of them.
* `play`: one client meets one fault.
* `comparison`: beside what the page says.
* `page`: the page's tables; with `python -m clients.page FOLDER` it writes them.
"""
