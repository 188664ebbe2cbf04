"""Linux plumbing that several parts need: namespaces, links, mounts. It knows nothing of Onehop.

* `libc` - the few system calls that Python 3.11 lacks.
* `namespaces` - network namespaces, named as `ip netns` names them.
* `links` - veth pairs, taps, addresses, routes and neighbours inside a namespace.
"""
