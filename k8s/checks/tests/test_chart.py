"""What the chart does with values that its examples do not have: what it refuses and how, what stays the same, what is merged."""

import copy
import shutil

import pytest
import yaml
from conftest import CHART

import chart
import objects
from chart import Refused


def jobs(r):
    return sorted(item["metadata"]["name"] for item in r.of("Job"))


def env(r, service="reservation"):
    container = r.named("Deployment", f"holdfast-{service}")["spec"]["template"]["spec"]["containers"][0]
    return {variable["name"]: variable for variable in container["env"]}


REFUSALS = [
    ({"existingSecret": ""}, ["Nothing says which Secret has", "--set existingSecret"]),
    ({"redis": {"url": "redis://user:secret@redis:6379"}}, ["redis.url has a user or a password", "redis.urlKey"]),
    ({"redis": {"url": "redis://redis@redis:6379"}}, ["redis.url has a user or a password"]),
    ({"postgres": {"host": "user:secret@pg"}}, ["it is a host's name only"]),
    ({"defaults": {"config": {"telemetry": {"otlp_endpoint": "http://u:secret@otel:4317"}}}}, ["has a password in a URL"]),
    ({"defaults": {"extraEnv": {"DATABASE": "postgres://u:secret@pg/db"}}}, ["DATABASE has a password in a URL", "secretKeyRef"]),
    ({"defaults": {"terminationGracePeriodSeconds": 20}}, ["takes up to 30 s", "Set it to 0"]),
    ({"reservation": {"terminationGracePeriodSeconds": 64, "config": {"server": {"drain_seconds_max": 60}}}}, ["reservation.terminationGracePeriodSeconds is 64", "at least 70"]),
    ({"callers": [{"name": "a", "roles": ["checkout"], "key": "a"}, {"name": "a", "roles": ["monitor"], "key": "b"}]}, ["Two callers are called a"]),
    ({"callers": [{"name": "a", "roles": ["checkout"], "key": "x"}, {"name": "b", "roles": ["monitor"], "key": "x"}]}, ["The callers a and b of reservation", "a key of its own"]),
    ({"callers": [{"name": "a", "roles": ["checkout"], "key": "canary-token"}]}, ["The callers canary and a of reservation"]),
    ({"callers": [{"name": "a", "roles": ["checkout"], "key": "catalog-token", "services": ["vendor-sync"]}]}, ["The callers catalog and a of vendor-sync"]),
    ({"vendorSync": {"pull": {"enabled": False}}}, ["The value vendorSync.pull.enabled is gone", "networkPolicy.pull.enabled"]),
    ({"catalog": {"ports": {"grpc": 9052}}}, ["catalog.ports: grpc and admin are both 9052"]),
    ({"postgres": {"host": "fd00::1"}}, ["postgres.host of reservation is fd00::1", "give it a name"]),
    ({"postgres": {"host": "pg:5433"}}, ["A port is postgres.port"]),
    ({"callers": [{"name": "catalog", "roles": ["checkout"], "key": "a"}]}, ["/callers/0/name"]),
    ({"callers": [{"name": "a", "roles": ["admin"], "key": "a"}]}, ["/callers/0/roles/0", "'checkout'"]),
    ({"callers": [{"name": "a", "roles": ["checkout"], "token": "secret"}]}, ["'token' not allowed"]),
    ({"reservation": {"autoscaling": {"enabled": True, "cpuPercent": 0}}}, ["nothing says by what"]),
    ({"catalog": {"autoscaling": {"enabled": True}, "resources": {"requests": None}}}, ["resources.requests.cpu, which is not set"]),
    ({"catalog": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, ["minReplicas 9 is more than maxReplicas 6"]),
    ({"vendorSync": {"drop": {"enabled": True, "accessModes": ["ReadWriteOnce"]}}}, ["needs ReadWriteMany"]),
    ({"reservation": {"replica": 3}}, ["'replica' not allowed"]),
    ({"reservation": {"config": {"commiter": {}}}}, ["'commiter' not allowed"]),
    ({"reservation": {"config": {"server": {"grpc_listen": "0.0.0.0:1"}}}}, ["'grpc_listen' not allowed"]),
    ({"catalog": {"config": {"gate": {"batch_skus_max": 1}}}}, ["'gate' not allowed"]),
    ({"defaults": {"config": {"callers": {"list": []}}}}, ["'list' not allowed"]),
    ({"image": {"digest": "latest"}}, ["/image/digest"]),
    ({"rules": {"enabled": True, "alerts": {"NoSuchAlert": {"enabled": False}}}}, ["'NoSuchAlert' not allowed"]),
    ({"colour": "red"}, ["'colour' not allowed"]),
]


@pytest.mark.parametrize(("values", "says"), REFUSALS, ids=lambda value: str(value)[:60])
def test_what_cannot_work_is_refused_with_a_hint(render, values, says):
    with pytest.raises(Refused) as refusal:
        render(values)
    for text in says:
        assert text in str(refusal.value)
    assert "secret@" not in str(refusal.value), "the message tells the password"


def test_a_parent_chart_may_hand_down_global_and_enabled(render):
    r = render({"global": {"imageRegistry": "mirror.example.com/", "imagePullSecrets": ["a", {"name": "b"}], "others": {"x": 1}}, "enabled": True})
    spec = r.named("Deployment", "holdfast-catalog")["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "mirror.example.com/shop/holdfast:0.1.0"
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def test_two_renderings_of_the_same_values_are_the_same(render):
    assert render().text() == render().text()
    assert render(upgrade=True).text() == render().text()


def test_a_new_image_makes_new_jobs_and_a_change_beside_them_makes_none(render):
    before = jobs(render())
    assert jobs(render({"defaults": {"replicas": 7, "config": {"telemetry": {"log_filter": "debug"}}}})) == before
    assert jobs(render({"commonAnnotations": {"team": "stock"}})) == before
    assert not set(jobs(render({"image": {"repository": "holdfast", "tag": "0.2.0"}}))) & set(before)


@pytest.mark.parametrize("values", [{"migrations": {"revision": "again"}}, {"migrations": {"revision": 2}}, {"secretsRevision": "mended"}])
def test_migrations_that_have_ended_run_again_when_it_is_said(render, values):
    r = render(values)
    assert len(jobs(r)) == 3
    assert not set(jobs(r)) & set(jobs(render()))


def test_the_commands_that_take_ended_jobs_away_select_all_of_them_and_nothing_else(render):
    import re

    from conftest import ROOT

    printed = [render().notes, *((ROOT / path).read_text(encoding="utf-8") for path in ("k8s/holdfast/UPGRADING.md", "docs/backup.md"))]
    for text in printed:
        selector = re.search(r"delete job -l '(.*)'", text)[1]
        plain, component = re.fullmatch(r"(\S+=\S+),(\S+ in \(.*\))", selector).groups()
        key, chosen = re.fullmatch(r"(\S+) in \((.*)\)", component).groups()
        found = [
            item["metadata"]["name"]
            for item, _ in render().pods()
            if item["metadata"]["labels"][plain.split("=")[0]] == plain.split("=")[1] and item["metadata"]["labels"][key] in chosen.split(",")
        ]
        assert sorted(found) == jobs(render())


def test_a_new_version_of_the_chart_alone_rolls_nothing_and_migrates_nothing(tmp_path, render):
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    text = (folder / "Chart.yaml").read_text(encoding="utf-8")
    (folder / "Chart.yaml").write_text(text.replace("\nversion: 0.1.0", "\nversion: 9.9.9"), encoding="utf-8")
    before, after = render(), chart.render(folder, chart.examples(CHART)["smallest"])
    assert after.of("Deployment")[0]["metadata"]["labels"]["helm.sh/chart"] == "holdfast-9.9.9"
    assert jobs(before) == jobs(after)
    for item in before.of("Deployment"):
        assert after.named("Deployment", item["metadata"]["name"])["spec"] == item["spec"]


def test_a_changed_configuration_rolls_the_pods_of_its_service_only(render):
    def sums(r):
        return {d["metadata"]["name"]: d["spec"]["template"]["metadata"]["annotations"]["checksum/config"] for d in r.of("Deployment")}

    before, after = sums(render()), sums(render({"catalog": {"config": {"import": {"concurrent_max": 1}}}}))
    assert {name for name in before if before[name] != after[name]} == {"holdfast-catalog"}


def test_a_rotated_secret_rolls_the_pods_when_it_is_said(render):
    r = render({"secretsRevision": 2})
    for item in r.of("Deployment"):
        assert item["spec"]["template"]["metadata"]["annotations"]["holdfast/secrets-revision"] == "2"


def test_variables_of_the_user_are_merged_by_name_and_win(render):
    name = "HOLDFAST_RESERVATION_CONFIG"
    given = {"defaults": {"extraEnv": {"A": "1", "B": True, "C": 3000000, "D": 0.5, name: "/elsewhere"}}, "reservation": {"extraEnv": {"B": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}}}}
    found = env(render(given))
    assert (found["A"]["value"], found["C"]["value"], found["D"]["value"]) == ("1", "3000000", "0.5")
    assert found["B"] == {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    assert found[name]["value"] == "/elsewhere"
    assert list(found) == sorted(found)
    assert list(objects.environment(render(given))) == []


def test_a_service_lays_its_own_over_the_defaults_and_null_takes_away(render):
    r = render({"defaults": {"nodeSelector": {"a": "1", "b": "2"}, "podSecurityContext": {"fsGroup": None}}, "catalog": {"nodeSelector": {"b": "3"}, "podSecurityContext": {"runAsUser": None}}})
    catalog = r.named("Deployment", "holdfast-catalog")["spec"]["template"]["spec"]
    other = r.named("Deployment", "holdfast-reservation")["spec"]["template"]["spec"]
    assert catalog["nodeSelector"] == {"a": "1", "b": "3", "kubernetes.io/arch": "amd64"}
    assert other["nodeSelector"] == {"a": "1", "b": "2", "kubernetes.io/arch": "amd64"}
    anywhere = render({"defaults": {"nodeSelector": {"kubernetes.io/arch": None}}, "catalog": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}})
    assert "nodeSelector" not in anywhere.named("Deployment", "holdfast-reservation")["spec"]["template"]["spec"]
    assert anywhere.named("Deployment", "holdfast-catalog")["spec"]["template"]["spec"]["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert "runAsUser" not in catalog["securityContext"] and "fsGroup" not in catalog["securityContext"]
    assert other["securityContext"]["runAsUser"] == 65532


def test_labels_of_the_user_reach_objects_and_pods_but_no_selector(render):
    r = render({"commonLabels": {"team": "stock", "app.kubernetes.io/component": "mine"}, "defaults": {"podLabels": {"tier": "core"}}})
    for item in r.of("Deployment"):
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert labels["team"] == "stock" and labels["tier"] == "core"
        assert item["metadata"]["labels"]["team"] == "stock"
        assert item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] != "mine"
    assert [problem for check in (objects.names, objects.selectors) for problem in check(r)] == []


@pytest.mark.parametrize("release", ["h", "a-release-with-a-name-that-is-as-long-as-helm-allows-it"[:53], "holdfast"])
def test_names_fit_whatever_the_release_is_called(render, release):
    r = render(release=release)
    for check in (objects.names, objects.selectors, objects.references):
        assert list(check(r)) == []


def test_two_long_releases_that_begin_alike_get_names_of_their_own(render):
    one, other = (render(release="a-release-with-a-very-long-name-that-ends-with-" + end) for end in ("a", "b"))
    assert not {i["metadata"]["name"] for i in one.objects} & {i["metadata"]["name"] for i in other.objects}


def test_names_of_digits_stay_texts(render):
    import outside

    digits = {
        "existingSecret": "12345",
        "imagePullSecrets": ["1e3", {"name": "0x10"}],
        "serviceAccount": {"create": False, "name": "007"},
        "nameOverride": "42",
        "callers": [{"name": "7", "roles": ["checkout"], "key": "1"}],
        "defaults": {"priorityClassName": "9", "podAnnotations": {"a": "1"}},
        "redis": {"ca": {"configMap": "77"}},
        "vendorSync": {"drop": {"enabled": True, "existingClaim": "8"}},
        "networkPolicy": {"enabled": True},
        "monitor": {"kind": "ServiceMonitor"},
        "dashboards": {"enabled": True, "namespace": "11"},
    }
    r = render(digits, release="12345")
    assert list(objects.texts(r)) == []
    assert list(outside.schemas(r)) == []
    own = render({"vendorSync": {"drop": {"enabled": True, "storageClassName": "8"}}})
    assert list(objects.texts(own)) == []


def test_a_strategy_without_a_rolling_update_has_nothing_of_it(render):
    r = render({"catalog": {"strategy": {"type": "Recreate"}}})
    assert r.named("Deployment", "holdfast-catalog")["spec"]["strategy"] == {"type": "Recreate"}
    assert r.named("Deployment", "holdfast-reservation")["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(("endpoint", "port"), [("http://otel", 80), ("https://otel/v1", 443), ("http://otel:4317", 4317), ("https://otel:4318/", 4318)])
def test_the_way_to_the_collector_is_open_on_the_port_that_the_client_takes(render, endpoint, port):
    import network

    r = render({"defaults": {"config": {"telemetry": {"otlp_endpoint": endpoint}}}, "networkPolicy": {"enabled": True}})
    rules = [rule["ports"] for rule in r.named("NetworkPolicy", "holdfast-catalog")["spec"]["egress"]]
    assert [{"port": port, "protocol": "TCP"}] in rules and (port == 4317 or [{"port": 4317, "protocol": "TCP"}] not in rules)
    assert list(network.complete(r)) == []


def test_without_fetching_the_policy_lets_vendor_sync_out_to_no_vendor(render):
    def ways(r):
        return [rule["ports"] for rule in r.named("NetworkPolicy", "holdfast-vendor-sync")["spec"]["egress"]]

    https = [{"port": 443, "protocol": "TCP"}]
    assert https in ways(render({"networkPolicy": {"enabled": True}}))
    assert https not in ways(render({"networkPolicy": {"enabled": True, "pull": {"enabled": False}}}))


def test_a_hook_needs_nothing_of_the_release(render):
    r = render({"migrations": {"mode": "hook"}})
    assert len(r.of("Job")) == 3
    assert list(objects.migrations(r)) == []
    for item in r.of("Job"):
        assert item["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "serviceAccountName" not in item["spec"]["template"]["spec"]


def test_the_policy_of_a_hook_comes_before_it(render):
    r = render({"migrations": {"mode": "hook"}, "networkPolicy": {"enabled": True}})
    policies = [p for p in r.of("NetworkPolicy") if p["metadata"]["name"].endswith("-migrate")]
    assert len(policies) == 3 and list(objects.migrations(r)) == []
    for policy in policies:
        assert policy["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    del policies[0]["metadata"]["annotations"]
    assert any("comes later" in problem for problem in objects.migrations(r))
    own = render({"networkPolicy": {"enabled": True}}).named("NetworkPolicy", "holdfast-catalog-migrate")
    assert "annotations" not in own["metadata"]


@pytest.mark.parametrize(("section", "kind"), [("migrations", "Job"), ("tests", "Pod")])
def test_jobs_and_the_test_take_sidecars_volumes_and_variables(render, section, kind):
    proxy = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always", "volumeMounts": [{"name": "sockets", "mountPath": "/sockets"}]}
    more = {
        "extraInitContainers": [proxy],
        "extraEnv": {"PROXY": "on"},
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "extraVolumes": [{"name": "sockets", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "sockets", "mountPath": "/sockets", "readOnly": True}],
    }
    r = render({section: more})
    import outside

    assert list(outside.schemas(r)) == [] and list(objects.references(r)) == [] and list(objects.containers(r)) == []
    for owner, template in r.pods():
        spec = template["spec"]
        if owner["kind"] != kind:
            assert "proxy" not in str(spec)
            continue
        container = spec["containers"][0]
        assert spec["initContainers"] == [proxy] and container["envFrom"] == more["extraEnvFrom"]
        assert {"name": "PROXY", "value": "on"} in container["env"]
        assert container["volumeMounts"][-1] == more["extraVolumeMounts"][0] and spec["volumes"][-1] == more["extraVolumes"][0]
    assert jobs(r) != jobs(render()) or kind == "Pod"


def test_without_migrations_the_notes_say_how_to_migrate(render):
    r = render({"migrations": {"mode": "none"}})
    assert r.of("Job") == []
    assert list(objects.migrations(r)) == []
    # Who counts stock must know the newer rules first.
    assert r.notes.index("vendor-sync migrate") < r.notes.index("reservation migrate") < r.notes.index("catalog migrate")


def test_the_notes_name_who_operates_it_or_warn_that_nobody_may(render):
    assert "/holdfast ctl --token-file /run/secrets/holdfast/holdfast/operator-token audit run" in render().notes
    own = {"name": "people", "roles": ["operator"], "existingSecret": "theirs", "key": "1"}
    assert "/run/secrets/holdfast/theirs/1 audit run" in render({"callers": [own]}).notes
    for callers in ([own | {"roles": ["merchandiser"]}], [own | {"services": ["catalog"]}]):
        notes = render({"callers": callers}).notes
        assert "no caller has the role operator for all services" in notes and "--token-file" not in notes


def test_the_notes_print_commands_that_name_what_is_there(render):
    r = render(release="shop-stock")
    names = {item["metadata"]["name"] for item in r.of("Deployment")}
    for name in names:
        assert f"rollout status deployment/{name}\n" in r.notes
    assert "helm -n shop test shop-stock" in r.notes
    assert "{{" not in r.notes and "<no value>" not in r.notes


def test_a_pod_monitor_finds_the_pods_instead_of_services(render):
    r = render({"monitor": {"kind": "PodMonitor"}})
    assert len(r.of("PodMonitor")) == 1 and r.of("ServiceMonitor") == []
    assert [*objects.selectors(r), *objects.ports(r)] == []


def test_the_platform_may_choose_users_by_itself(render):
    context = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    r = render({"defaults": {"podSecurityContext": context}})
    assert list(objects.pod_security(r)) == []
    assert "runAsUser" not in r.text()


def test_further_objects_are_filled_in_as_mappings_and_as_texts(render):
    mapping = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x", "namespace": "shop"}, "data": {}}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ include \"holdfast.fullname\" . }}-y', namespace: shop}\n"
    r = render({"extraObjects": [mapping, text]})
    assert r.named("ConfigMap", "holdfast-x") and r.named("ConfigMap", "holdfast-y")


def test_the_drop_folder_is_a_claim_that_stays_or_one_that_exists(render):
    own = render({"vendorSync": {"drop": {"enabled": True}}})
    claim = own.of("PersistentVolumeClaim")[0]
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert 'root = "/var/lib/holdfast/drop"' in own.named("ConfigMap", "holdfast-vendor-sync")["data"]["config.toml"]
    other = render({"vendorSync": {"drop": {"enabled": True, "existingClaim": "inbox"}}})
    assert other.of("PersistentVolumeClaim") == []
    assert "claimName: inbox" in other.text()


def test_numbers_keep_their_kind_in_the_configuration(render):
    r = render({"reservation": {"config": {"server": {"message_bytes_max": 4194304}, "telemetry": {"sampling_ratio": 0.25}, "gate": {"take_lapse_ms": 1000}}}})
    text = r.named("ConfigMap", "holdfast-reservation")["data"]["config.toml"]
    assert "message_bytes_max = 4194304\n" in text and "sampling_ratio = 0.25\n" in text and "take_lapse_ms = 1000\n" in text


def test_text_of_the_user_cannot_leave_its_place_in_the_configuration(render):
    import tomllib

    nasty = 'info"\n[callers]\nunauthenticated_roles = ["operator"] # \\ é'
    text = render({"defaults": {"config": {"telemetry": {"log_filter": nasty}}}}).named("ConfigMap", "holdfast-catalog")["data"]["config.toml"]
    assert tomllib.loads(text)["telemetry"]["log_filter"] == nasty
    assert "unauthenticated_roles" not in tomllib.loads(text)["callers"]


def test_a_value_that_is_gone_is_told_with_what_to_do_instead(tmp_path):
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    (folder / "removed.yaml").write_text("redis.host: give redis.url\n", encoding="utf-8")
    values = copy.deepcopy(chart.examples(CHART)["smallest"]) | {"redis": {"host": "redis"}}
    schema_file = folder / "values.schema.json"
    import json

    import schema

    made = json.loads(schema_file.read_text(encoding="utf-8"))
    schema._let_through(made, ["redis", "host"], "give redis.url")
    schema_file.write_text(schema.text(made), encoding="utf-8")
    with pytest.raises(Refused, match=r"The value redis\.host is gone: give redis\.url"):
        chart.render(folder, values)


def test_a_single_alert_is_switched_off_or_changed_and_the_others_stay(tmp_path):
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    shutil.rmtree(folder / "rules", ignore_errors=True)
    (folder / "rules").mkdir()
    (folder / "values.schema.json").unlink()
    rule = {"expr": "up == 0", "for": "5m", "labels": {"severity": "ticket"}, "annotations": {"summary": "{{ $value }} is gone"}}
    groups = [{"name": "g", "rules": [{"alert": name, **rule} for name in ("A", "B", "C")] + [{"record": "r", "expr": "1"}]}]
    (folder / "rules/one.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    values = copy.deepcopy(chart.examples(CHART)["smallest"])
    values["rules"] = {"enabled": True, "runbookUrl": "https://r.example.com/", "alerts": {"A": {"enabled": False}, "B": {"for": "1m", "labels": {"severity": "page", "x": "y"}}}}
    rules = {rule.get("alert", rule.get("record")): rule for rule in chart.render(folder, values).of("PrometheusRule")[0]["spec"]["groups"][0]["rules"]}
    assert set(rules) == {"B", "C", "r"}
    assert rules["B"]["for"] == "1m" and rules["B"]["labels"] == {"severity": "page", "x": "y"}
    assert rules["C"]["for"] == "5m" and rules["C"]["labels"] == {"severity": "ticket"}
    assert rules["C"]["annotations"] == {"summary": "{{ $value }} is gone", "runbook_url": "https://r.example.com/C.md"}


def test_lint_has_nothing_to_say_of_the_chart_without_values():
    assert chart.lint_findings(CHART, {}) == []


def test_lint_finds_a_template_that_is_broken(tmp_path):
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    (folder / "templates/service.yaml").write_text("a: {{ .Values.nothing.there }\n", encoding="utf-8")
    assert chart.lint_findings(folder, chart.examples(CHART)["smallest"])


def test_a_key_that_stands_twice_in_yaml_is_refused(tmp_path):
    folder = tmp_path / "holdfast"
    shutil.copytree(CHART, folder)
    (folder / "templates/twice.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {}\ndata: {}\n", encoding="utf-8")
    with pytest.raises(Refused, match="data stands twice"):
        chart.render(folder, chart.examples(CHART)["smallest"])
