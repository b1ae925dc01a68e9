"""JupyterLab in a real browser, clicked by tests."""
