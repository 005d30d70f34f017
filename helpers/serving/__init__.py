"""From a model to answers over HTTP: the applications, and the servers they run in."""

import logging

# One for the whole room: what a worker says on it goes to the process that watches the workers (`sayings`).
log = logging.getLogger(__name__)

# The `extra` of a line that a worker says of itself: no other one will say it, so that it waits for none.
OF_ITSELF = {"is_of_itself": True}
