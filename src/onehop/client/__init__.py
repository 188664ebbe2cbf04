"""The client of the REST API, which the CLI, the lab and every integration use.

It is synchronous and light: it imports nothing but the standard library, and of that only what a request
needs, because a command's start-up is most of what it costs. Objects are what the API's JSON says they are;
`typed` turns them into the model's types for those who want that.
"""

from onehop.client.api import Client
from onehop.client.contexts import Context, ContextError, Contexts
from onehop.client.errors import ApiError, ClientError, ProtocolError, Unreachable, Untrusted
from onehop.client.http import Endpoint

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "Context",
    "ContextError",
    "Contexts",
    "Endpoint",
    "ProtocolError",
    "Unreachable",
    "Untrusted",
]
