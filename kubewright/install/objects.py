"""What a site's settings change in the content's Kubernetes objects, as functions over values.

The content has the objects as upstream publishes them, with every image named by digest. Configuration that is text inside of
them (a Corefile, kube-proxy's configuration) is written anew from typed data, never edited as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from kubewright.files.digest import sha256_bytes
from kubewright.install.content import Content, Manifest
from kubewright.install.errors import ContentError
from kubewright.install.render import json_text

Object = dict[str, Any]
Parameters = Mapping[str, Any]

_REMEDY: Final = "the bundle was made by another kubewright; use the installer that it carries"


def parse(data: bytes, manifest: Manifest) -> list[Object]:
    """The objects in a manifest's bytes (YAML). Raises ContentError."""
    if sha256_bytes(data) != manifest.digest:
        raise ContentError(f"the manifest {manifest.name} is not the verified one", remedy="copy the bundle again")
    try:
        items = [item for item in yaml.safe_load_all(data.decode()) if item is not None]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as reason:
        raise ContentError(f"the manifest {manifest.name} is no YAML: {reason}", remedy=_REMEDY) from None
    if not all(isinstance(item, dict) and {"apiVersion", "kind", "metadata"} <= item.keys() for item in items):
        raise ContentError(f"the manifest {manifest.name} holds something else than objects", remedy=_REMEDY)
    return items


def for_site(name: str, objects: Sequence[Object], parameters: Parameters, content: Content) -> list[list[Object]]:
    """The objects as this site needs them, in batches: each needs the one before to be served."""
    made = [*objects]
    edit = _EDITS.get(name)
    if edit is not None:
        made = edit(made, parameters)
    for each in made:
        _offline(each, content, name)
    return [batch for batch in _batches(made) if batch]


def _batches(objects: Iterable[Object]) -> list[list[Object]]:
    """Namespaces and definitions first, then what they define, then what would check it when it is there (webhooks)."""
    first, custom, plain, last = [], [], [], []
    for each in objects:
        if each["kind"] in ("Namespace", "CustomResourceDefinition"):
            first.append(each)
        elif each["kind"].endswith("WebhookConfiguration"):
            last.append(each)
        elif "." in each["apiVersion"] and not each["apiVersion"].partition("/")[0].endswith("k8s.io"):
            custom.append(each)
        else:
            plain.append(each)
    return [first, custom, plain, last]


def _offline(value: Any, content: Content, name: str) -> None:
    """No image but the content's, by digest, and none is ever pulled."""
    if isinstance(value, list):
        for each in value:
            _offline(each, content, name)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in ("containers", "initContainers") and isinstance(each, list):
                for container in each:
                    if isinstance(container, dict) and "image" in container:
                        _check_image(container, content, name)
            _offline(each, content, name)


def _check_image(container: Object, content: Content, name: str) -> None:
    # REPOSITORY@DIGEST and REPOSITORY:TAG@DIGEST are one image: containerd takes the digest
    known = {name for each in content.images for name in (each.pinned, f"{each.reference}@{each.digest}")}
    if _in_full(str(container["image"])) not in known:
        raise ContentError(
            f"the manifest {name} names the image {container['image']}, which the content does not have under this digest",
            remedy=_REMEDY,
        )
    container["imagePullPolicy"] = "Never"


def _in_full(image: str) -> str:
    """With the registry that a short name means."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


# -- what each of them gets of the site ------------------------------------------------------------------------------------


def _kube_proxy(objects: list[Object], parameters: Parameters) -> list[Object]:
    zero = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf"},
        "clusterCIDR": parameters["pod_subnet"],
        "mode": parameters["proxy_mode"],
        **({"conntrack": zero} if parameters["conntrack"] == "keep" else {}),
    }
    credentials = "/var/run/secrets/kubernetes.io/serviceaccount"
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "default",
                "cluster": {"certificate-authority": f"{credentials}/ca.crt", "server": f"https://{parameters['endpoint']}"},
            }
        ],
        "contexts": [{"name": "default", "context": {"cluster": "default", "namespace": "default", "user": "default"}}],
        "current-context": "default",
        "users": [{"name": "default", "user": {"tokenFile": f"{credentials}/token"}}],
    }
    data = {"config.conf": json_text(configuration), "kubeconfig.conf": json_text(kubeconfig)}
    return [_with_data(each, "kube-proxy", data) for each in objects]


def _coredns(objects: list[Object], parameters: Parameters) -> list[Object]:
    made = [_with_data(each, "coredns", {"Corefile": corefile(parameters)}) for each in objects]
    return [_with_cluster_ip(each, parameters["dns_address"]) if each["kind"] == "Service" else each for each in made]


def corefile(parameters: Parameters) -> str:
    """CoreDNS's configuration: the cluster's names; others only where the site has resolvers."""
    domain, upstream = parameters["dns_domain"], parameters["dns_upstream"]
    lines = [
        "errors",
        "health {\n        lameduck 5s\n    }",
        "ready",
        f"kubernetes {domain} in-addr.arpa ip6.arpa {{\n        pods insecure\n        fallthrough in-addr.arpa ip6.arpa\n"
        "        ttl 30\n    }",
        "prometheus :9153",
        *([f"forward . {' '.join(upstream)} {{\n        max_concurrent 1000\n    }}", "loop"] if upstream else []),
        "cache 30",
        "reload",
        "loadbalance",
    ]
    return ".:53 {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def _flannel(objects: list[Object], parameters: Parameters) -> list[Object]:
    net = {
        "Network": parameters["pod_subnet"],
        "EnableNFTables": parameters["proxy_mode"] == "nftables",
        "Backend": {"Type": "vxlan"},
    }
    return [_with_data(each, "kube-flannel-cfg", {"net-conf.json": json_text(net)}) for each in objects]


def _local_path(objects: list[Object], parameters: Parameters) -> list[Object]:
    paths = {"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [parameters["storage_path"]]}]}
    made = [_with_data(each, "local-path-config", {"config.json": json_text(paths)}) for each in objects]
    for each in made:
        if each["kind"] == "StorageClass":
            annotations = each["metadata"].setdefault("annotations", {})
            annotations["storageclass.kubernetes.io/is-default-class"] = "true"
    return made


def _metrics_server(objects: list[Object], parameters: Parameters) -> list[Object]:
    """Kubelets' serving certificates are self-signed: what is read from them is encrypted, and not authenticated."""
    for each in objects:
        for container in each["spec"]["template"]["spec"]["containers"] if each["kind"] == "Deployment" else ():
            container["args"] = [*container.get("args", []), "--kubelet-insecure-tls"]
    return objects


def _metallb(objects: list[Object], parameters: Parameters) -> list[Object]:
    """With the site's addresses. They are given before the webhook that would check them: it runs on workers, later."""
    addresses = parameters["load_balancer_addresses"]
    if not addresses:
        return objects
    metadata = {"name": "site", "namespace": "metallb-system"}
    api = "metallb.io/v1beta1"
    pool = {"apiVersion": api, "kind": "IPAddressPool", "metadata": metadata, "spec": {"addresses": list(addresses)}}
    announce = {"apiVersion": api, "kind": "L2Advertisement", "metadata": metadata, "spec": {"ipAddressPools": ["site"]}}
    return [*objects, pool, announce]


_EDITS: Final[Mapping[str, Callable[[list[Object], Parameters], list[Object]]]] = {
    "coredns": _coredns,
    "flannel": _flannel,
    "kube-proxy": _kube_proxy,
    "local-path-provisioner": _local_path,
    "metallb": _metallb,
    "metrics-server": _metrics_server,
}


def _with_data(each: Object, name: str, data: Mapping[str, str]) -> Object:
    if each["kind"] != "ConfigMap" or each["metadata"]["name"] != name:
        return each
    return {**each, "data": {**each.get("data", {}), **data}}


def _with_cluster_ip(each: Object, address: str) -> Object:
    return {**each, "spec": {**each["spec"], "clusterIP": address}}
