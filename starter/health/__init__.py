"""Whether reminders will go out: what a worker makes sure of, what is examined, and what probes see."""
