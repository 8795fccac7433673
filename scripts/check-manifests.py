"""Holds deploy/kubernetes against the schemas of one version of Kubernetes, and against what belongs together in it.

Run by scripts/check-deploy, in an environment that has kubernetes-validate: check-manifests.py VERSION
"""

import pathlib
import sys

import kubernetes_validate
import yaml

FOLDER = pathlib.Path("deploy/kubernetes")

# Kinds of other projects, whose schemas Kubernetes does not have.
FOREIGN = ("keda.sh/", "monitoring.coreos.com/", "kustomize.config.k8s.io/")


def documents():
    for path in sorted(FOLDER.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield path, document


def faults(version):
    known = {path.resolve() for path in FOLDER.rglob("*.yaml")}
    used = set()
    secret_keys, mounted, components, selected = set(), set(), set(), set()
    for path, document in documents():
        kind = document["kind"]
        if kind == "Kustomization":
            used.add(path.resolve())
            for resource in document["resources"]:
                target = (path.parent / resource).resolve()
                target = target / "kustomization.yaml" if target.is_dir() else target
                if target not in known:
                    yield f"{path}: there is no {resource}"
                used.add(target)
        if not document["apiVersion"].startswith(FOREIGN):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{path}: {kind}: {error.message} at {'.'.join(map(str, error.path))}"
        if kind == "Secret":
            secret_keys |= set(document["stringData"])
        if kind in ("Deployment", "Job"):
            template = document["spec"]["template"]
            components.add(template["metadata"]["labels"]["app.kubernetes.io/component"])
            yield from pod_faults(path, template["spec"])
            mounted |= {item["key"] for volume in template["spec"]["volumes"] for item in volume["secret"]["items"]}
        for part in ("selector", "podSelector"):
            selector = document.get("spec", {}).get(part) or {}
            selected |= {selector.get("matchLabels", selector).get("app.kubernetes.io/component")}
    if secret_keys != mounted:
        yield f"secret.example.yaml and what is mounted differ: {sorted(secret_keys ^ mounted)}"
    if selected - components - {None}:
        yield f"nothing has the component {sorted(selected - components - {None})}, which is selected"
    for path in sorted(known - used):
        if "examples" not in path.parts and path.name != "secret.example.yaml":
            yield f"{path}: no kustomization names it"


def pod_faults(path, pod):
    mounts = {item["path"] for volume in pod["volumes"] for item in volume["secret"]["items"]}
    if pod["securityContext"].get("runAsUser") != 65532 or not pod["securityContext"].get("runAsNonRoot"):
        yield f"{path}: must run as user 65532, that of the image"
    for container in pod["containers"]:
        security = container["securityContext"]
        if not security.get("readOnlyRootFilesystem") or security["capabilities"]["drop"] != ["ALL"]:
            yield f"{path}: {container['name']} needs a read-only file system and no capability"
        for variable in container["env"]:
            if variable["name"].endswith("_FILE") and variable["value"].rsplit("/", 1)[1] not in mounts:
                yield f"{path}: {variable['name']} names a file that is not mounted"


found = list(faults(sys.argv[1]))
print("\n".join(found))
sys.exit(1 if found else 0)
