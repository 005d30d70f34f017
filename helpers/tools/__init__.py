"""The project's own commands: notebooks executed and reported, the environment checked, speed measured."""
