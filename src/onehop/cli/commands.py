"""All commands: the nouns of the model, and those that are about more than one object."""

from __future__ import annotations

from collections.abc import Iterator

from onehop.cli.nouns import commands as noun_commands
from onehop.cli.nouns import nouns
from onehop.cli.spec import COMMON, CONTEXT, HELP, OUTPUT, PROJECT, WAIT, Argument, Command, Option

FILE = Option("file", "The document, YAML or JSON; `-` for standard input.", "FILE", short="f", required=True)
YES = Option("yes", "Do not ask before deleting.", None, short="y")
ADOPT = Option("adopt", "Take over objects that are there but belong to no stack, or to another.", None)
STACK = Option("stack", "The stack.", "NAME")
DRY = Option("dry-run", "Show the plan, change nothing.", None)

_ACCOUNT = (
    Command(
        ("login",),
        "Remember a controller and a token as a context, and use it from now on.",
        "account:login",
        (Argument("url", "Where the controller listens, such as https://127.0.0.1:9595."),),
        (
            Option("ca", "The file with the controller's CA certificate.", "FILE"),
            Option("token-file", "The file with the token; asked for, if left out.", "FILE"),
            Option("name", "The name of the context; `default`, if left out.", "NAME"),
            PROJECT,
            HELP,
        ),
        (
            (
                "Use the controller of this machine",
                "onehop login https://127.0.0.1:9595 --ca ca.pem --token-file token",
            ),
        ),
    ),
    Command(
        ("context",),
        "List the contexts, choose one (`use`), look at it (`show`) or forget it (`delete`).",
        "account:context",
        (
            Argument("verb", "What to do.", choices=("list", "use", "show", "delete")),
            Argument("name", "The context.", required=False),
        ),
        (OUTPUT, HELP),
        (("Talk to another controller from now on", "onehop context use lab"),),
    ),
    Command(
        ("whoami",),
        "Say as whom the controller knows you, and what you may do.",
        "account:whoami",
        (),
        COMMON,
    ),
    Command(
        ("audit",),
        "Show who changed what, and when; the latest last. For administrators.",
        "account:audit",
        (),
        (
            Option("since", "From this time on; the last day, if left out.", "TIME"),
            Option("limit", "The last so many; 50, if left out.", "N"),
            *COMMON,
        ),
    ),
    Command(
        ("watch",),
        "Show changes as they happen, until interrupted.",
        "account:watch",
        (Argument("kind", "Only this kind of object.", required=False),),
        (Option("count", "End after this many changes.", "N"), *COMMON),
    ),
)

_STACKS = (
    Command(
        ("apply",),
        "Make a document's topology so. Shows the plan, asks before it deletes, and can be interrupted: "
        "apply again goes on.",
        "stacks:apply",
        (),
        (FILE, STACK, YES, ADOPT, DRY, WAIT, *COMMON),
        (("Make it so", "onehop apply -f shop.yaml"), ("Only look", "onehop apply -f shop.yaml --dry-run")),
    ),
    Command(
        ("diff",),
        "Show what `apply` would change. Exit status 0: nothing, 1: something.",
        "stacks:diff",
        (),
        (FILE, STACK, ADOPT, *COMMON),
        (("What has drifted?", "onehop diff -f shop.yaml"),),
    ),
    Command(
        ("delete",),
        "Delete the stack of a document: everything that it made.",
        "stacks:delete",
        (),
        (FILE._replace(required=False), STACK, YES, DRY, WAIT, *COMMON),
        (("Take it down", "onehop delete -f shop.yaml"),),
    ),
    Command(
        ("export",),
        "Print a stack, or a whole project, as a document that `apply` takes.",
        "stacks:export",
        (),
        (STACK, PROJECT, OUTPUT._replace(choices=("yaml", "json")), CONTEXT, HELP),
        (("Keep a copy", "onehop export --stack shop > shop.yaml"),),
    ),
)

_QUESTIONS = (
    Command(
        ("trace",),
        "Explain what becomes of a packet, step by step, with the rule that decides.",
        "questions:trace",
        (Argument("packet", "Such as 'tcp 10.0.1.5:4000 > 10.0.2.7:80'.", required=False),),
        (
            Option(
                "from",
                "The port that the packet comes from: a machine's, or a router's uplink.",
                "PORT",
                dest="port",
                ref="port",
            ),
            Option("pcap", "Instead of a packet: those of this capture, one after the other.", "FILE"),
            Option("offline", "Ask this document rather than a controller.", "FILE"),
            *COMMON,
        ),
        (
            (
                "May web-1 reach the database?",
                "onehop trace --from web/web-1 'tcp 10.0.1.5:4000 > 10.0.2.7:80'",
            ),
        ),
    ),
    Command(
        ("reach",),
        "Say whether one port can reach another, and by what.",
        "questions:reach",
        (
            Argument("source", "The port that sends.", ref="port"),
            Argument("target", "The port to reach.", ref="port"),
        ),
        (Option("offline", "Ask this document rather than a controller.", "FILE"), *COMMON),
        (("From one port to another", "onehop reach web/web-1 db/db-1"),),
    ),
)

_CONNECTIONS = (
    Command(
        ("connection",),
        "The connections of a port, live from its host: list them, show one, or delete some. A connection "
        "that is deleted ends at both ends; what the rules allow by itself opens a new one.",
        "connections:run",
        (
            Argument("verb", "What to do.", choices=("list", "show", "delete")),
            Argument("id", "Which connections, by their ids.", required=False, many=True),
        ),
        (
            Option("port", "The port.", "PORT", required=True, ref="port"),
            Option("all", "Delete all connections of the port.", None),
            Option("limit", "List at most this many.", "N"),
            YES,
            *COMMON,
        ),
        (
            ("What is web-1 connected to?", "onehop connection list --port web/web-1"),
            ("One of them, as JSON", "onehop connection show 9f86d081884c7d65 --port web/web-1 -o json"),
            ("End it", "onehop connection delete 9f86d081884c7d65 --port web/web-1"),
            ("Let nothing go on that was allowed before", "onehop connection delete --port web/web-1 --all"),
        ),
    ),
)

_OUTSIDE = (
    Command(
        ("uplink",),
        "Lead an external network to the outside, by an interface of a host. The first uplink makes the "
        "provider router, with the gateways of the network's subnets; each further one shares the load.",
        "outward:uplink",
        (Argument("verb", "What to do.", choices=("add",)),),
        (
            Option("network", "The external network.", "NETWORK", required=True, ref="network"),
            Option("host", "The host, which becomes a gateway.", "HOST", required=True, ref="host"),
            Option("interface", "Its interface.", "INTERFACE", required=True),
            Option("vlan", "The VLAN tag there.", "N"),
            Option(
                "address",
                "An address there with its prefix length. Repeat for more.",
                "IP/N",
                many=True,
                required=True,
            ),
            Option(
                "next-hop",
                "A router outside, the default way. Repeat for more.",
                "IP",
                many=True,
            ),
            Option("router", "What the provider router is called; `provider-NETWORK`, if left out.", "NAME"),
            WAIT,
            *COMMON,
        ),
        (
            (
                "By eth1 of gw1 (the line goes on: `--next-hop 192.0.2.1`)",
                "onehop uplink add --network public --host gw1 --interface eth1 --address 192.0.2.2/30",
            ),
        ),
    ),
)

_PROGRAMS = (
    Command(
        ("controller",), "Run a controller: the API and the hosts' feed.", "programs:controller", raw=True
    ),
    Command(("agent",), "Run the agent of this host.", "programs:agent", raw=True),
    Command(("lab",), "A whole data centre in network namespaces on this machine.", "programs:lab", raw=True),
    Command(
        ("completion",),
        "Print what makes a shell complete `onehop` commands.",
        "completion:script",
        (Argument("shell", "Which shell.", choices=("bash", "zsh", "fish")),),
        (HELP,),
        (("In bash", 'eval "$(onehop completion bash)"'),),
    ),
)

GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("Whole topologies", _STACKS),
    ("Questions", _QUESTIONS),
    ("Connections", _CONNECTIONS),
    ("The outside", _OUTSIDE),
    ("Who and where", _ACCOUNT),
    ("Programs", _PROGRAMS),
)
TOP = {command.words[0]: command for _, group in GROUPS for command in group}


def every_command() -> Iterator[Command]:
    """All commands there are, nouns first."""
    for noun in nouns().values():
        yield from noun_commands(noun).values()
    yield from TOP.values()
