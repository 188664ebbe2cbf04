"""The datapath: the eBPF programs under `bpf/`, the one source of what they share with Python, the loader.

The modules, from the ground up:

* `layouts` - a C struct declared once, as a Python class: its codec; `headers` - its C text.
* `tables` - which structs and enumerations the programs share with us; `generate` writes the headers.
* `build` - compiles `bpf/*.bpf.c`, once per content.
* `libbpf` - the ctypes binding; `maps`, `object`, `attach`, `pins`, `ringbuf`, `testrun` stand on it.
* `features` - what the running kernel lacks, in plain sentences.

Importing this package loads nothing: `layouts`, `headers`, `tables` and `build` need no libbpf.
"""
