"""The nouns of the model, and the commands that each of them has."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from onehop.cli.spec import COMMON, WAIT, Argument, Command, Option

FILE = Path(__file__).with_name("nouns.json")
VERBS = {"list": "listing", "join-token": "join_token"}  # functions that may not be called as their verbs are
READ_ONLY = ("snat-block",)  # made and changed by controllers alone
SPECIAL = ("id", "name", "project")  # told by arguments and common options rather than flags of their own


class Noun(NamedTuple):
    """A kind of object, as `nouns.json` describes it."""

    name: str
    plural: str
    section: str
    doc: str
    scope: str
    parents: tuple[str, ...]
    nested: dict[str, str]
    fields: tuple[dict[str, Any], ...]

    @property
    def words(self) -> str:
        return self.name.replace("-", " ")

    def field(self, name: str) -> dict[str, Any]:
        return next(f for f in self.fields if f["name"] == name)


@cache
def nouns() -> dict[str, Noun]:
    described = json.loads(FILE.read_bytes())
    return {
        name: Noun(
            name=name,
            **{**d, "parents": tuple(d["parents"]), "fields": tuple(d["fields"])},
        )
        for name, d in sorted(described.items())
    }


def article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


# --- the flags of a field ------------------------------------------------------------------------------


def singular(name: str) -> str:
    """The flag of a list takes one element: `--security-group web --security-group db`."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("s", "")):
        if name.endswith(ending):
            return name.removesuffix(ending) + instead
    return name


def flag(field: dict[str, Any]) -> Option:
    """The option that sets a field."""
    name = field["name"].replace("_", "-")
    kind = field["type"]
    doc = field["doc"] + (f" Default: {_told(field['default'])}." if "default" in field else "")
    key, required = field["name"], bool(field.get("required"))
    if kind == "flag":
        return Option(name, doc, None, dest=key, negatable=True)
    if kind == "map":
        return Option(singular(name), doc + " Repeat for more.", "KEY=TEXT", dest=key, alias=name, many=True)
    if kind == "list":
        of = field["of"]
        return Option(
            singular(name),
            doc + " Repeat for more.",
            metavar(of),
            dest=key,
            alias=name if singular(name) != name else None,
            many=True,
            ref=of.get("ref"),
            choices=tuple(of.get("choices", ())),
        )
    choices = tuple(field.get("choices", ()))
    return Option(
        name, doc, metavar(field), dest=key, required=required, ref=field.get("ref"), choices=choices
    )


def _told(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def metavar(shape: dict[str, Any]) -> str:
    """What stands for a value in usage and help."""
    if "choices" in shape:
        return "|".join(shape["choices"])
    if shape["type"] == "struct":
        return ",".join(f"{f['name']}=..." for f in shape["fields"])
    if shape["type"] == "number":
        return "N"
    return str(shape.get("ref") or shape.get("format") or "text").upper().replace("UUID", "ID")


# --- the commands of a noun ----------------------------------------------------------------------------


def settable(noun: Noun) -> tuple[dict[str, Any], ...]:
    return tuple(f for f in noun.fields if not f.get("read_only") and f["name"] not in SPECIAL)


def commands(noun: Noun) -> dict[str, Command]:
    """The verbs of a noun."""
    if noun.name in READ_ONLY:
        return {"list": _list(noun), "show": _show(noun)}
    made = [_create(noun), _list(noun), _show(noun), _update(noun), _delete(noun)]
    if noun.name == "router":
        made.append(_attach())
    if noun.name == "host":
        made.append(_join_token())
    return {command.words[-1]: command for command in made}


def _command(noun: Noun, verb: str, doc: str, *arguments: Argument, **more: Any) -> Command:
    options = (*more.pop("options", ()), *COMMON)
    return Command(
        (noun.name, verb),
        doc,
        f"objects:{VERBS.get(verb, verb)}",
        arguments,
        options,
        more.pop("examples", ()),
        noun.name,
    )


def _reference(noun: Noun, *, many: bool = False) -> Argument:
    what = "Its id or name" + (f", or {noun.parents[0].upper()}/NAME" if noun.parents else "")
    return Argument(noun.name, f"{what}.", many=many, ref=noun.name)


def _create(noun: Noun) -> Command:
    options = [flag(f) for f in settable(noun)]
    if noun.name == "network":
        options.append(
            Option(
                "subnet",
                "Make a subnet with this prefix on it, in the same step. Repeat for more.",
                "CIDR",
                many=True,
            )
        )
    if noun.name == "router":
        options += OUTWARD
    doc = f"Make {article(noun.words)}. {noun.doc}"
    name = Argument("name", "Its name: a-z, 0-9 and '-'. Made from the id, if left out.", required=False)
    return _command(noun, "create", doc, name, options=(*options, WAIT), examples=_create_examples(noun))


def _create_examples(noun: Noun) -> tuple[tuple[str, str], ...]:
    return EXAMPLES.get((noun.name, "create"), ())


def _list(noun: Noun) -> Command:
    filters = [
        Option(f["name"].replace("_", "-"), f"Only those with this {f['name']}.", metavar(f), ref=f["ref"])
        for f in noun.fields
        if f.get("ref") and f["name"] != "project" and f["type"] == "text"
    ]
    options = (
        *filters,
        Option("name", "Only those with this name.", "NAME"),
        Option("label", "Only those with this label. Repeat for more.", "KEY=TEXT", many=True),
        Option("limit", "At most this many.", "N"),
    )
    examples = EXAMPLES.get((noun.name, "list"), ())
    return _command(
        noun, "list", f"List {noun.plural.replace('-', ' ')}.", options=options, examples=examples
    )


def _show(noun: Noun) -> Command:
    return _command(noun, "show", f"Show {article(noun.words)} with its status.", _reference(noun))


def _update(noun: Noun) -> Command:
    changeable = [f for f in settable(noun) if not f.get("immutable")]
    options = (
        *(flag(f)._replace(required=False) for f in changeable),
        Option("name", "Give it another name.", "NAME"),
        Option("unset", "Take this field back to its default. Repeat for more.", "FIELD", many=True),
        Option("if-revision", "Only if it is still at this revision.", "N"),
        WAIT,
    )
    doc = f"Change {article(noun.words)}. Only what is given changes; a list is replaced whole."
    examples = EXAMPLES.get((noun.name, "update"), ())
    return _command(noun, "update", doc, _reference(noun), options=options, examples=examples)


def _delete(noun: Noun) -> Command:
    doc = f"Delete {noun.plural.replace('-', ' ')}. What is in use is not deleted, and told by what."
    options = (Option("if-revision", "Only if it is still at this revision.", "N"), WAIT)
    return _command(noun, "delete", doc, _reference(noun, many=True), options=options)


def _attach() -> Command:
    noun = nouns()["router"]
    network = Argument("network", "The network's id or name.", ref="network")
    doc = "Join a router to a network: a port on each, with the subnets' gateways, and a link between them."
    examples = (("Let `edge` be the gateway of `web`", "onehop router attach edge web"),)
    return _command(noun, "attach", doc, _reference(noun), network, options=(WAIT,), examples=examples)


def _join_token() -> Command:
    noun = nouns()["host"]
    doc = "Make a token by which a host's agent joins. It works once, within an hour."
    examples = (("For `onehop agent --join-token-file`", "onehop host join-token h1"),)
    return _command(noun, "join-token", doc, _reference(noun), examples=examples)


OUTWARD = (
    Option(
        "external",
        "Give it a way out by this network: free addresses there, default routes, and masquerade.",
        "NETWORK",
        ref="network",
    ),
    Option(
        "attach",
        "Attach it to this network. With --external, if left out: to the project's networks that no router "
        "has; those without subnets are given some. Repeat for more.",
        "NETWORK",
        many=True,
        ref="network",
    ),
)

EXAMPLES: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("network", "create"): (
        ("A network with an IPv4 subnet", "onehop network create web --subnet 10.0.1.0/24"),
        (
            "Dual-stack, with a larger MTU",
            "onehop network create db --subnet 10.0.2.0/24 --subnet fd00:2::/64 --mtu 8950",
        ),
    ),
    ("network", "update"): (
        ("Flood what nobody is known to have", "onehop network update web --unknown-unicast flood"),
    ),
    ("subnet", "create"): (
        ("Another range on a network", "onehop subnet create more --network web --cidr 10.0.9.0/24"),
    ),
    ("port", "create"): (
        ("A port with addresses of its own choosing", "onehop port create web-1 --network web"),
        (
            "A given address, and a security group",
            "onehop port create web-2 --network web --address 10.0.1.20 --security-group web",
        ),
    ),
    ("port", "list"): (("The ports of one network, as JSON", "onehop port list --network web -o json"),),
    ("port", "update"): (
        ("Switch a port off", "onehop port update web/web-1 --no-admin-up"),
        ("Take its security groups away", "onehop port update web/web-1 --unset security_groups"),
    ),
    ("security-group-rule", "create"): (
        (
            "Let anybody reach port 80 (give `--protocol tcp` too)",
            "onehop security-group-rule create http --security-group web --direction ingress --ports 80",
        ),
    ),
    ("route", "create"): (
        (
            "A default route",
            "onehop route create default --router edge --destination 0.0.0.0/0 --next-hop 10.0.0.1",
        ),
    ),
    ("router", "create"): (
        ("A way out for all networks of the project", "onehop router create edge --external public"),
        (
            "A router for two networks, without a way out",
            "onehop router create core --attach web --attach db",
        ),
    ),
    ("nat-rule", "create"): (
        ("Share the port's own address", "onehop nat-rule create --port edge/out --action masquerade"),
        (
            "Share more addresses: each has 504 blocks of 128 ports",
            "onehop nat-rule create --port edge/out --action snat --pool first=203.0.113.8,last=203.0.113.9",
        ),
        (
            "Lead a TCP port inside (`--external 203.0.113.9` to lead it there from another address)",
            "onehop nat-rule create --port e/out --action dnat --internal 10.0.1.5 --protocol tcp --ports 80",
        ),
    ),
    ("floating-ip", "create"): (
        (
            "A free address of the outside for a machine",
            "onehop floating-ip create --subnet ops:public/v4 --port web/web-1",
        ),
        ("Keep one for later", "onehop floating-ip create spare --subnet ops:public/v4"),
    ),
    ("floating-ip", "update"): (
        ("Give it to another machine", "onehop floating-ip update spare --port web/web-2"),
        ("Take it from whoever has it", "onehop floating-ip update spare --unset port"),
    ),
    ("acl", "create"): (
        (
            "Drop telnet",
            "onehop acl create no-telnet --rule id=telnet,action=drop,match.protocol=tcp,match.dst_ports=23",
        ),
    ),
    ("binding", "create"): (
        ("Plug a port into a host", "onehop binding create --port web/web-1 --host h1 --interface tap0"),
    ),
}
