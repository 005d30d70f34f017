"""From a model to answers over HTTP: the applications, and the servers they run in."""
