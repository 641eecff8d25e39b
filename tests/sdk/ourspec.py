"""Gives the SDK our own specification and calls what only that one knows.

    python ourspec.py http://localhost:8000 /path/of/openapi.yaml
"""

import sys

from tapipy.tapis import Operation, Tapis

base_url, spec = sys.argv[1:]
t = Tapis(base_url=base_url, username="testuser", password="testuser", custom_spec_dict={"pods": f"local: {spec}"})
t.get_tokens()

operations = {name for name, value in vars(t.pods).items() if isinstance(value, Operation)}
known = {name for name, value in vars(Tapis(base_url=base_url).pods).items() if isinstance(value, Operation)}
assert known - operations == set(), f"our specification lacks {known - operations}"

pod = t.pods.create_pod(pod_id="web", image="podway/hello", status_requested="OFF")
assert pod.status == "STOPPED", pod
# The specification of the SDK has neither the operation nor the field.
assert t.pods.get_pod_provenance(pod_id="web").summary.pod, "nothing was set on the pod"
changed = t.pods.update_pod(pod_id="web", image="podway/hello:1", arguments=["-x"])
assert (changed.image, changed.arguments) == ("podway/hello:1", ["-x"]), changed
assert [p.pod_id for p in t.pods.list_pods(search="hello", limit=1)] == ["web"]
t.pods.delete_pod(pod_id="web")
print(f"{len(operations)} operations, {len(operations - known)} of them new")
