"""A cloud whose hosts are the eBPF programs themselves, on one machine.

    floor      a network namespace with an interface for each port, and one for the underlay
    tables     the tables of one host: what is compiled goes in, what packets taught comes out
    host       one host: packets through BPF_PROG_TEST_RUN, told as the simulation's events
    cloud      all of them, with the underlay between them
    twin       simulation and kernel side by side, held to each other packet by packet

Programs and tables are loaded once and used again and again: a new cloud clears them. The harness plays
agent and controller: it applies what the compiler says, bumps epochs, and carries what hosts learn.
"""
