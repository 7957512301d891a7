"""What must hold between the objects that the chart renders. Each check takes a rendering and gives sentences that say what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import restricted
from chart import Rendered

SERVICES = ("reservation", "catalog", "vendor-sync")
SECRETS = "/run/secrets/holdfast/"

# Seconds that a service takes after its drain: telemetry is flushed.
FLUSH_SECONDS = 5

# The services' default of server.drain_seconds_max.
DRAIN_SECONDS = 20

NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")


def component(labels: dict) -> str:
    return labels.get("app.kubernetes.io/component", "")


def matches(selector: dict, labels: dict) -> bool:
    """Whether a LabelSelector, or a Service's plain one, selects these labels."""
    plain = selector.get("matchLabels", selector if "matchExpressions" not in selector else {}) or {}
    if any(labels.get(key) != value for key, value in plain.items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        inside = labels.get(rule["key"]) in rule.get("values", [])
        if {"In": not inside, "NotIn": inside, "Exists": rule["key"] not in labels, "DoesNotExist": rule["key"] in labels}[rule["operator"]]:
            return False
    return True


def names(r: Rendered) -> Iterator[str]:
    """Every object has a name that fits, the release's labels and a namespace, and no two are the same."""
    seen = set()
    for item in r.objects:
        kind, meta = item["kind"], item["metadata"]
        key = (kind, meta.get("namespace"), meta["name"])
        if key in seen:
            yield f"{kind} {meta['name']} is rendered twice"
        seen.add(key)
        if len(meta["name"]) > 63 or not NAME.match(meta["name"]):
            yield f"{kind} {meta['name']}: its name is no DNS label of at most 63 characters"
        if not meta.get("namespace"):
            yield f"{kind} {meta['name']} has no namespace: `helm template | kubectl apply` would put it anywhere"
        theirs = kind in {extra["kind"] for extra in r.values.get("extraObjects", []) if isinstance(extra, dict)}
        if "app.kubernetes.io/instance" not in meta.get("labels", {}) and not theirs:
            yield f"{kind} {meta['name']} lacks the labels of the release"
        for key, value in meta.get("labels", {}).items():
            if not isinstance(value, str) or len(value) > 63:
                yield f"{kind} {meta['name']}: the label {key} is no text of at most 63 characters"


def texts(r: Rendered) -> Iterator[str]:
    """Names, keys, labels and annotations are texts, also those of digits: Kubernetes refuses numbers there."""
    for item in r.objects:
        for path, value in _leaves(item, ()):
            named = path[-1] in ("name", "namespace", "key", "path", "serviceAccountName", "priorityClassName", "claimName", "storageClassName")
            free = any(part in ("labels", "matchLabels", "annotations") for part in path[:-1])
            if (named or free) and not isinstance(value, str):
                yield f"{item['kind']} {item['metadata']['name']}: {'.'.join(map(str, path))} is {value!r}, not a text; quote it in the template"


def _leaves(node: object, path: tuple) -> Iterator[tuple[tuple, object]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _leaves(value, (*path, key))
    else:
        yield path, node


def selectors(r: Rendered) -> Iterator[str]:
    """Whatever selects pods selects those of exactly one Deployment, by labels that never change."""
    deployments = {item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"] for item in r.of("Deployment")}
    pods = [template["metadata"].get("labels", {}) for _, template in r.pods()]
    identity = {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
    changing = {"app.kubernetes.io/version", "helm.sh/chart", "app.kubernetes.io/managed-by"} | set(r.values.get("commonLabels", {})) - identity
    for item in r.of("Deployment", "Service", "PodDisruptionBudget"):
        where = f"{item['kind']} {item['metadata']['name']}"
        selector = item["spec"]["selector"]
        plain = selector.get("matchLabels", selector)
        if set(plain) & changing:
            yield f"{where}: selects by {', '.join(sorted(set(plain) & changing))}, which may change; selectors are immutable"
        hit = [name for name, labels in deployments.items() if matches(selector, labels)]
        if len(hit) != 1:
            yield f"{where}: selects the pods of {hit or 'no Deployment'}; it must be exactly one"
        others = [component(labels) for labels in pods if matches(selector, labels) and labels not in deployments.values()]
        if others:
            yield f"{where}: also selects the pods of {others}, which serve nothing"
    for item in r.of("NetworkPolicy"):
        plain = item["spec"]["podSelector"].get("matchLabels", {})
        if set(plain) & changing:
            # An upgrade would leave the pods that are still there without their policy.
            yield f"NetworkPolicy {item['metadata']['name']}: selects by {', '.join(sorted(set(plain) & changing))}, which may change"
        if not any(matches(item["spec"]["podSelector"], labels) for labels in pods):
            yield f"NetworkPolicy {item['metadata']['name']}: selects no pods"
    for item in r.of("HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        if target["kind"] != "Deployment" or target["name"] not in deployments:
            yield f"HorizontalPodAutoscaler {item['metadata']['name']}: there is no {target['kind']} {target['name']}"
    for item in r.of("ServiceMonitor", "PodMonitor"):
        candidates = [s["metadata"]["labels"] for s in r.of("Service")] if item["kind"] == "ServiceMonitor" else list(deployments.values())
        hit = sorted(component(labels) for labels in candidates if matches(item["spec"]["selector"], labels))
        if hit != sorted(SERVICES):
            yield f"{item['kind']}: finds {hit}; each service must be scraped exactly once"


def ports(r: Rendered) -> Iterator[str]:
    """Ports agree: container, Service, probe, monitor."""
    for item in r.of("Deployment"):
        where = item["metadata"]["name"]
        main = item["spec"]["template"]["spec"]["containers"][0]
        open_ports = {port["name"]: port["containerPort"] for port in main["ports"]}
        for name in ("grpc", "admin"):
            if name not in open_ports:
                yield f"{where}: its container has no port called {name}"
        for probe, path in (("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
            get = (main.get(probe) or {}).get("httpGet")
            if not get or get["port"] != "admin" or get["path"] != path:
                yield f"{where}: {probe} must get {path} from the port admin"
        services = [s for s in r.of("Service") if matches(s["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"])]
        kinds = sorted(str(s["spec"].get("clusterIP")) for s in services)
        if kinds != ["None", "None"] and kinds != ["None"] and len(services) != 2:
            yield f"{where}: has {len(services)} Services; it needs a plain one and a headless one"
        if [s["spec"].get("clusterIP") == "None" for s in services].count(True) != 1:
            yield f"{where}: exactly one of its Services must be headless"
        for service in services:
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in open_ports:
                    yield f"Service {service['metadata']['name']}: its port {port['name']} leads to {port['targetPort']}, which the container does not have"
                elif port["name"] in ("grpc", "admin") and port["port"] != open_ports[port["targetPort"]]:
                    yield f"Service {service['metadata']['name']}: port {port['port']} is not the container's {open_ports[port['targetPort']]}; headless clients would miss it"
                if port["name"] == "grpc" and port.get("appProtocol") != "kubernetes.io/h2c":
                    yield f"Service {service['metadata']['name']}: grpc needs appProtocol kubernetes.io/h2c, or proxies speak HTTP/1.1 to it"
    for item in r.of("ServiceMonitor", "PodMonitor"):
        for endpoint in item["spec"].get("endpoints") or item["spec"].get("podMetricsEndpoints"):
            if endpoint["port"] != "admin":
                yield f"{item['kind']}: metrics are on the port admin, not {endpoint['port']}"


def environment(r: Rendered) -> Iterator[str]:
    """No variable stands twice in a container: server-side apply refuses it."""
    for owner, template in r.pods():
        for container in restricted.containers(template["spec"]):
            given = [variable["name"] for variable in container.get("env") or []]
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                yield f"{owner['metadata']['name']}, {container['name']}: {', '.join(twice)} stands twice in env"


def pod_security(r: Rendered) -> Iterator[str]:
    """The restricted profile, and what it does not ask for: a read-only root and no token."""
    for owner, template in r.pods():
        where, spec = owner["metadata"]["name"], template["spec"]
        yield from (f"{where}: {what} (restricted profile)" for what in restricted.broken(spec))
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: mounts a token that nobody needs; automountServiceAccountToken must be false"
        if spec.get("enableServiceLinks") is not False:
            yield f"{where}: enableServiceLinks must be false"
        for container in restricted.containers(spec):
            if not (container.get("securityContext") or {}).get("readOnlyRootFilesystem"):
                yield f"{where}, {container['name']}: readOnlyRootFilesystem must be true"


def containers(r: Rendered) -> Iterator[str]:
    """One image for all; arguments, never a command; requests and a memory limit."""
    images = set()
    for owner, template in r.pods():
        for container in restricted.containers(template["spec"]):
            where = f"{owner['metadata']['name']}, {container['name']}"
            extra = [r.values.get(section, {}) for section in ("defaults", "migrations", "tests")]
            if any(container in own.get("extraContainers", []) + own.get("extraInitContainers", []) for own in extra):
                continue
            images.add(container["image"])
            if "command" in container:
                yield f"{where}: has a command; the image's entry point is the program"
            if not container.get("args") or container["args"][0] not in (*SERVICES, "ctl"):
                yield f"{where}: its first argument must be a service or ctl, is {container.get('args')}"
            resources = container.get("resources") or {}
            if not {"cpu", "memory"} <= set(resources.get("requests") or {}) or "memory" not in (resources.get("limits") or {}):
                yield f"{where}: needs requests for cpu and memory, and a limit of memory"
    if len(images) != 1:
        yield f"several images are in use: {sorted(images)}; there is one for all roles"


def _drain_seconds(r: Rendered, deployment: dict) -> int:
    config = r.named("ConfigMap", deployment["metadata"]["name"])
    found = re.search(r"^drain_seconds_max = (\d+)$", config["data"]["config.toml"], re.MULTILINE) if config else None
    # What the program itself says is asked in programs.py; the default stands here so that this check needs no program.
    return int(found[1]) if found else DRAIN_SECONDS


def grace(r: Rendered) -> Iterator[str]:
    """Kubernetes waits for longer than an orderly end takes."""
    for item in r.of("Deployment"):
        spec = item["spec"]["template"]["spec"]
        sleep = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
        if not sleep:
            yield f"{item['metadata']['name']}: has no preStop sleep; requests would still come after SIGTERM"
            continue
        needed = sleep + _drain_seconds(r, item) + FLUSH_SECONDS
        if spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield f"{item['metadata']['name']}: terminationGracePeriodSeconds {spec.get('terminationGracePeriodSeconds', 30)} is less than preStop + drain + {FLUSH_SECONDS} = {needed}"


def replicas(r: Rendered) -> Iterator[str]:
    """Who is scaled by an autoscaler has no replicas of its own, or every upgrade would reset them; who is not has some."""
    scaled = {item["spec"]["scaleTargetRef"]["name"] for item in r.of("HorizontalPodAutoscaler")}
    for item in r.of("Deployment"):
        name, fixed = item["metadata"]["name"], "replicas" in item["spec"]
        if name in scaled and fixed:
            yield f"{name}: has replicas and an autoscaler; leave replicas out"
        if name not in scaled and not fixed:
            yield f"{name}: has neither replicas nor an autoscaler"
        strategy = item["spec"].get("strategy", {}).get("rollingUpdate", {})
        if strategy.get("maxUnavailable") != 0:
            yield f"{name}: a rollout must never have fewer replicas than before; rollingUpdate.maxUnavailable must be 0"


def references(r: Rendered) -> Iterator[str]:
    """What pods mount and run as is there, and is needed; a changed configuration rolls the pods."""
    accounts = {item["metadata"]["name"] for item in r.of("ServiceAccount")}
    for owner, template in r.pods():
        where, spec = owner["metadata"]["name"], template["spec"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes") or []}
        mounted = set()
        for container in restricted.containers(spec):
            for mount in container.get("volumeMounts") or []:
                mounted.add(mount["name"])
                if mount["name"] not in volumes:
                    yield f"{where}, {container['name']}: mounts {mount['name']}, which is no volume of the pod"
        yield from (f"{where}: nobody mounts its volume {name}" for name in sorted(set(volumes) - mounted))
        for volume in volumes.values():
            config = (volume.get("configMap") or {}).get("name")
            if config and not r.named("ConfigMap", config):
                yield f"{where}: there is no ConfigMap {config}"
        account = spec.get("serviceAccountName")
        if accounts and account not in accounts | {None, "default"}:
            yield f"{where}: there is no ServiceAccount {account}"
    for item in r.of("Deployment"):
        if "checksum/config" not in item["spec"]["template"]["metadata"].get("annotations", {}):
            yield f"{item['metadata']['name']}: lacks the annotation checksum/config, so a changed configuration would not reach it"
        if not item["spec"]["template"]["spec"].get("topologySpreadConstraints"):
            yield f"{item['metadata']['name']}: is not spread over zones and hosts"
        if not any(matches(b["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"]) for b in r.of("PodDisruptionBudget")):
            yield f"{item['metadata']['name']}: has no PodDisruptionBudget"


def secret_files(spec: dict) -> dict[str, str]:
    """The files below the folder of secrets: path → where it comes from."""
    files = {}
    for volume in spec.get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources", []):
            for kind in ("secret", "configMap"):
                for item in (source.get(kind) or {}).get("items", []):
                    files[SECRETS + item["path"]] = f"{kind} {source[kind]['name']}, key {item['key']}"
    return files


def secrets(r: Rendered) -> Iterator[str]:
    """Every secret that a program looks for is mounted; every one that is mounted is looked for; none is a variable's value."""
    for owner, template in r.pods():
        where, spec = owner["metadata"]["name"], template["spec"]
        files = secret_files(spec)
        texts = [variable.get("value", "") for container in restricted.containers(spec) for variable in container.get("env") or []]
        for volume in spec.get("volumes") or []:
            config = r.named("ConfigMap", (volume.get("configMap") or {}).get("name", ""))
            texts += (config or {}).get("data", {}).values()
        wanted = {path for text in texts for path in re.findall(SECRETS + r"[^\s\"'&?,]+", text)}
        yield from (f"{where}: {path} is looked for, but nothing puts it there" for path in sorted(wanted - set(files)))
        unused = sorted(set(files) - wanted)
        # A certificate authority beside a URL in a Secret is named in the Secret, which the chart cannot see.
        unused = [path for path in unused if not path.endswith(".crt")]
        yield from (f"{where}: {files[path]} is mounted, but nothing looks for it" for path in unused)
        for container in restricted.containers(spec):
            for variable in container.get("env") or []:
                if re.search(r"(TOKEN|PASSWORD|SECRET)$|__(URL|MIGRATE_URL)$", variable["name"]) and "@" in variable.get("value", ""):
                    yield f"{where}, {container['name']}: {variable['name']} has a secret in the clear"


def migrations(r: Rendered) -> Iterator[str]:
    """Schemas come before programs, by another role, in every mode."""
    mode = r.values.get("migrations", {}).get("mode", "job")
    jobs = {component(item["spec"]["template"]["metadata"]["labels"]): item for item in r.of("Job")}
    for service in SERVICES:
        job = jobs.get(f"{service}-migrate")
        if (job is None) != (mode == "none"):
            yield f"{service}: migrations.mode is {mode}, and its Job is {'missing' if job is None else 'there'}"
        if job is None:
            continue
        where, spec = job["metadata"]["name"], job["spec"]["template"]["spec"]
        hook = "helm.sh/hook" in job["metadata"].get("annotations", {})
        if hook != (mode == "hook"):
            yield f"{where}: is {'a' if hook else 'no'} hook, but migrations.mode is {mode}"
        if hook and (spec.get("serviceAccountName") in {a["metadata"]["name"] for a in r.of("ServiceAccount")} or any("configMap" in v for v in spec["volumes"])):
            yield f"{where}: a hook runs before the release's objects are there; it must not need one"
        for policy in r.of("NetworkPolicy") if hook else []:
            notes = policy["metadata"].get("annotations", {})
            mine = matches(policy["spec"]["podSelector"], job["spec"]["template"]["metadata"]["labels"])
            if mine and int(notes.get("helm.sh/hook-weight", 1000)) >= int(job["metadata"]["annotations"].get("helm.sh/hook-weight", 0)):
                yield f"{where}: is a hook, and the NetworkPolicy {policy['metadata']['name']} that lets it out comes later; make that a hook of a lower weight"
        if not re.search(r"-[0-9a-f]{8}$", where):
            yield f"{where}: its name must end with a hash of its spec, or an upgrade would patch an immutable field"
        if not {"backoffLimit", "activeDeadlineSeconds"} <= set(job["spec"]):
            yield f"{where}: needs backoffLimit and activeDeadlineSeconds"
        if spec["restartPolicy"] != "Never":
            yield f"{where}: restartPolicy must be Never, so that the log of a failed attempt stays"
        given = {variable["name"].rpartition("__")[2]: variable.get("value") for variable in spec["containers"][0]["env"]}
        if given.get("USER") != f"holdfast_{service.replace('-', '_')}":
            yield f"{where}: does not name the running role, who then could not read which migrations there are"
        if not {"MIGRATE_URL_FILE", "MIGRATE_PASSWORD_FILE"} & set(given) or {"URL_FILE", "PASSWORD_FILE"} & set(given):
            yield f"{where}: must get the owning role's credentials (MIGRATE_…), and only those"
        owners = set(secret_files(spec).values())
        for item in r.of("Deployment"):
            shared = {f for f in owners & set(secret_files(item["spec"]["template"]["spec"]).values()) if f.startswith("secret") and not f.endswith(".crt")}
            if shared:
                yield f"{item['metadata']['name']}: mounts {', '.join(sorted(shared))}, which is the owning role's: the running service could alter its schema"
    if r.values.get("migrations", {}).get("waitForSchema", True):
        for item in r.of("Deployment"):
            first = [c.get("args", [])[:2] for c in item["spec"]["template"]["spec"].get("initContainers") or []]
            service = component(item["spec"]["template"]["metadata"]["labels"])
            if [service, "wait-schema"] not in first:
                yield f"{item['metadata']['name']}: does not wait for its schema"


CHECKS: list[Callable[[Rendered], Iterator[str]]] = [
    names, texts, selectors, ports, environment, pod_security, containers, grace, replicas, references, secrets, migrations,
]  # fmt: skip
