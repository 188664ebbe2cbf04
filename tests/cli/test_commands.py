"""The documented commands, one fact each, against a real controller."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import ONEHOP, Controller, Project


@pytest.fixture
def web(project: Project) -> Project:
    """A project with one network."""
    project.do("network", "create", "web", "--subnet", "10.0.1.0/24", "--subnet", "fd00:1::/64")
    return project


# --- connections ---------------------------------------------------------------------------------------


def test_a_port_on_no_host_has_no_connections_to_list(web: Project) -> None:
    web.do("port", "create", "p", "--network", "web")
    refused = web.run("connection", "list", "--port", "web/p")
    assert (refused.status, "on no host" in refused.err) == (1, True)


@pytest.mark.parametrize(
    "words",
    ["list", "list 1 --port p", "list --all --port p", "show --port p", "delete --port p",
     "delete 1 --all --port p", "delete 1 --limit 3 --port p", "list --limit 0 --port p", "drop --port p"],
)  # fmt: skip
def test_a_command_about_connections_that_makes_no_sense_is_told_so(web: Project, words: str) -> None:
    refused = web.run("connection", *words.split())
    assert refused.status == 2, refused


# --- objects -------------------------------------------------------------------------------------------


def test_a_network_is_made_with_its_subnets(web: Project) -> None:
    subnets = web.do("subnet", "list", "--network", "web", "-o", "json").json()
    assert {(s["name"], s["cidr"]) for s in subnets} == {("v4", "10.0.1.0/24"), ("v6", "fd00:1::/64")}


def test_a_network_with_a_bad_subnet_is_not_made_at_all(project: Project) -> None:
    refused = project.run("network", "create", "web", "--subnet", "10.0.1.1/24")
    assert refused.status == 1
    assert "10.0.1.0/24" in refused.err
    assert project.do("network", "list", "-o", "json").json() == []


def test_a_port_gets_an_address_of_each_family(web: Project) -> None:
    port = web.do("port", "create", "web-1", "--network", "web", "-o", "json").json()
    assert [address["ip"].split(":")[0].split(".")[0] for address in port["addresses"]] == ["10", "fd00"]


def test_every_field_can_be_given_as_a_flag(web: Project) -> None:
    web.do("security-group", "create", "sg")
    flags = "--network web --address subnet=v4,ip=10.0.1.20 --security-group sg --no-admin-up"
    flags += " --mac 02:00:00:00:00:99 --allowed-address-pair 10.9.0.0/16 --label tier=web --title T"
    port = web.do("port", "create", "p", *flags.split(), "-o", "json").json()
    assert port["addresses"][0]["ip"] == "10.0.1.20"
    assert (port["admin_up"], port["mac"], port["title"]) == (False, "02:00:00:00:00:99", "T")
    assert port["allowed_address_pairs"][0]["cidr"] == "10.9.0.0/16"
    assert port["labels"] == {"tier": "web"}


def test_a_rule_with_deep_fields(project: Project) -> None:
    rule = "id=telnet,action=drop,match.protocol=tcp,match.dst_ports=23,match.invert=dst_ports"
    acl = project.do("acl", "create", "a", "--rule", rule, "--stateful", "-o", "json").json()
    assert acl["rules"][0]["match"]["dst_ports"] == "23"
    assert acl["rules"][0]["match"]["invert"] == ["dst_ports"]


def test_names_and_ids_both_do(web: Project) -> None:
    port = web.do("port", "create", "web-1", "--network", "web", "-o", "json").json()
    for ref in ("web-1", "web/web-1", port["id"]):
        assert web.do("port", "show", ref, "-o", "json").json()["id"] == port["id"]


def test_a_table_shows_names_instead_of_ids(web: Project) -> None:
    web.do("port", "create", "web-1", "--network", "web")
    head, row = web.do("port", "list").out.splitlines()
    assert head.split()[:3] == ["NAME", "NETWORK", "ROUTER"]
    assert row.split()[:3] == ["web-1", "web", "-"]


def test_lists_are_filtered(web: Project) -> None:
    web.do("network", "create", "db", "--label", "tier=db")
    web.do("port", "create", "p1", "--network", "web")
    web.do("port", "create", "p2", "--network", "db")

    def names(*words: str) -> list[str]:
        return sorted(item["name"] for item in web.do(*words, "-o", "json").json())

    assert names("port", "list", "--network", "db") == ["p2"]
    assert names("network", "list", "--label", "tier=db") == ["db"]
    assert names("network", "list", "--name", "web") == ["web"]
    assert len(names("port", "list", "--limit", "1")) == 1


def test_an_update_changes_only_what_it_says(web: Project) -> None:
    web.do("network", "update", "web", "--mtu", "1500", "--label", "a=1")
    network = web.do("network", "update", "web", "--learning", "--label", "b=2", "-o", "json").json()
    assert (network["mtu"], network["learning"], network["labels"]) == (1500, True, {"a": "1", "b": "2"})


def test_a_field_is_taken_back_to_its_default(web: Project) -> None:
    web.do("network", "update", "web", "--mtu", "1500", "--label", "a=1")
    network = web.do("network", "update", "web", "--unset", "mtu", "--label", "a-", "-o", "json").json()
    assert (network["mtu"], network["labels"]) == (1450, {})


def test_an_object_is_renamed(web: Project) -> None:
    web.do("network", "update", "web", "--name", "front")
    assert web.do("network", "show", "front", "-o", "json").json()["name"] == "front"


def test_an_update_of_an_older_revision_is_refused(web: Project) -> None:
    revision = web.do("network", "show", "web", "-o", "json").json()["revision"]
    web.do("network", "update", "web", "--mtu", "1500", "--if-revision", str(revision))
    refused = web.run("network", "update", "web", "--mtu", "1400", "--if-revision", str(revision))
    assert refused.status == 1
    assert "read it again" in refused.err


def test_what_is_in_use_is_not_deleted_and_told_by_what(web: Project) -> None:
    web.do("port", "create", "web-1", "--network", "web")
    refused = web.run("network", "delete", "web")
    assert (refused.status, refused.out) == (1, "")
    assert "in use by 1 port: web-1" in refused.err


def test_several_objects_are_deleted(web: Project) -> None:
    for name in ("a", "b"):
        web.do("port", "create", name, "--network", "web")
    assert web.do("port", "delete", "a", "b").out == "deleted port a\ndeleted port b\n"


def test_a_join_token_is_made_for_a_host(controller: Controller) -> None:
    controller.do("host", "create", "h-join")
    assert controller.do("host", "join-token", "h-join").out.startswith("onehop_join_")
    assert controller.do("host", "join-token", "h-join", "-o", "json").json()["name"] == "h-join"


def test_a_role_is_given_in_the_project_that_the_command_names(project: Project) -> None:
    project.do("token", "create", "ops")
    words = ("--token", "ops", "--role", "member", "-p", project.name, "-o", "json")
    made = project.do("role", "create", *words).json()
    id = project.do("project", "show", project.name, "-o", "json").json()["id"]
    assert (made["role"], made["project"]) == ("member", id)


def test_a_router_is_attached(web: Project) -> None:
    web.do("router", "create", "edge")
    assert web.do("router", "attach", "edge", "web").out == "attached router edge to network web\n"
    port = web.do("port", "show", "edge/web", "-o", "json").json()
    assert sorted(address["ip"] for address in port["addresses"]) == ["10.0.1.1", "fd00:1::1"]


def test_yaml_can_be_read_back(web: Project) -> None:
    import yaml

    shown = web.do("network", "show", "web", "-o", "yaml").out
    assert yaml.safe_load(shown) == web.do("network", "show", "web", "-o", "json").json()


def test_waiting_returns_when_no_host_is_concerned(project: Project) -> None:
    project.do("network", "create", "web", "--wait=5")


def test_a_tokens_secret_is_shown_when_it_is_made(controller: Controller, tmp_path: Path) -> None:
    made = controller.do("token", "create", "bob", "-o", "json").json()
    controller.do("role", "create", "bob-reads", "--token", "bob", "--role", "reader")
    (tmp_path / "token").write_text(made["secret"])
    environ = {"ONEHOP_TOKEN_FILE": str(tmp_path / "token")}
    assert controller.do("whoami", "-o", "json", **environ).json()["name"] == "bob"
    refused = controller.run("project", "create", "x", **environ)
    assert refused.status == 1
    assert "only administrators" in refused.err


# --- questions about the controller ---------------------------------------------------------------------


def test_whoami(controller: Controller) -> None:
    assert controller.do("whoami", "-o", "json").json()["role"] == "admin"


def test_the_audit_says_who_did_what(project: Project) -> None:
    project.do("network", "create", "audited")
    assert "created network audited" in project.do("audit", "--limit", "5").out


def test_changes_are_watched(project: Project) -> None:
    command = [ONEHOP, "watch", "network", "--count", "1", "-o", "json"]
    environ = {**project.controller.environ, "ONEHOP_PROJECT": project.name}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as watching:
        try:
            made = 0
            while watching.poll() is None:  # it may not be watching yet when the first is made
                project.do("network", "create", f"n{made}")
                made += 1
            assert watching.stdout is not None
            event = json.loads(watching.stdout.readline())
        finally:
            watching.kill()
    assert (event["op"], event["kind"]) == ("put", "network")


# --- contexts -------------------------------------------------------------------------------------------


def test_login_remembers_a_context(controller: Controller, tmp_path: Path) -> None:
    config = {"ONEHOP_CONFIG": str(tmp_path / "contexts.json")}
    token, ca = controller.directory / "admin-token", controller.directory / "ca.pem"
    words = ("login", controller.url, "--ca", str(ca), "--token-file", str(token), "--name", "here")
    assert "as admin" in controller.do(*words, **config).out
    assert stat.S_IMODE((tmp_path / "contexts.json").stat().st_mode) == 0o600
    assert controller.do("whoami", "-o", "json", **config).json()["name"] == "admin"
    shown = controller.do("context", "show", **config).out
    assert token.read_text().strip() not in shown
    (row,) = controller.do("context", "list", "-o", "json", **config).json()
    assert row == {"current": True, "name": "here", "url": controller.url, "project": None}
    controller.do("context", "delete", "here", **config)
    assert controller.run("whoami", **config).status == 1


def test_a_token_can_come_from_standard_input(controller: Controller, tmp_path: Path) -> None:
    config = {"ONEHOP_CONFIG": str(tmp_path / "contexts.json")}
    token = (controller.directory / "admin-token").read_text()
    ca = str(controller.directory / "ca.pem")
    controller.do("login", controller.url, "--ca", ca, stdin=token, **config)


def test_a_wrong_token_is_not_remembered(controller: Controller, tmp_path: Path) -> None:
    config = {"ONEHOP_CONFIG": str(tmp_path / "contexts.json")}
    ca = str(controller.directory / "ca.pem")
    refused = controller.run("login", controller.url, "--ca", ca, stdin="wrong\n", **config)
    assert refused.status == 1
    assert "onehop login" in refused.err
    assert not (tmp_path / "contexts.json").exists()


def test_a_controller_that_cannot_prove_itself_is_not_spoken_to(
    controller: Controller, tmp_path: Path
) -> None:
    config = {"ONEHOP_CONFIG": str(tmp_path / "contexts.json")}
    refused = controller.run("login", controller.url, stdin="secret\n", **config)
    assert refused.status == 1
    assert "cannot prove who it is" in refused.err


def test_no_context_at_all(controller: Controller, tmp_path: Path) -> None:
    refused = controller.run("network", "list", ONEHOP_CONFIG=str(tmp_path / "none"))
    assert refused.status == 1
    assert "onehop login" in refused.err


def test_no_controller_listens(controller: Controller) -> None:
    refused = controller.run("network", "list", ONEHOP_URL="https://127.0.0.1:1", ONEHOP_TOKEN="t")
    assert refused.status == 1
    assert "no controller answers at https://127.0.0.1:1" in refused.err


# --- wrong lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("", 2, "Usage"),
        ("netwrok list", 2, "Did you mean 'network'?"),
        ("network create web --mtu big", 2, "--mtu is a number"),
        ("network create web --mtu 1", 1, "mtu"),
        ("network list --network x", 2, "no option --network"),
        ("network create UPPER", 1, "name"),
        ("port create p", 1, "network"),
        ("port create p --network none", 1, "there is no network 'none'"),
        ("network show none", 1, "onehop network list"),
        ("network update none --mtu 1500", 1, "there is no network 'none'"),
        ("network update x", 2, "none is given"),
        ("network update x --unset nothing", 2, "no field 'nothing'"),
        ("network list --project none", 1, "there is no project 'none'"),
        ("network list --limit 0", 2, "--limit is a number"),
        ("network list --context none", 1, "there is no context 'none'"),
        ("agent", 2, "--controller"),
        ("completion tcsh", 2, "bash, zsh, fish"),
        ("watch nothing", 2, "no kind 'nothing'"),
    ],
)
def test_a_wrong_line_is_told_in_a_sentence(project: Project, line: str, status: int, told: str) -> None:
    result = project.run(*line.split())
    assert (result.status, result.out) == (status, "")
    assert told in result.err
    assert "Traceback" not in result.err


def test_a_name_that_is_almost_right_is_suggested(web: Project) -> None:
    assert "Did you mean 'web'?" in web.run("network", "show", "wed").err


# --- help -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["--help", "help", "network --help", "network create --help", "help apply"])
def test_help_is_printed(controller: Controller, line: str) -> None:
    assert "Usage: onehop" in controller.do(*line.split()).out


def test_the_version_is_printed(controller: Controller) -> None:
    assert controller.do("--version").out.startswith("onehop 0.")


def test_words_are_completed(web: Project) -> None:
    def completed(line: str) -> list[str]:
        return web.do("__complete", *line.split(" ")).out.split()

    assert completed("netw") == ["network"]
    assert completed("network s") == ["show"]
    assert completed("network create --mt") == ["--mtu"]
    assert completed("network show w") == ["web"]
    assert completed("port create p --network w") == ["web"]
    assert completed("network list -o j") == ["json"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(controller: Controller, shell: str) -> None:
    assert "__complete" in controller.do("completion", shell).out


def test_bash_completes_with_the_script(controller: Controller) -> None:
    script = (
        'eval "$(onehop completion bash)"; COMP_WORDS=(onehop netw); COMP_CWORD=1; _onehop; echo $COMPREPLY'
    )
    environ = {**controller.environ, "PATH": f"{Path(ONEHOP).parent}:/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "network"


def test_a_closed_pipe_is_no_error_that_is_told(controller: Controller) -> None:
    script = f"{ONEHOP} --help | head -n 1"
    done = subprocess.run(
        ["bash", "-c", script], env=controller.environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
