from demo_server import agent, weir  # noqa: F401
