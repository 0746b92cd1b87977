"""JSON as it goes out over HTTP, and out of the commands with `--json`.

Ids, instants and reasons; never an e-mail address.
"""
