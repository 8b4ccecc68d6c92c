"""What an object is: metadata, quantities, selectors, schemas, patches, and every built-in kind.

Pure functions on data. Nothing here knows sockets, files (but the packaged schema), clocks or asyncio.
"""
