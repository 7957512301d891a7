"""Every check of the rendered objects is seen to fail on an object that was damaged in the way that it is there for."""

import pytest

import network
import objects


def deployment(r, service="reservation"):
    return r.named("Deployment", f"holdfast-{service}")


def pod(r, service="reservation"):
    return deployment(r, service)["spec"]["template"]["spec"]


def main(r, service="reservation"):
    return pod(r, service)["containers"][0]


def job(r, service="reservation"):
    return next(item for item in r.of("Job") if f"{service}-migrate" in item["metadata"]["name"])


def variables(r):
    return job(r)["spec"]["template"]["spec"]["containers"][0]["env"]


def secret(r, owner_spec):
    return next(volume for volume in owner_spec["volumes"] if volume["name"] == "secrets")["projected"]["sources"]


def twice(items, item):
    items.append(dict(item))


def portless(r):
    config = r.named("ConfigMap", "holdfast-catalog")["data"]
    assert ":4317" in config["config.toml"]
    config["config.toml"] = config["config.toml"].replace(":4317", "")


DAMAGES = [
    # names
    (objects.names, lambda r: deployment(r)["metadata"].update(name="x" * 64), "at most 63 characters"),
    (objects.names, lambda r: deployment(r)["metadata"].pop("namespace"), "has no namespace"),
    (objects.names, lambda r: deployment(r)["metadata"].pop("labels"), "lacks the labels"),
    (objects.names, lambda r: r.objects.append(deployment(r)), "is rendered twice"),
    (objects.names, lambda r: deployment(r)["metadata"]["labels"].update(build=7), "the label build"),
    # texts
    (objects.texts, lambda r: secret(r, pod(r))[0]["secret"].update(name=12345), "secret.name is 12345, not a text"),
    (objects.texts, lambda r: deployment(r)["spec"]["template"]["metadata"]["annotations"].update({"holdfast/secrets-revision": 2}), "quote it"),
    # selectors
    (objects.selectors, lambda r: r.named("Service", "holdfast-catalog")["spec"]["selector"].pop("app.kubernetes.io/component"), "must be exactly one"),
    (objects.selectors, lambda r: deployment(r)["spec"]["selector"]["matchLabels"].update({"helm.sh/chart": "holdfast-1"}), "selectors are immutable"),
    (objects.selectors, lambda r: job(r)["spec"]["template"]["metadata"]["labels"].update({"app.kubernetes.io/component": "catalog", "x": "y"}), "also selects the pods"),
    (objects.selectors, lambda r: r.named("HorizontalPodAutoscaler", "holdfast-reservation")["spec"]["scaleTargetRef"].update(name="other"), "there is no Deployment other"),
    (objects.selectors, lambda r: r.of("ServiceMonitor")[0]["spec"]["selector"]["matchLabels"].pop("holdfast/endpoints"), "scraped exactly once"),
    (objects.selectors, lambda r: r.of("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"].update({"app.kubernetes.io/version": "0.1.0"}), "which may change"),
    (objects.selectors, lambda r: r.of("NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"].update(x="y"), "selects no pods"),
    # ports
    (objects.ports, lambda r: r.named("Service", "holdfast-reservation")["spec"]["ports"][0].pop("appProtocol"), "appProtocol"),
    (objects.ports, lambda r: r.named("Service", "holdfast-reservation")["spec"]["ports"][0].update(targetPort="http"), "leads to http"),
    (objects.ports, lambda r: r.named("Service", "holdfast-reservation")["spec"]["ports"][0].update(port=80), "headless clients would miss it"),
    (objects.ports, lambda r: r.named("Service", "holdfast-reservation-headless")["spec"].pop("clusterIP"), "must be headless"),
    (objects.ports, lambda r: main(r)["readinessProbe"]["httpGet"].update(path="/livez"), "readinessProbe must get /readyz"),
    (objects.ports, lambda r: main(r)["ports"].pop(1), "no port called admin"),
    (objects.ports, lambda r: r.of("ServiceMonitor")[0]["spec"]["endpoints"][0].update(port="grpc"), "metrics are on the port admin"),
    # environment
    (objects.environment, lambda r: twice(main(r)["env"], main(r)["env"][0]), "stands twice in env"),
    # pod_security
    (objects.pod_security, lambda r: pod(r)["securityContext"].pop("runAsNonRoot"), "runAsNonRoot must be true"),
    (objects.pod_security, lambda r: pod(r)["securityContext"].pop("seccompProfile"), "seccompProfile must be"),
    (objects.pod_security, lambda r: main(r)["securityContext"].update(allowPrivilegeEscalation=True), "allowPrivilegeEscalation must be false"),
    (objects.pod_security, lambda r: main(r)["securityContext"]["capabilities"].update(drop=[]), "capabilities must drop ALL"),
    (objects.pod_security, lambda r: pod(r)["volumes"].append({"name": "host", "hostPath": {"path": "/"}}), "is of kind hostPath"),
    (objects.pod_security, lambda r: pod(r).update(hostNetwork=True), "hostNetwork is on"),
    (objects.pod_security, lambda r: main(r)["ports"][0].update(hostPort=50051), "takes a port of its node"),
    (objects.pod_security, lambda r: main(r)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem must be true"),
    (objects.pod_security, lambda r: pod(r)["initContainers"][0].pop("securityContext"), "container wait-schema"),
    (objects.pod_security, lambda r: pod(r).update(automountServiceAccountToken=True), "mounts a token"),
    (objects.pod_security, lambda r: pod(r).pop("enableServiceLinks"), "enableServiceLinks"),
    # containers
    (objects.containers, lambda r: main(r).update(command=["/holdfast"]), "has a command"),
    (objects.containers, lambda r: main(r).update(args=["serve"]), "first argument"),
    (objects.containers, lambda r: main(r)["resources"]["limits"].pop("memory"), "limit of memory"),
    (objects.containers, lambda r: main(r).update(image="other:1"), "several images"),
    # grace
    (objects.grace, lambda r: pod(r).update(terminationGracePeriodSeconds=29), "less than preStop + drain + 5 = 30"),
    (objects.grace, lambda r: main(r).pop("lifecycle"), "no preStop sleep"),
    # replicas
    (objects.replicas, lambda r: deployment(r)["spec"].update(replicas=3), "leave replicas out"),
    (objects.replicas, lambda r: deployment(r, "catalog")["spec"].pop("replicas"), "neither replicas nor an autoscaler"),
    (objects.replicas, lambda r: deployment(r)["spec"].pop("strategy"), "maxUnavailable must be 0"),
    # references
    (objects.references, lambda r: r.objects.remove(r.named("ConfigMap", "holdfast-reservation")), "there is no ConfigMap"),
    (objects.references, lambda r: r.objects.remove(r.of("ServiceAccount")[0]), None),
    (objects.references, lambda r: pod(r).update(serviceAccountName="other"), "there is no ServiceAccount other"),
    (objects.references, lambda r: main(r)["volumeMounts"].append({"name": "tmp", "mountPath": "/tmp"}), "no volume of the pod"),
    (objects.references, lambda r: pod(r)["volumes"].append({"name": "tmp", "emptyDir": {}}), "nobody mounts its volume tmp"),
    (objects.references, lambda r: deployment(r)["spec"]["template"]["metadata"]["annotations"].pop("checksum/config"), "checksum/config"),
    (objects.references, lambda r: pod(r).pop("topologySpreadConstraints"), "not spread"),
    (objects.references, lambda r: r.objects.remove(r.of("PodDisruptionBudget")[0]), "has no PodDisruptionBudget"),
    # secrets
    (objects.secrets, lambda r: secret(r, pod(r)).pop(0), "nothing puts it there"),
    (objects.secrets, lambda r: secret(r, pod(r))[0]["secret"]["items"].append({"key": "k", "path": "s/k"}), "nothing looks for it"),
    (objects.secrets, lambda r: main(r)["env"].append({"name": "HOLDFAST_RESERVATION__POSTGRES__URL", "value": "postgres://a:b@c/d"}), "in the clear"),
    # migrations
    (objects.migrations, lambda r: r.objects.remove(job(r)), "its Job is missing"),
    (objects.migrations, lambda r: job(r)["metadata"].update(annotations={"helm.sh/hook": "pre-install"}), "is a hook"),
    (objects.migrations, lambda r: job(r)["metadata"].update(name="holdfast-reservation-migrate"), "hash of its spec"),
    (objects.migrations, lambda r: job(r)["spec"].pop("activeDeadlineSeconds"), "needs backoffLimit"),
    (objects.migrations, lambda r: job(r)["spec"]["template"]["spec"].update(restartPolicy="OnFailure"), "must be Never"),
    (objects.migrations, lambda r: variables(r).remove(next(v for v in variables(r) if v["name"].endswith("__USER") and "MIGRATE" not in v["name"])), "does not name the running role"),
    (objects.migrations, lambda r: variables(r).append({"name": "HOLDFAST_RESERVATION__POSTGRES__PASSWORD_FILE", "value": "/x"}), "and only those"),
    (objects.migrations, lambda r: pod(r)["initContainers"].pop(), "does not wait for its schema"),
    (objects.migrations, lambda r: secret(r, pod(r)).extend(secret(r, job(r)["spec"]["template"]["spec"])), "could alter its schema"),
    # network
    (network.complete, lambda r: r.objects.remove(r.named("NetworkPolicy", "holdfast-catalog")), "no NetworkPolicy selects its pods"),
    (network.complete, lambda r: r.named("NetworkPolicy", "holdfast-catalog")["spec"]["egress"].pop(0), "may not look up names"),
    (network.complete, lambda r: r.named("NetworkPolicy", "holdfast-catalog")["spec"]["egress"].pop(1), "connects to holdfast-pg-rw:5432"),
    (network.complete, lambda r: r.named("NetworkPolicy", "holdfast-catalog")["spec"]["egress"].pop(2), "its egress does not reach"),
    (network.complete, lambda r: portless(r), "connects to otel-collector.observability.svc:80"),
    (network.complete, lambda r: r.named("NetworkPolicy", "holdfast-reservation")["spec"]["ingress"][0]["from"].pop(), "does not let it in"),
    (network.complete, lambda r: r.named("Service", "holdfast-reservation")["spec"]["ports"][0].update(port=80), "has no such port"),
    (network.complete, lambda r: r.named("NetworkPolicy", "holdfast-canary")["spec"].update(policyTypes=["Egress"]), "about both ways"),
    (network.scraped, lambda r: r.named("NetworkPolicy", "holdfast-catalog")["spec"]["ingress"].pop(1), "does not open the port admin"),
]


@pytest.mark.parametrize(("check", "damage", "says"), DAMAGES, ids=lambda value: getattr(value, "__name__", None))
def test_a_damaged_object_is_found_and_named(production, check, damage, says):
    assert list(check(production)) == []
    damage(production)
    found = list(check(production))
    if says is None:
        # Without an account of its own the chart uses one that exists; nothing is wrong then.
        assert found == []
    else:
        assert any(says in problem for problem in found), found


def test_every_check_of_objects_and_networks_has_a_damage():
    assert {check for check, _, _ in DAMAGES} == set(objects.CHECKS + network.CHECKS)


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({"a": "1"}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
        ({}, {"a": "1"}, True),
    ],
)
def test_selectors_are_read_as_kubernetes_reads_them(selector, labels, selected):
    assert objects.matches(selector, labels) is selected
