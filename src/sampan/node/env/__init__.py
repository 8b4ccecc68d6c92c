"""The environment of a container: variables, commands, and the API objects they come from."""
