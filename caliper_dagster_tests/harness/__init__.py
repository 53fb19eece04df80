"""What tests and benchmarks share: servers, sites, installations, commands, event stores.

It imports no plugin of pytest and no browser.
"""
