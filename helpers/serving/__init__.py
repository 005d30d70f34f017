"""From a model to answers over HTTP: the applications, and the servers they run in."""

import logging

# One for the whole room: what a worker says on it goes to the process that watches the workers (`sayings`).
log = logging.getLogger(__name__)
