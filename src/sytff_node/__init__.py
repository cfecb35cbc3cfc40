"""The domain node: HTTP API, accounts, jobs and console, built on `sytff_policy`."""
