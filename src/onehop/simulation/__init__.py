"""What happens to a packet: the written specification, as pure functions of topology, state and packet.

`walk.send` is what the host of a port does with a packet that the machine at the port sent; `walk.receive` is
what the host of the destination does with what arrives; `walk.walk` is both, for all hosts as one. Each takes
a `View` and a `State` and returns a `Verdict`.

Read `walk` first: it declares the order of stages. Then each stage has a file of its own.
"""
