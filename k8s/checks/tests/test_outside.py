"""The checks that read files or ask programs are seen to fail, too."""

import os
import pathlib
import shutil
import subprocess

import pytest
import yaml
from conftest import CHART, ROOT

import alerts
import chart
import main
import made
import network
import objects
import outside
import programs
import restricted
import schema
import values as documented

# main.py says where they are.
PROGRAMS = programs.Programs(pathlib.Path(os.environ.get("HOLDFAST_PROGRAMS", ROOT / "target/debug")))
CHECKOV = pathlib.Path(os.environ.get("HOLDFAST_CHECKOV", "checkov"))
PROMTOOL = pathlib.Path(os.environ["HOLDFAST_PROMTOOL"]) if "HOLDFAST_PROMTOOL" in os.environ else None


@pytest.fixture
def copy(tmp_path):
    """A copy of the chart, with a rule of its own, its runbook and a dashboard."""
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    for name in ("rules", "runbooks", "dashboards"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    (folder / "rules/tests").mkdir()
    (folder / "README.md").write_text("HoldfastGone is an alert.\n", encoding="utf-8")
    notes = {"summary": "It is gone", "description": "It is gone.", "runbook": "HoldfastGone"}
    rule = {"alert": "HoldfastGone", "expr": "up == 0", "labels": {"severity": "page"}, "annotations": notes}
    (folder / "rules/a.yaml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [rule]}]}), encoding="utf-8")
    alert = {"exp_labels": {"job": "a", "severity": "page"}, "exp_annotations": notes}
    cases = [{"eval_time": "1m", "alertname": "HoldfastGone", "exp_alerts": [alert]}, {"eval_time": "3m", "alertname": "HoldfastGone", "exp_alerts": []}]
    test = {"interval": "1m", "input_series": [{"series": 'up{job="a"}', "values": "0 0 1 1"}], "alert_rule_test": cases}
    (folder / "rules/tests/a.yaml").write_text(yaml.safe_dump({"rule_files": ["../a.yaml"], "tests": [test]}), encoding="utf-8")
    (folder / "runbooks/HoldfastGone.md").write_text("# HoldfastGone\n## Meaning\n## Impact\n## Diagnosis\n## Mitigation\n", encoding="utf-8")
    (folder / "dashboards/stock.json").write_text('{"title": "Stock", "uid": "stock", "panels": [{}]}', encoding="utf-8")
    return folder


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


FILES = [
    (alerts.named, lambda f: edit(f / "README.md", "HoldfastGone", "HoldfastElse"), "names the alert HoldfastElse"),
    (alerts.dashboards, lambda f: shutil.move(f / "dashboards/stock.json", f / "dashboards/The Stock.json"), "lower-case words"),
    (alerts.dashboards, lambda f: (f / "dashboards/stock.json").write_text(" " * 900_001), "too large for a ConfigMap"),
]


@pytest.mark.parametrize(("check", "damage", "says"), FILES)
def test_a_damaged_readme_or_dashboard_is_found(copy, check, damage, says):
    assert list(check(copy)) == []
    damage(copy)
    found = list(check(copy))
    assert any(says in problem for problem in found), found


def test_what_rules_py_finds_is_told(copy):
    assert PROMTOOL, "HOLDFAST_PROMTOOL is not set; run this by ./dev chart"
    (copy / "dashboards/stock.json").unlink()
    edit(copy / "rules/a.yaml", "up == 0", "up == (")
    assert any("promtool check rules" in problem for problem in alerts.well(ROOT / "k8s/checks", copy, PROMTOOL))
    assert any("install Debian's package" in problem for problem in alerts.well(ROOT / "k8s/checks", copy, None))


def test_rendered_rules_are_all_there_and_lead_to_their_runbooks(copy):
    (copy / "values.schema.json").unlink()
    values = chart.examples(CHART)["smallest"] | {"rules": {"enabled": True, "runbookUrl": "https://r.example.com"}, "dashboards": {"enabled": True}}
    r = chart.render(copy, values)
    assert list(alerts.rendered(r, copy)) == []
    assert list(alerts.rendered_rules(r, PROMTOOL)) == []
    rule = r.of("PrometheusRule")[0]["spec"]["groups"][0]["rules"][0]
    del rule["annotations"]["runbook_url"]
    assert any("leads to its runbook" in problem for problem in alerts.rendered(r, copy))
    rule["expr"] = "up == ("
    assert any("as rendered" in problem for problem in alerts.rendered_rules(r, PROMTOOL))
    r.of("PrometheusRule")[0]["spec"]["groups"] = []
    assert any("HoldfastGone is missing" in problem for problem in alerts.rendered(r, copy))
    data = r.named("ConfigMap", "holdfast-dashboard-stock")["data"]
    data["stock.json"] = data.pop("holdfast-stock.json")
    assert any("stock.json is a file's name for Grafana's sidecar" in problem for problem in alerts.rendered(r, copy))
    r.objects = [item for item in r.objects if item["kind"] != "ConfigMap"]
    assert any("dashboards/stock.json is missing" in problem for problem in alerts.rendered(r, copy))


def test_a_value_without_a_comment_is_found(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("# -- What it is.\na: 1\nb:\n  c: 2\n", encoding="utf-8")
    with pytest.raises(documented.Undocumented, match="b.c: values.yaml does not say what it is for"):
        documented.read(file)


def test_a_word_in_a_comment_that_nobody_knows_is_found(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("# -- What it is.\n# @shema {minimum: 1}\na: 1\n", encoding="utf-8")
    with pytest.raises(documented.Undocumented, match="nobody knows @shema"):
        documented.read(file)


def test_a_value_that_no_template_reads_is_found(tmp_path):
    assert documented.unread(documented.read(CHART / "values.yaml"), CHART / "templates") == []
    file = tmp_path / "values.yaml"
    file.write_text("# -- Read by Helm.\nenabled: true\nredis:\n  # -- Read.\n  url: ''\n  # -- Not read.\n  colour: red\n", encoding="utf-8")
    assert documented.unread(documented.read(file), CHART / "templates") == ["redis.colour: no template reads it; use it or take it out of values.yaml"]


@pytest.mark.parametrize("path", ["redis.enabled", "vendorSync.pull.enabled", "networkPolicy.dns.kind", "catalog.autoscaling.url", "tests.podLabels"])
def test_a_value_that_is_only_called_like_another_one_is_found(tmp_path, path):
    *sections, leaf = path.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    file = tmp_path / "values.yaml"
    file.write_text(f"{text}{'  ' * len(sections)}# -- It.\n{'  ' * len(sections)}{leaf}: 1\n", encoding="utf-8")
    assert [problem.split(":")[0] for problem in documented.unread(documented.read(file), CHART / "templates")] == [path]


def test_a_schema_that_takes_unknown_keys_is_found():
    made_schema = schema.make(ROOT)
    assert schema.loose(made_schema) == []
    del made_schema["properties"]["redis"]["additionalProperties"]
    made_schema["properties"]["reservation"]["properties"]["ports"]["additionalProperties"] = True
    assert [problem.split(":")[0] for problem in schema.loose(made_schema)] == ["redis", "reservation.ports"]


def test_the_schema_knows_the_services_keys_but_no_secret():
    config = schema.make(ROOT)["properties"]["reservation"]["properties"]["config"]["properties"]
    assert config["holds"]["properties"]["default_seconds"]["type"] == "integer"
    assert "url" not in config["postgres"]["properties"] and "url_file" not in config["postgres"]["properties"]
    assert "url" not in config["gate"]["properties"]


def test_a_file_that_is_not_what_the_chart_makes_is_found(tmp_path, rendered_once):
    files = made.files(ROOT, list(rendered_once.values()))
    assert list(made.stale(ROOT, files)) == []
    golden = ROOT / "k8s/golden/smallest.yaml"
    assert any("k8s/golden/smallest.yaml is not" in problem for problem in made.stale(ROOT, files | {golden: "other"}))
    del files[golden]
    assert any("is no example's any more" in problem for problem in made.stale(ROOT, files))


def test_a_golden_file_tells_a_changed_dashboard_without_repeating_it(copy):
    (copy / "values.schema.json").unlink()
    values = chart.examples(CHART)["smallest"] | {"rules": {"enabled": True}, "dashboards": {"enabled": True}}
    before = made.golden(chart.render(copy, values))
    edit(copy / "dashboards/stock.json", '"Stock"', '"Other"')
    middle = made.golden(chart.render(copy, values))
    edit(copy / "rules/a.yaml", "up == 0", "up == 2")
    after = made.golden(chart.render(copy, values))
    assert len({before, middle, after}) == 3
    assert '"title"' not in before and "up ==" not in before and "runbook: HoldfastGone" in before


def test_a_key_that_nobody_makes_is_found(smallest):
    assert list(made.secret_command(ROOT, smallest)) == []
    deployment = smallest.of("Deployment")[0]["spec"]["template"]["spec"]
    items = next(v for v in deployment["volumes"] if v["name"] == "secrets")["projected"]["sources"][0]["secret"]["items"]
    items.append({"key": "another-token", "path": "holdfast/another-token"})
    assert any("of examples/smallest.yaml has holdfast, key another-token" in problem for problem in made.secret_command(ROOT, smallest))


def test_a_key_that_no_header_names_is_found(tmp_path, rendered_once):
    shutil.copytree(CHART, tmp_path / "k8s/holdfast")
    example = tmp_path / "k8s/holdfast/examples/redis-cluster.yaml"
    assert list(made.secret_command(tmp_path, rendered_once["redis-cluster"])) == []
    edit(example, "holdfast: redis-password", "holdfast: redis-word")
    found = "\n".join(made.secret_command(tmp_path, rendered_once["redis-cluster"]))
    assert "has holdfast, key redis-password" in found and "has holdfast, key redis-word, for which nobody looks" in found
    edit(tmp_path / "k8s/holdfast/README.md", "create secret generic", "make secret")
    assert any("does not print" in problem for problem in made.secret_command(tmp_path, rendered_once["smallest"]))


GUIDES = [
    ("holdfast/README.md", "(UPGRADING.md#when-a-migration-fails)", "(UPGRADING.md#when-nothing-fails)", "there is no such heading"),
    ("holdfast/README.md", "(examples/stores/redis.yaml)", "(../../services/reservation/redis.acl)", "is not in the package"),
    ("holdfast/README.md", "kubectl -n shop create secret", "kubectl create secret", "says no namespace"),
    ("holdfast/UPGRADING.md", "helm rollback holdfast -n shop", "helm rollback holdfast", "says no namespace"),
    ("holdfast/examples/stores/cloudnativepg.yaml", "kubectl -n shop create", "kubectl create", "says no namespace"),
    ("holdfast/runbooks/HoldfastDefects.md", " --tail=-1", "", "shows ten lines"),
    ("holdfast/runbooks/README.md", "deploy/holdfast-reservation", "deploy/reservation", "there is no Deployment reservation"),
    ("holdfast/templates/NOTES.txt", '"key" $operator.key', '"key" "a-token"', "have no file /run/secrets/holdfast/holdfast/a-token"),
    ("holdfast/README.md", "holdctl audit run\n", "holdctl audit now\n", "`holdctl audit now` is no command"),
    ("holdfast/runbooks/HoldfastUnitsShort.md", "--expected", "--expects", "`holdctl stock count` has no option --expects"),
]


@pytest.mark.parametrize(("file", "old", "new", "says"), GUIDES)
def test_a_command_or_a_link_that_leads_nowhere_is_found(tmp_path, smallest, file, old, new, says):
    shutil.copytree(CHART, tmp_path / "k8s/holdfast")
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/backup.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    edit(tmp_path / "k8s" / file, old, new)
    if file.endswith("NOTES.txt"):
        smallest = chart.render(tmp_path / "k8s/holdfast", smallest.values)
    folder = tmp_path / "k8s/holdfast"
    found = [*made.links(folder), *made.commands(tmp_path), *programs.printed(smallest, PROGRAMS, folder)]
    assert found and all(says in problem for problem in found), found


def test_kubernetes_schemas_find_a_key_that_there_is_not(production):
    assert list(outside.schemas(production)) == []
    production.of("Deployment")[0]["spec"]["template"]["spec"]["terminationGraceSeconds"] = 1
    production.of("Service")[0]["spec"]["ports"][0]["port"] = "grpc"
    found = list(outside.schemas(production))
    assert any("terminationGraceSeconds" in problem and "1.30" in problem for problem in found), found
    assert any("Service" in problem for problem in found), found


def test_checkov_finds_a_privileged_container(smallest):
    container = smallest.of("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["privileged"] = True
    found = list(outside.policies([smallest], CHECKOV))
    assert any("CKV_K8S_16" in problem for problem in found), found


def test_the_programs_refuse_a_key_that_they_do_not_know(smallest):
    assert list(programs.configurations(smallest, PROGRAMS)) == []
    config = smallest.named("ConfigMap", "holdfast-catalog")["data"]
    config["config.toml"] = config["config.toml"].replace("[server]", "[server]\nlisten = 1")
    job = next(item for item in smallest.of("Job") if "reservation" in item["metadata"]["name"])
    job["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "HOLDFAST_RESERVATION__LOOKER__KEYS", "value": "1"})
    smallest.of("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"] = ["catalog", "sreve"]
    found = list(programs.configurations(smallest, PROGRAMS))
    assert any("`catalog sreve` is no command" in problem for problem in found), found
    assert any("holdfast-catalog, catalog" in problem and "server.listen" in problem for problem in found), found
    assert any("migrate" in problem and "looker.keys" in problem for problem in found), found


def test_what_the_programs_would_do_is_compared_with_the_pod(smallest):
    config = smallest.named("ConfigMap", "holdfast-catalog")["data"]
    config["config.toml"] = config["config.toml"].replace("0.0.0.0:50052", "127.0.0.1:1").replace("[server]", "[server]\ndrain_seconds_max = 60")
    found = "\n".join(programs.configurations(smallest, PROGRAMS))
    assert "listens on 1 for grpc, but its port is 50052" in found
    assert "nobody outside of the pod reaches it" in found
    assert "ends in up to 70 s, but is killed after 35 s" in found


def test_ports_that_are_not_the_services_own_are_found():
    ports = {name: {"ports": {"grpc": 1, "admin": 2}} for name in ("reservation", "catalog", "vendorSync")}
    assert len([problem for problem in programs.default_ports(ports, PROGRAMS) if "values.yaml says port" in problem]) == 6


def test_too_little_memory_for_full_files_is_found(smallest):
    assert list(programs.vendor_sync_memory(smallest, PROGRAMS)) == []
    smallest.named("Deployment", "holdfast-vendor-sync")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "512Mi"
    assert any("a memory limit of 512 MiB" in problem for problem in programs.vendor_sync_memory(smallest, PROGRAMS))


def test_a_pod_in_which_holdctl_finds_no_service_is_found(smallest):
    assert list(programs.operated(smallest, PROGRAMS)) == []
    env = smallest.named("Deployment", "holdfast-catalog")["spec"]["template"]["spec"]["containers"][0]["env"]
    by_name = {variable["name"]: variable for variable in env}
    by_name["HOLDFAST_CATALOG_ENDPOINT"]["value"] = "http://holdfast-catalog:9052"
    by_name["HOLDFAST_VENDOR_SYNC_ENDPOINT"]["value"] = "http://holdfast-catalog:50052"
    env.remove(by_name["HOLDFAST_RESERVATION_ENDPOINT"])
    found = "\n".join(programs.operated(smallest, PROGRAMS))
    assert "port 9052, which is not the one for gRPC" in found
    assert "'http://holdfast-catalog:50052', which is not the Service of vendor-sync" in found
    assert "HOLDFAST_RESERVATION_ENDPOINT is None" in found


def test_a_command_of_the_test_that_there_is_not_is_found(smallest):
    smallest.of("Pod")[0]["spec"]["containers"][0]["args"] = ["ctl", "canari"]
    assert any("is no command" in problem for problem in programs.canary(smallest, PROGRAMS))


def test_a_variable_that_the_test_does_not_read_is_found(smallest):
    # The variables are the same for every command of holdctl.
    container = smallest.of("Pod")[0]["spec"]["containers"][0]
    container["args"] = ["ctl", "sku"]
    assert list(programs.canary(smallest, PROGRAMS)) == []
    container["env"].append({"name": "HOLDFAST_TOKEN", "value": "/run/secrets/holdfast/holdfast/canary-token"})
    assert list(programs.canary(smallest, PROGRAMS)) == ["Pod holdfast-canary: the command reads no variable HOLDFAST_TOKEN"]


def test_the_package_has_what_users_need_and_no_tests_of_rules(copy):
    assert list(main.package(copy)) == []
    edit(copy / ".helmignore", "rules/tests/\n", "")
    assert any("rules/tests/a.yaml, which is for developers" in problem for problem in main.package(copy))
    (copy / "UPGRADING.md").unlink()
    assert any("lacks UPGRADING.md" in problem for problem in main.package(copy))


def test_it_installs_below_a_parent_chart_that_can_leave_it_out(tmp_path):
    parent = tmp_path / "shop"
    shutil.copytree(CHART, parent / "charts/holdfast")
    (parent / "Chart.yaml").write_text(
        "apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n  - {name: holdfast, version: 0.1.0, condition: holdfast.enabled}\n", encoding="utf-8"
    )
    values = {"global": {"region": "north", "imageRegistry": "mirror.example.com"}, "holdfast": {"enabled": True, "existingSecret": "x"}}
    r = chart.render(parent, values)
    assert len(r.of("Deployment")) == 3 and "mirror.example.com/holdfast:0.1.0" in r.text()
    assert chart.render(parent, values | {"holdfast": {"enabled": False, "existingSecret": "x"}}).objects == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda pod, c: c["securityContext"].update(privileged=True), "is privileged"),
        (lambda pod, c: c["securityContext"].update(runAsUser=0), "runs as user 0"),
        (lambda pod, c: c["securityContext"].update(procMount="Unmasked"), "procMount"),
        (lambda pod, c: c["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "may add NET_BIND_SERVICE only"),
        (lambda pod, c: c["securityContext"].update(seLinuxOptions={"type": "spc_t"}), "seLinuxOptions"),
        (lambda pod, c: c["securityContext"].update(appArmorProfile={"type": "Unconfined"}), "appArmorProfile"),
        (lambda pod, c: c["securityContext"].update(seccompProfile={"type": "Unconfined"}), "seccompProfile"),
        (lambda pod, c: c["livenessProbe"]["httpGet"].update(host="example.com"), "names a host"),
        (lambda pod, c: pod.update(hostPID=True), "hostPID is on"),
        (lambda pod, c: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctl kernel.msgmax"),
        (lambda pod, c: pod["securityContext"].update(runAsUser=0), "the pod runs as user 0"),
        (lambda pod, c: pod["securityContext"].update(windowsOptions={"hostProcess": True}), "hostProcess"),
        (lambda pod, c: pod.update(ephemeralContainers=[{"name": "debug"}]), "container debug"),
    ],
)
def test_each_rule_of_the_restricted_profile_is_looked_at(smallest, damage, says):
    pod = smallest.of("Deployment")[0]["spec"]["template"]["spec"]
    assert restricted.broken(pod) == []
    damage(pod, pod["containers"][0])
    assert any(says in problem for problem in restricted.broken(pod))


def test_a_policy_that_opens_nothing_outside_is_found(production):
    reservation = production.named("NetworkPolicy", "holdfast-reservation")
    reservation["spec"]["egress"] = [rule for rule in reservation["spec"]["egress"] if rule["ports"][0]["port"] != 6379]
    assert any("connects to holdfast-redis:6379" in problem for problem in network.complete(production))


def test_the_example_of_an_operator_fits_the_production_values():
    manifest = list(yaml.safe_load_all((CHART / "examples/stores/cloudnativepg.yaml").read_text(encoding="utf-8")))
    values = chart.examples(CHART)["production"]
    cluster = next(item for item in manifest if item["kind"] == "Cluster")
    roles = {role["name"]: role["passwordSecret"]["name"] for role in cluster["spec"]["managed"]["roles"]}
    databases = {item["spec"]["name"]: item["spec"]["owner"] for item in manifest if item["kind"] == "Database"}
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for section in ("reservation", "catalog", "vendorSync"):
        own, given = defaults[section]["postgres"], values[section]["postgres"]
        assert roles[own["user"]] == given["existingSecret"]
        assert roles[own["migrate"]["user"]] == given["migrate"]["existingSecret"]
        assert databases[own["database"]] == own["migrate"]["user"]
    assert values["postgres"]["host"] == f"{cluster['metadata']['name']}-rw"
    assert values["postgres"]["ca"]["existingSecret"] == f"{cluster['metadata']['name']}-ca"


def test_the_example_of_an_operator_shuts_the_databases_as_the_sql_does():
    manifest = (CHART / "examples/stores/cloudnativepg.yaml").read_text(encoding="utf-8")
    sql = (CHART / "examples/stores/roles.sql").read_text(encoding="utf-8").splitlines()
    statements = [line for line in sql if line.startswith(("REVOKE", "GRANT CONNECT", "ALTER ROLE"))]
    assert len(statements) == 7
    for statement in statements:
        assert f"#   {statement}\n" in manifest


def test_the_example_of_a_redis_fits_the_production_values_and_lets_the_gate_do_what_it_must():
    manifest = list(yaml.safe_load_all((CHART / "examples/stores/redis.yaml").read_text(encoding="utf-8")))
    values = chart.examples(CHART)["production"]
    by_kind = {item["kind"]: item for item in manifest}
    config, pod = by_kind["ConfigMap"]["data"], by_kind["Deployment"]["spec"]["template"]
    acl = (ROOT / "services/reservation/redis.acl").read_text(encoding="utf-8").splitlines()
    assert config["gate.acl"].split() == " ".join(line for line in acl if not line.startswith("#")).split()
    assert "maxmemory-policy noeviction\n" in config["redis.conf"] and "\nport 0\n" in f"\n{config['redis.conf']}"
    redis = values["redis"]
    assert f"user {redis['user']} on " in pod["spec"]["containers"][0]["args"][0]
    assert redis["url"] == f"rediss://{by_kind['Service']['metadata']['name']}:{by_kind['Service']['spec']['ports'][0]['port']}"
    certificates = {item["spec"]["secretName"]: item["spec"] for item in manifest if item["kind"] == "Certificate"}
    assert certificates[redis["ca"]["existingSecret"]]["isCA"] and by_kind["Service"]["metadata"]["name"] in certificates["holdfast-redis-tls"]["dnsNames"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["password"]["secret"] == {"secretName": redis["existingSecret"], "items": [{"key": redis["passwordKey"], "path": "password"}]}
    assert volumes["tls"]["secret"]["secretName"] in certificates
    assert any(objects.matches(peer["podSelector"], pod["metadata"]["labels"]) for peer in values["networkPolicy"]["redis"])
    assert restricted.broken(pod["spec"]) == []
    assert list(outside.schemas(chart.Rendered("redis", {}, [item for item in manifest if "cert-manager" not in item["apiVersion"]], ""))) == []


def test_the_sql_makes_the_roles_and_databases_of_the_values():
    sql = (CHART / "examples/stores/roles.sql").read_text(encoding="utf-8")
    defaults = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for section in ("reservation", "catalog", "vendorSync"):
        own = defaults[section]["postgres"]
        assert f"CREATE ROLE {own['user']} LOGIN" in sql and f"CREATE ROLE {own['migrate']['user']} LOGIN" in sql
        assert f"CREATE DATABASE {own['database']} OWNER {own['migrate']['user']} " in sql
        assert f"GRANT CONNECT ON DATABASE {own['database']} TO {own['user']};" in sql


def test_main_ends_badly_when_a_check_fails(tmp_path):
    """The exit code is what CI reads."""
    import sys

    root = tmp_path / "root"
    shutil.copytree(CHART, root / "k8s/holdfast")
    edit(root / "k8s/holdfast/values.yaml", "# -- Tag. Empty", "# Tag. Empty")
    command = [sys.executable, str(ROOT / "k8s/checks/main.py"), "--root", str(root), "--programs", "/nowhere", "--checkov", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "image.tag: values.yaml does not say" in done.stdout
