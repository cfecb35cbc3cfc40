"""Runs: the job contract, and the supervisor that owns a runner process."""
