"""A local stand-in for Resend: the same HTTP API on 127.0.0.1, with an inbox to read the mail in.

It keeps what it accepted in one SQLite file, so that it can be killed and started again like the
real one can be unreachable and come back, and it misbehaves when asked to (`/_/faults`).
`python -m devstack.provider --help` starts it; `server.EmbeddedProvider` does from Python.
"""
