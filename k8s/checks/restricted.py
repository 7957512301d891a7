"""Kubernetes' Pod Security Standards, profile "restricted", which includes "baseline".

Written from the standards' text. Each rule is a function from a pod's spec to what breaks it.
"""

from __future__ import annotations

from collections.abc import Iterator

# What a restricted pod may mount, besides nothing.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}

SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip


def containers(spec: dict) -> Iterator[dict]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or []


def broken(spec: dict) -> list[str]:
    """What of the profile a pod breaks, a sentence each."""
    pod = spec.get("securityContext") or {}
    found = []
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            found.append(f"{key} is on")
    if (pod.get("windowsOptions") or {}).get("hostProcess"):
        found.append("windowsOptions.hostProcess is on")
    found += [f"sysctl {item['name']} is not a safe one" for item in pod.get("sysctls") or [] if item["name"] not in SYSCTLS]
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUMES:
            found.append(f"volume {volume['name']} is of kind {', '.join(sorted(kinds))}")
    if pod.get("runAsUser") == 0:
        found.append("the pod runs as user 0")
    for container in containers(spec):
        found += [f"container {container['name']}: {what}" for what in _container(container, pod)]
    return found


def _container(container: dict, pod: dict) -> Iterator[str]:
    own = container.get("securityContext") or {}
    if own.get("privileged"):
        yield "is privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if own.get("procMount", "Default") != "Default":
        yield "procMount must be Default"
    if own.get("runAsUser") == 0:
        yield "runs as user 0"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot must be true, in the container or in the pod"
    seccomp = (own.get("seccompProfile") or pod.get("seccompProfile") or {}).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile must be RuntimeDefault or Localhost"
    capabilities = own.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities must drop ALL"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield "capabilities may add NET_BIND_SERVICE only"
    if (own.get("appArmorProfile") or pod.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in ("RuntimeDefault", "Localhost"):
        yield "appArmorProfile must be RuntimeDefault or Localhost"
    level = (own.get("seLinuxOptions") or pod.get("seLinuxOptions") or {}).get("type", "")
    if level not in ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"):
        yield f"seLinuxOptions.type {level} is not a container's"
    if any(port.get("hostPort") for port in container.get("ports") or []):
        yield "takes a port of its node"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        action = container.get(probe) or {}
        if any((action.get(kind) or {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield f"{probe} names a host"
