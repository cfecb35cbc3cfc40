"""SyTFF Policy."""
