"""Whether reminders will go out: made sure of before a worker polls, looked at, and told to probes."""
